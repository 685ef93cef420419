/** Conversion of a model far larger than what the process may hold, killed half-way once. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CHUNK_BYTES, SHARD_BYTES } from "../../src/weights/manifest.ts";
import { tensorBytes, writeHeader } from "../../src/weights/safetensors.ts";
import { expectedTensors } from "../../tools/convert/layout.ts";
import { models, put, randomWeights, readManifest, safetensors, scratch } from "./fixtures.ts";

const CONVERT = new URL("../../tools/convert/convert.ts", import.meta.url).href;
const config = {
  model_type: "t5",
  feed_forward_proj: "gated-gelu",
  d_model: 1024,
  d_ff: 2816,
  d_kv: 64,
  num_heads: 16,
  num_layers: 3,
  vocab_size: 16000,
};

/** A pipeline with a T5 of over 200 MB; the file is a header and a hole, its values are zeros. */
async function largeModel(): Promise<{ directory: string; bytes: number }> {
  const directory = await scratch();
  const { config: small, tensors } = models.pixart;
  await put(directory, "transformer/config.json", JSON.stringify(small));
  await put(directory, "transformer/diffusion_pytorch_model.safetensors", safetensors(randomWeights(tensors)));
  await put(directory, "tokenizer/tokenizer.json", "{}");
  await put(directory, "text_encoder/config.json", JSON.stringify(config));
  const specs = expectedTensors("text_encoder", config).map(({ name, shape }) => ({
    name,
    shape,
    dtype: "F32" as const,
  }));
  const header = writeHeader(specs);
  const bytes = specs.reduce((sum, spec) => sum + tensorBytes(spec), header.length);
  const file = await open(join(directory, "text_encoder/model.safetensors"), "w");
  await file.write(header);
  await file.truncate(bytes);
  await file.close();
  return { directory, bytes };
}

/** Runs convert in a process with a heap of 64 MB; prints each shard, then the peak of resident memory in KiB. */
function start(directory: string, out: string): ChildProcess {
  const script = `
    const { register } = await import("tsx/esm/api");
    register();
    const { convert } = await import(${JSON.stringify(CONVERT)});
    const options = { dtype: "f32", threads: 2, onShard: (file, bytes, kept) => console.log(kept ? "kept" : "written", file) };
    await convert(${JSON.stringify(directory)}, ${JSON.stringify(out)}, options);
    console.log("peak", process.resourceUsage().maxRSS);`;
  return spawn(process.execPath, ["--max-old-space-size=64", "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
    cwd: new URL("../..", import.meta.url).pathname,
  });
}

async function finish(child: ChildProcess): Promise<string[]> {
  let text = "";
  child.stdout!.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const [code] = (await once(child, "close")) as [number];
  expect(code).toBe(0);
  return text.trim().split("\n");
}

describe("a 216 MB text encoder", () => {
  it("is converted in bounded memory, and taken up where a kill left it", async () => {
    const { directory, bytes } = await largeModel();
    expect(bytes).toBeGreaterThan(200e6);
    const out = await scratch();

    const killed = start(directory, out);
    await new Promise<void>((resolve, reject) => {
      killed.stdout!.on("data", (chunk: Buffer) => chunk.includes("00002") && resolve());
      killed.once("exit", () => reject(new Error("it ended before it could be killed")));
    });
    killed.kill("SIGKILL");
    await once(killed, "close");
    const first = join(out, "text_encoder/model-00001.safetensors");
    const before = await stat(first);

    const lines = await finish(start(directory, out));
    expect(lines.slice(0, 2)).toEqual([
      "kept text_encoder/model-00001.safetensors",
      "kept text_encoder/model-00002.safetensors",
    ]);
    expect(lines.filter((line) => line.startsWith("written")).length).toBeGreaterThan(3);
    expect((await stat(first)).mtimeMs).toBe(before.mtimeMs);
    const peak = Number(lines.at(-1)!.split(" ")[1]) / 1024;
    expect(peak).toBeGreaterThan(20); // MiB: the measurement itself works
    expect(peak).toBeLessThan(350); // MiB, of which Node and tsx take about 90, and each thread 50

    const { shards, tensors } = (await readManifest(out)).components.text_encoder!;
    expect(tensors["shared.weight"].parts.length).toBeGreaterThan(1); // larger than a shard: split by rows
    for (const { bytes, chunks } of shards) {
      expect(bytes).toBeLessThanOrEqual(SHARD_BYTES);
      expect(chunks.length).toBe(Math.ceil(bytes / CHUNK_BYTES));
    }

    const manifest = await readFile(join(out, "manifest.json"));
    const again = await finish(start(directory, out));
    expect(again.filter((line) => line.startsWith("written"))).toEqual([]);
    expect(await readFile(join(out, "manifest.json"))).toEqual(manifest);
  });
});
