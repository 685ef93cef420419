/** `scanvas synth`: see synth.ts. */
import { Command, InvalidArgumentError, Option } from "commander";
import { downloadBytes } from "../../src/weights/manifest.ts";
import { positive, printShard } from "../convert/command.ts";
import { convert } from "../convert/convert.ts";
import { parseDtypes } from "../convert/dtypes.ts";
import { printStats } from "../convert/report.ts";
import { CONFIGS, withLayers, type Components } from "./configs.ts";
import type { PipelineDtype } from "./synth.ts";
import { synth, syntheticPipeline } from "./synth.ts";

interface Options {
  config: (keyof typeof CONFIGS)[];
  out: string;
  dtype: string;
  layers?: number;
  seed: number;
  threads?: number;
}

export function command(): Command {
  const dtype =
    "bf16, f16 or f32: a pipeline directory. q8, q4, and what else convert takes if it names either: " +
    "a converted directory, without the full form ever being there";
  return new Command("synth")
    .description("Make up a model of full size with seeded random weights, to measure speed and memory with")
    .addOption(
      new Option("--config <names...>", "which models: all their parts in one")
        .choices(Object.keys(CONFIGS))
        .makeOptionMandatory(),
    )
    .requiredOption("--out <directory>", "where to write")
    .option("--dtype <type>", dtype, checkDtype, "bf16")
    .option("--layers <n>", "only the first n blocks of the transformer and the text encoder", positive)
    .option("--seed <n>", "same seed, same numbers", whole, 0)
    .option("--threads <n>", "threads to write with (default: one a core)", positive)
    .action(run);
}

async function run({ config, out, dtype, layers, seed, threads }: Options): Promise<void> {
  const start = performance.now();
  const all: Components = Object.assign({}, ...config.map((name) => CONFIGS[name]));
  const pipeline = syntheticPipeline(layers === undefined ? all : withLayers(all, layers), seed);
  if (isQuantised(dtype)) {
    const { manifest, read } = await convert(pipeline, out, { dtype, threads, onShard: printShard });
    printStats((performance.now() - start) / 1000, read, downloadBytes(manifest));
  } else {
    const onFile = (file: string, bytes: number): void => printShard(file, bytes, false);
    const bytes = await synth(pipeline, out, { dtype: dtype.toUpperCase() as PipelineDtype, threads, onFile });
    printStats((performance.now() - start) / 1000, 0, bytes);
  }
}

function isQuantised(dtype: string): boolean {
  return /q[48]/.test(dtype);
}

function checkDtype(text: string): string {
  if (["bf16", "f16", "f32"].includes(text)) return text;
  try {
    parseDtypes(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
  if (!isQuantised(text)) throw new InvalidArgumentError("for several types in full form, convert the f32 form");
  return text;
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError("expected a whole number");
  return value;
}
