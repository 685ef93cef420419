import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ModelReport } from "../../tools/inspect.ts";
import { inspect } from "../../tools/inspect.ts";
import { GOLDEN, readManifest, scratch } from "./fixtures.ts";

const SCANVAS = new URL("../../tools/scanvas.mjs", import.meta.url).pathname;
const SHIPPED = new URL("../../models/shapes-and-things", import.meta.url).pathname;
const PIPELINE = join(GOLDEN, "pixart/pipeline");

function start(...args: string[]) {
  return spawn(process.execPath, [SCANVAS, ...args], { stdio: ["ignore", "pipe", "pipe"] });
}

async function scanvas(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = start(...args);
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, "close")) as [number];
  return { code, out, err };
}

describe("scanvas", () => {
  it("lists its commands", async () => {
    const { code, out } = await scanvas("--help");
    expect(code).toBe(0);
    for (const name of ["convert", "generate", "trace", "inspect", "synth", "serve"])
      expect(out).toContain(`  ${name} `);
  });

  it("converts, tells what it did, and inspects both sides", async () => {
    const out = await scratch();
    const first = await scanvas("convert", PIPELINE, "--out", out, "--dtype", "f32", "--licence", "CC0-1.0");
    expect([first.code, first.err]).toEqual([0, ""]);
    expect(first.out).toMatch(/^written transformer\/model-00001\.safetensors {2}1\.9 MiB$/m);
    expect(first.out).toMatch(/^note: vae: 74 tensors not used/m);
    expect((await readManifest(out)).licence).toBe("CC0-1.0");
    const again = await scanvas("convert", PIPELINE, "--out", out, "--dtype", "f32");
    expect(again.out).toMatch(/^kept {4}transformer/m);
    const small = await scratch();
    const quantised = await scanvas("convert", SHIPPED, "--out", small, "--dtype", "q4", "--report", "--stats");
    expect(quantised.out).toMatch(
      /^relative error [^\n]*, 10 of \d+ tensors\n( {2}\d\.\d\de-\d {2}\w+\/[\w.]+\n){10}/m,
    );
    expect(quantised.out).toMatch(
      /^[\d.]+ s, in 18\.\d MB \(\d+ MB\/s\), out \d\.\d MB \(\d+ MB\/s\), memory \d+ MiB$/m,
    );
    const json = await scanvas("inspect", out, "--json");
    const report = JSON.parse(json.out) as ModelReport;
    expect([report.kind, report.components.map(({ name }) => name)]).toEqual([
      "converted",
      ["text_encoder", "transformer", "vae"],
    ]);
    const text = await scanvas("inspect", PIPELINE, "--tensors");
    expect(text.out).toMatch(/^transformer: 0\.49 M parameters, 1\.9 MiB, 120 tensors in 1 file$/m);
    expect(text.out).toMatch(/^ {2}F32 \[72, 4, 2, 2\] pos_embed\.proj\.weight$/m);
  });

  it.each([
    [["inspect", "/nowhere"], /^InvalidArgumentError: \/nowhere is not a pipeline directory: [^\n]*\n$/],
    [["convert", "/nowhere", "--out", "/tmp/x"], /^InvalidArgumentError: [^\n]*\n$/],
    [["serve", "/nowhere"], /^InvalidArgumentError: serve: \/nowhere is not a directory\n$/],
    [["serve", "/tmp", "--port", "x"], /^InvalidArgumentError: serve: port "x"[^\n]*\n$/],
    [["convert", "/tmp"], /^error: required option '--out <directory>' not specified\n/],
    [
      ["convert", "/tmp", "--out", "/tmp/x", "--dtype", "q4,unet=q8"],
      /^error: option '--dtype <types>' argument 'q4,unet=q8' is invalid\. dtype "q4,unet=q8": got "unet=q8", expected f32, f16/,
    ],
    [
      ["convert", "/tmp", "--out", "/tmp/x", "--threads", "0"],
      /^error: option '--threads <n>' argument '0' is invalid/,
    ],
    [["synth", "--out", "/tmp/x"], /^error: required option '--config <names...>' not specified\n/],
    [["synth", "--config", "t6", "--out", "/tmp/x"], /^error: option '--config <names...>' argument 't6' is invalid/],
    [
      ["synth", "--config", "t2md", "--out", "/tmp/x", "--dtype", "int3"],
      /^error: option '--dtype <type>' argument 'int3'/,
    ],
    [["synth", "--config", "t2md", "--out", "/tmp/x", "--dtype", "f16,vae=f32"], /^error: .* convert the f32 form/],
    [
      ["synth", "--config", "t2md", "--out", "/tmp/x", "--layers", "29"],
      /^InvalidArgumentError: synth: --layers 29, the config has 28; ask for as many or fewer\n$/,
    ],
    [["paint"], /^error: unknown command 'paint'\n/],
  ])("%j fails with one line and code 1", async (args, message) => {
    const { code, out, err } = await scanvas(...args);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toMatch(message);
    expect(err).not.toMatch(/\n {4}at /);
  });

  it("explains --dtype", async () => {
    for (const name of ["convert", "synth"]) expect((await scanvas(name, "--help")).out).toContain("--dtype <type");
    expect((await scanvas("convert", "--help")).out.replace(/\s+/g, " ")).toContain("q8,text_encoder=q4,vae=f32");
  });

  it("serves until it is stopped", async () => {
    const child = start("serve", PIPELINE, "--port", "0");
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const url = /at (http:\/\/127\.0\.0\.1:\d+\/)/.exec(line.toString())![1];
    const served = await (await fetch(`${url}vae/config.json`)).text();
    expect(served).toBe(await readFile(join(PIPELINE, "vae/config.json"), "utf8"));
    child.kill();
    await once(child, "close");
    await expect(fetch(url)).rejects.toThrow();
  });
});

describe("inspect", () => {
  it("counts elements and bytes of the reference", async () => {
    const { components, className, kind } = await inspect(PIPELINE);
    expect([kind, className]).toEqual(["pipeline", "PixArtAlphaPipeline"]);
    const text = components.find(({ name }) => name === "text_encoder")!;
    expect(text.bytes).toBe(4 * text.parameters);
    expect(text.tensors.find(({ name }) => name === "shared.weight")).toEqual({
      name: "shared.weight",
      dtype: "F32",
      shape: [39, 48],
      bytes: 39 * 48 * 4,
    });
  });
});
