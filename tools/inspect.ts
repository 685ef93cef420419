/** `scanvas inspect`: what a pipeline directory or a converted directory holds. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Command, Option } from "commander";
import type { ComponentName, JsonObject } from "../src/weights/manifest.ts";
import { parseManifest } from "../src/weights/manifest.ts";
import { tensorBytes } from "../src/weights/safetensors.ts";
import { readPipeline } from "./convert/pipeline.ts";
import { exists, openDirectory } from "./convert/source.ts";
import { printPlan, type PlanSize } from "./plan.ts";

export interface TensorReport {
  name: string;
  dtype: string;
  shape: number[];
  bytes: number;
}

export interface ComponentReport {
  name: ComponentName;
  config: JsonObject;
  files: number;
  /** Elements of all tensors; in a converted directory the zero padding counts too. */
  parameters: number;
  bytes: number;
  tensors: TensorReport[];
}

export interface ModelReport {
  kind: "pipeline" | "converted";
  className: string;
  source: string;
  licence: string;
  components: ComponentReport[];
  scheduler?: JsonObject;
}

/** Reads headers and configs only, no tensor data. @throws as readPipeline, openSource and parseManifest do */
export async function inspect(directory: string): Promise<ModelReport> {
  if (await exists(join(directory, "manifest.json"))) return inspectConverted(directory);
  const { className, source, licence, components, scheduler } = await readPipeline(directory);
  const reports: ComponentReport[] = [];
  for (const component of components) {
    const weights = await openDirectory(component.source);
    const tensors = [...weights.tensors].map(([name, { dtype, shape }]) => {
      return { name, dtype, shape, bytes: tensorBytes({ dtype, shape }) };
    });
    const { files } = weights;
    await weights.close();
    reports.push({ name: component.name, config: component.config, files, ...totals(tensors), tensors });
  }
  return { kind: "pipeline", className, source, licence, components: reports, ...(scheduler && { scheduler }) };
}

async function inspectConverted(directory: string): Promise<ModelReport> {
  const manifest = parseManifest(await readFile(join(directory, "manifest.json"), "utf8"));
  const components = Object.entries(manifest.components).map(([name, { config, shards, tensors: entries }]) => {
    const tensors = Object.entries(entries).map(([tensor, { dtype, shape, bytes }]) => {
      return { name: tensor, dtype, shape, bytes };
    });
    return { name: name as ComponentName, config, files: shards.length, ...totals(tensors), tensors };
  });
  const { className, source, licence, scheduler } = manifest;
  return { kind: "converted", className, source, licence, components, ...(scheduler && { scheduler }) };
}

function totals(tensors: TensorReport[]): { parameters: number; bytes: number } {
  const elements = (shape: number[]) => shape.reduce((product, size) => product * size, 1);
  return {
    parameters: tensors.reduce((sum, { shape }) => sum + elements(shape), 0),
    bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

/** 12345678 -> "11.8 MiB" */
export function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function print(report: ModelReport, all: boolean): void {
  console.log(`${report.className} (${report.kind}), source ${report.source}, licence ${report.licence}`);
  for (const { name, config, files, parameters, bytes, tensors } of report.components) {
    const count = `${tensors.length} tensors in ${files} file${files === 1 ? "" : "s"}`;
    console.log(`\n${name}: ${(parameters / 1e6).toFixed(2)} M parameters, ${megabytes(bytes)}, ${count}`);
    printConfig(config);
    if (all)
      for (const { name: tensor, dtype, shape } of tensors) console.log(`  ${dtype} [${shape.join(", ")}] ${tensor}`);
  }
  if (report.scheduler) {
    console.log("\nscheduler");
    printConfig(report.scheduler);
  }
}

function printConfig(config: JsonObject): void {
  const entries = Object.entries(config).filter(([, value]) => value !== null && value !== false);
  for (const [key, value] of entries) console.log(`  ${key}: ${JSON.stringify(value)}`);
}

interface InspectOptions extends PlanSize {
  json?: boolean;
  tensors?: boolean;
  plan?: boolean;
}

export function command(): Command {
  return new Command("inspect")
    .description("Show configs, sizes and tensors of a pipeline directory or a converted directory")
    .argument("<directory>", "model directory")
    .option("--json", "as JSON, with every tensor")
    .option("--tensors", "list every tensor")
    .option("--plan", "memory and download of a converted directory or URL for one size of picture")
    .option("--height <pixels>", "for --plan (default: the model's own)", Number)
    .option("--width <pixels>", "for --plan (default: the model's own)", Number)
    .option("--memory <MiB>", "for --plan: GPU memory of the device (default: 4096)", Number)
    .addOption(
      new Option("--arithmetic <type>", "for --plan: f16 on a device with shader-f16 (default: f32)").choices([
        "f32",
        "f16",
      ]),
    )
    .option(
      "--binding <MiB>",
      "for --plan: largest binding of the device (default: 128, what WebGPU guarantees)",
      Number,
    )
    .action(async (directory: string, options: InspectOptions) => {
      if (options.plan) return printPlan(directory, options);
      const report = await inspect(directory);
      if (options.json) console.log(JSON.stringify(report, null, 1));
      else print(report, options.tensors === true);
    });
}
