import { request } from "node:http";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DirectoryServer } from "../../tools/serve.ts";
import { serveDirectory } from "../../tools/serve.ts";
import { put, scratch } from "./fixtures.ts";

let server: DirectoryServer;
let root: string;
beforeAll(async () => {
  root = await scratch();
  await put(root, "site/index.html", "<!doctype html>home");
  await put(root, "site/app.js", "1");
  await put(root, "site/gemm.wgsl", "// kernel");
  await put(root, "site/.hidden", "secret");
  await put(root, "site/empty.bin", "");
  await put(root, "site/folder/x.txt", "x");
  await put(root, "outside.txt", "secret");
  await put(root, "model/manifest.json", "{}");
  await put(
    root,
    "model/a b.safetensors",
    Uint8Array.from({ length: 1000 }, (_, i) => i),
  );
  await symlink(join(root, "model"), join(root, "site/linked"));
  server = await serveDirectory({ "/": join(root, "site"), "/model": join(root, "model") });
});
afterAll(() => server.close());

const get = (path: string, headers: Record<string, string> = {}) => fetch(server.url + path, { headers });
const WEIGHTS = "model/a%20b.safetensors";

/** A request with the path exactly as written: fetch would tidy it. */
function raw(path: string, method = "GET"): Promise<number> {
  const { hostname, port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, method }, (response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    sent.on("error", reject);
    sent.end();
  });
}

describe("serveDirectory", () => {
  it.each([
    ["", "text/html; charset=utf-8"],
    ["app.js", "text/javascript; charset=utf-8"],
    ["gemm.wgsl", "text/wgsl; charset=utf-8"],
    ["model/manifest.json", "application/json; charset=utf-8"],
    [WEIGHTS, "application/octet-stream"],
    ["linked/manifest.json", "application/json; charset=utf-8"],
  ])("serves /%s as %s to any origin", async (path, type) => {
    const response = await get(path);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, type]);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("cache-control")).toBe("no-cache");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    await response.arrayBuffer();
  });

  it.each([
    ["bytes=0-3", 206, [0, 1, 2, 3], "bytes 0-3/1000"],
    ["bytes=996-", 206, [996 & 255, 997 & 255, 998 & 255, 999 & 255], "bytes 996-999/1000"],
    ["bytes=-2", 206, [998 & 255, 999 & 255], "bytes 998-999/1000"],
    ["bytes=998-5000", 206, [998 & 255, 999 & 255], "bytes 998-999/1000"],
  ])("answers Range %s", async (range, status, bytes, contentRange) => {
    const response = await get(WEIGHTS, { range });
    expect([response.status, response.headers.get("content-range")]).toEqual([status, contentRange]);
    expect([...new Uint8Array(await response.arrayBuffer())]).toEqual(bytes);
  });

  it("answers what it cannot satisfy with 416, and what it does not understand whole", async () => {
    const beyond = await get(WEIGHTS, { range: "bytes=1000-" });
    expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, "bytes */1000"]);
    for (const range of ["bytes=0-1,4-5", "items=0-1", "bytes=-", "bytes=x-"]) {
      const response = await get(WEIGHTS, { range });
      expect([range, response.status, (await response.arrayBuffer()).byteLength]).toEqual([range, 200, 1000]);
    }
    const empty = await get("empty.bin");
    expect([empty.status, empty.headers.get("content-length")]).toEqual([200, "0"]);
  });

  it("knows its ETag", async () => {
    const etag = (await get(WEIGHTS)).headers.get("etag")!;
    expect(etag).toMatch(/^"[^"]+"$/);
    expect((await get(WEIGHTS, { "if-none-match": etag })).status).toBe(304);
    expect((await get(WEIGHTS, { "if-none-match": '"other"' })).status).toBe(200);
    expect((await get(WEIGHTS, { range: "bytes=0-1", "if-range": etag })).status).toBe(206);
    expect((await get(WEIGHTS, { range: "bytes=0-1", "if-range": '"other"' })).status).toBe(200);
  });

  it.each([
    "nothing",
    "model/nothing.safetensors",
    "folder",
    "folder/",
    "app.js/",
    "linked",
    "model/",
    ".hidden",
    "model/.convert.json",
    "%00",
    "%ff",
    "..%2foutside.txt",
    "%2e%2e/outside.txt",
    "..%5coutside.txt",
    "model/..%2f..%2foutside.txt",
  ])("has no page for /%s", async (path) => {
    const response = await get(path);
    const body = await response.text();
    expect([response.status, body]).toEqual([404, "not found\n"]);
    expect(response.headers.get("content-type")).toMatch(/^text\/plain/);
  });

  it("stays inside its directories whatever the path", async () => {
    for (const path of ["/../outside.txt", "/model/../../outside.txt", "//etc/passwd", "/%2e%2e%2foutside.txt"]) {
      expect([path, await raw(path)]).toEqual([path, 404]);
    }
  });

  it("has HEAD and OPTIONS and nothing that writes", async () => {
    const head = await fetch(server.url + WEIGHTS, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "1000"]);
    expect(await raw("/app.js", "OPTIONS")).toBe(204);
    expect(await raw("/app.js", "PUT")).toBe(405);
    expect(await raw("/app.js", "DELETE")).toBe(405);
  });

  it("says what is wrong with its arguments", async () => {
    await expect(serveDirectory(join(root, "nowhere"))).rejects.toThrow(/nowhere is not a directory/);
    const taken = Number(new URL(server.url).port);
    await expect(serveDirectory(root, taken)).rejects.toThrow(/EADDRINUSE/);
  });
});
