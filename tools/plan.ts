/** `scanvas inspect --plan`: what a converted model needs, before anything is downloaded or allocated. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { plan as planModel } from "../src/model_plan.ts";
import { fetchManifest } from "../src/weights/models.ts";
import { parseManifest } from "../src/weights/manifest.ts";
import type { Plan, PlanRequest } from "../src/worker/api.ts";
import { withEngine } from "./engine.ts";
import { megabytes } from "./inspect.ts";

export interface PlanSize {
  height?: number;
  width?: number;
  /** MiB. */
  memory?: number;
  binding?: number;
  arithmetic?: "f32" | "f16";
  json?: boolean;
}

const MIB = 2 ** 20;

export async function printPlan(
  source: string,
  { height, width, memory, binding, arithmetic, json }: PlanSize,
): Promise<void> {
  const manifest = /^https?:/.test(source)
    ? await fetchManifest(source)
    : parseManifest(await readFile(join(source, "manifest.json"), "utf8"));
  const limit = binding && Math.floor(binding * MIB);
  const request: PlanRequest = {
    ...(height && { height }),
    ...(width && { width }),
    ...(arithmetic && { arithmetic }),
    ...(memory && { memoryBytes: memory * MIB }),
    ...(limit && { limits: { maxStorageBufferBindingSize: limit, maxBufferSize: Math.max(limit, 256 * MIB) } }),
  };
  const plan = await withEngine("model_plan.ts", (engine: { plan: typeof planModel }) =>
    engine.plan(manifest, request),
  );
  console.log(json ? JSON.stringify(plan, null, 1) : describe(plan));
}

function describe(plan: Plan): string {
  const weights = Object.entries(plan.weights).map(([name, bytes]) => `${name} ${megabytes(bytes)}`);
  const encoder = plan.textEncoder === "streamed" ? ", the text encoder two blocks at a time" : "";
  return [
    `download  ${megabytes(plan.download)}`,
    `weights   ${weights.join(", ")}`,
    `encode    ${megabytes(plan.stages.encode)}${encoder}`,
    `generate  ${megabytes(plan.stages.generate)}`,
    `peak      ${megabytes(plan.peak)} of ${megabytes(plan.memory)}: ${plan.verdict}`,
    ...(plan.advice ? [plan.advice] : []),
  ].join("\n");
}
