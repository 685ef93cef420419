/** The distiller from an empty work directory to a picture: every stage, the export, this engine, a real page. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, it } from "vitest";
import { LocalPipeline } from "../../src/pipeline.ts";
import { ensurePython } from "../../tools/setup/python.ts";
import { loadGolden, readGolden, relativeError } from "../model/weights.ts";
import { scratch } from "../weights/fixtures.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const STAGES = ["vae", "latents", "teacher", "force", "distill", "adapt", "highres", "detector"];
let work: string;
let seconds: number;

/** `python -m distill STAGE configs/smoke.toml`, its work directory elsewhere. */
function distill(stage: string): string {
  const python = ensurePython(ROOT, () => undefined);
  const places = ["model", "golden", "docs"].map((name) => `output.${name}="${join(work, name)}"`);
  const sets = [`workdir="${work}"`, ...places].flatMap((set) => ["--set", set]);
  const options = {
    cwd: join(ROOT, "tools/distill"),
    stdio: ["ignore", "pipe", "inherit"] as ["ignore", "pipe", "inherit"],
  };
  return execFileSync(python, ["-m", "distill", stage, "configs/smoke.toml", ...sets], options).toString();
}

beforeAll(async () => {
  work = await scratch();
  const start = performance.now();
  distill("run");
  seconds = (performance.now() - start) / 1000;
}, 1_800_000);

it("takes every stage to an exported model and a report", () => {
  for (const stage of STAGES) expect(existsSync(join(work, `${stage}.done`)), stage).toBe(true);
  const files = ["model_index.json", "transformer/config.json", "vae/config.json", "text_encoder.onnx"];
  for (const file of files) expect(existsSync(join(work, "model", file)), file).toBe(true);
  expect(existsSync(join(work, "docs/scores.json"))).toBe(true);
  console.log(`distill run: ${seconds.toFixed(0)} s`);
  expect(seconds).toBeLessThan(600);
});

it("does nothing again that is done", () => {
  const stages = distill("run")
    .split("\n")
    .filter((line) => line.includes('"stage"'));
  expect(stages.map((line) => (JSON.parse(line) as { stage: string }).stage)).toEqual(["export", "evaluate"]);
});

it("exports a model whose pictures here are PyTorch's", async () => {
  distill("golden");
  const model = await loadGolden(join(work, "model"), "f16");
  try {
    const golden = await readGolden(join(work, "golden/case.safetensors"));
    const { calls } = JSON.parse(readFileSync(join(work, "golden/case.json"), "utf8")) as {
      calls: Record<string, never>[];
    };
    const call = calls[0]!;
    const { trace } = await LocalPipeline.of(model).generate({
      prompt: call.prompt,
      negativePrompt: call.negative_prompt,
      height: call.height,
      width: call.width,
      numInferenceSteps: call.num_inference_steps,
      guidanceScale: call.guidance_scale,
      seed: call.seed,
      trace: true,
    });
    expect(Array.from(trace!.ids!.data as BigInt64Array, Number)).toEqual(golden("0.ids").integers);
    expect(relativeError(trace!.image!.data as Float32Array, golden("0.image").data), "image").toBeLessThan(1e-2);
  } finally {
    model.gpu.dispose();
  }
});

it("exports a model that paints in a page", () => {
  const output = join(work, "picture.png");
  const options = ["--model", join(work, "model"), "--prompt", "a photo of a cat", "--steps", "2", "--output", output];
  const env = { ...process.env, SCANVAS_CACHE: join(work, "cache") };
  execFileSync(process.execPath, ["tools/scanvas.mjs", "generate", ...options], { cwd: ROOT, env, stdio: "inherit" });
  const png = readFileSync(output);
  expect([png.subarray(1, 4).toString(), png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual(["PNG", 128, 128]);
});
