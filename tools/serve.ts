/** `scanvas serve`: a static file server with the headers model files need. For development, tests and headless runs. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { Command } from "commander";
import { ScanvasError } from "../src/errors.ts";

const MIME: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".map": "application/json; charset=utf-8",
  ".webmanifest": "application/manifest+json",
  ".txt": "text/plain; charset=utf-8",
  ".md": "text/markdown; charset=utf-8",
  ".wgsl": "text/wgsl; charset=utf-8",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".webp": "image/webp",
  ".ico": "image/x-icon",
  ".woff2": "font/woff2",
  ".safetensors": "application/octet-stream",
};

export interface DirectoryServer {
  /** Ends in a slash. */
  url: string;
  close(): Promise<void>;
}

/**
 * Serves `directories` on 127.0.0.1: one directory at `/`, or several by URL prefix (`{ "/": "dist", "/model/": dir }`, the
 * longest prefix that fits wins). Range and ETag are honoured, every origin may read, nothing is cached unasked. A path that
 * ends in a slash is its index.html; whatever is not there is a plain 404, never a page; names that start with a dot are not
 * served.
 * @param port 0 takes a free one
 */
export async function serveDirectory(
  directories: string | Record<string, string>,
  port = 0,
  host = "127.0.0.1",
): Promise<DirectoryServer> {
  const mounts = Object.entries(typeof directories === "string" ? { "/": directories } : directories)
    .map(([prefix, directory]) => ({ prefix: `/${prefix}/`.replace(/\/+/g, "/"), root: resolve(directory) }))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  for (const { root } of mounts) {
    if (!(await stat(root).catch(() => undefined))?.isDirectory()) {
      throw new ScanvasError("InvalidArgumentError", `serve: ${root} is not a directory`);
    }
  }
  const server = createServer((request, response) => {
    answer(mounts, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((done, fail) => {
    server.once("error", (cause) => fail(new ScanvasError("NetworkError", `serve: ${cause.message}`, { cause })));
    server.listen(port, host, done);
  });
  const { port: taken } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${taken}/`,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  mounts: { prefix: string; root: string }[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader("Access-Control-Allow-Origin", "*");
  response.setHeader("Access-Control-Allow-Headers", "Range, If-Range");
  response.setHeader("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag");
  response.setHeader("Cross-Origin-Resource-Policy", "cross-origin");
  response.setHeader("X-Content-Type-Options", "nosniff");
  const end = (status: number, text: string) => {
    response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" });
    response.end(request.method === "HEAD" ? undefined : `${text}\n`);
  };
  if (request.method === "OPTIONS") return end(204, "");
  if (request.method !== "GET" && request.method !== "HEAD") return end(405, "only GET and HEAD");
  const path = await locate(mounts, request.url ?? "/");
  if (!path) return end(404, "not found");
  await send(path, request, response);
}

/** Answers a GET or HEAD with a file: ranges, ETag, MIME type. */
export async function send(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { size, mtimeMs } = await stat(path);
  const etag = `"${size.toString(36)}-${Math.round(mtimeMs * 1000).toString(36)}"`;
  response.setHeader("ETag", etag);
  response.setHeader("Cache-Control", "no-cache");
  response.setHeader("Accept-Ranges", "bytes");
  response.setHeader("Content-Type", MIME[extname(path).toLowerCase()] ?? "application/octet-stream");
  if (request.headers["if-none-match"]?.split(/,\s*/).includes(etag)) return void response.writeHead(304).end();
  const ifRange = request.headers["if-range"];
  const range = ifRange === undefined || ifRange === etag ? parseRange(request.headers.range, size) : undefined;
  if (range === "unsatisfiable") {
    response.setHeader("Content-Range", `bytes */${size}`);
    return void response.writeHead(416).end();
  }
  const [first, last] = range ?? [0, size - 1];
  if (range) response.setHeader("Content-Range", `bytes ${first}-${last}/${size}`);
  response.setHeader("Content-Length", last - first + 1);
  response.writeHead(range ? 206 : 200);
  if (request.method === "HEAD" || last < first) return void response.end();
  await pipeline(createReadStream(path, { start: first, end: last }), response);
}

/** The file a URL means; undefined when there is none or it lies outside. */
export async function locate(mounts: { prefix: string; root: string }[], url: string): Promise<string | undefined> {
  let path: string;
  try {
    path = decodeURIComponent(new URL(url, "http://localhost").pathname);
  } catch {
    return undefined;
  }
  const mount = mounts.find(({ prefix }) => `${path}/`.startsWith(prefix));
  if (!mount) return undefined;
  const relative = path.slice(mount.prefix.length);
  if (/[\\\0]/.test(relative) || relative.split("/").some((part) => part.startsWith("."))) return undefined;
  let file = resolve(mount.root, relative);
  if (file !== mount.root && !file.startsWith(mount.root + sep)) return undefined;
  if (path.endsWith("/")) file = join(file, "index.html");
  return (await stat(file).catch(() => undefined))?.isFile() ? file : undefined;
}

/** One range as [first, last]; undefined when there is none or it is one we need not understand. */
function parseRange(header: string | undefined, size: number): [number, number] | "unsatisfiable" | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const suffix = match[1] === "";
  const first = suffix ? Math.max(size - Number(match[2]), 0) : Number(match[1]);
  const last = suffix || match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  return first >= size || last < first ? "unsatisfiable" : [first, last];
}

export function command(): Command {
  return new Command("serve")
    .description("Serve a directory: ranges, right MIME types, any origin")
    .argument("<directory>", "directory to serve")
    .option("--port <port>", "port, 0 for a free one", "8080")
    .option("--host <host>", "address to listen on", "127.0.0.1")
    .action(async (directory: string, options: { port: string; host: string }) => {
      const port = Number(options.port);
      if (!Number.isInteger(port) || port < 0 || port > 65535) {
        throw new ScanvasError("InvalidArgumentError", `serve: port "${options.port}", expected 0 to 65535`);
      }
      const { url } = await serveDirectory(directory, port, options.host);
      console.log(`${directory} at ${url}`);
    });
}
