/** `scanvas convert`: see convert.ts. */
import { Command, InvalidArgumentError, Option } from "commander";
import { downloadBytes } from "../../src/weights/manifest.ts";
import { megabytes } from "../inspect.ts";
import type { ConvertOptions } from "./convert.ts";
import { convert } from "./convert.ts";
import { parseDtypes } from "./dtypes.ts";
import { printErrors, printStats } from "./report.ts";

interface Options extends Omit<ConvertOptions, "measure"> {
  out: string;
  report?: true | "all";
  stats?: boolean;
  calibrate?: string;
}

/** A --dtype that `parseDtypes` takes, or a usage error. */
export function dtypeOption(): Option {
  const check = (text: string): string => {
    try {
      parseDtypes(text);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
    return text;
  };
  const help =
    "type of the large matrices: f32, f16, q8 or q4 for all, then exceptions, as in q8,text_encoder=q4,vae=f32 " +
    "(q8 and q4 leave the VAE at f16 unless told)";
  return new Option("--dtype <types>", help).argParser(check).default("f16");
}

export const positive = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("expected a positive integer");
  return value;
};

export function command(): Command {
  return new Command("convert")
    .description("Pack a diffusers or T2MD pipeline directory, or some of its components, for the browser")
    .argument("<directory>", "pipeline directory")
    .requiredOption("--out <directory>", "where to write; a rerun finishes what is missing")
    .addOption(dtypeOption())
    .option("--source <text>", "where the model comes from, for the manifest")
    .option("--licence <text>", "licence of the weights, for the manifest")
    .addOption(
      new Option("--report [all]", "print the relative error of the ten tensors that lost most, or of all").choices([
        "all",
      ]),
    )
    .option(
      "--calibrate <file>",
      "compare pictures of the prompts in a file, one a line, with those of an f32 conversion",
    )
    .option("--stats", "print seconds, rate and the peak of memory")
    .option("--threads <n>", "threads to write with (default: one a core)", positive)
    .action(async (directory: string, { report, stats, calibrate: file, ...options }: Options) => {
      const calibration = file === undefined ? undefined : await prepareCalibration(file);
      const start = performance.now();
      const { manifest, notes, errors, read } = await convert(directory, options.out, {
        ...options,
        measure: report !== undefined,
        onShard: printShard,
      });
      for (const note of notes) console.log(`note: ${note}`);
      if (report) printErrors(errors, report === "all" ? Infinity : 10);
      if (stats) printStats((performance.now() - start) / 1000, read, downloadBytes(manifest));
      await calibration?.(directory, options.out);
      console.log(`${manifest.className} in ${options.out}: ${Object.keys(manifest.components).join(", ")}`);
      if (manifest.licence === "unknown") console.log("note: the licence is unknown; --licence names it");
    });
}

export function printShard(file: string, bytes: number, kept: boolean): void {
  console.log(`${kept ? "kept   " : "written"} ${file}  ${megabytes(bytes)}`);
}

/** Reads the prompts before hours of conversion; the browser's code is loaded only here, so that `convert` needs no browser. */
async function prepareCalibration(file: string): Promise<(input: string, out: string) => Promise<void>> {
  const { calibrate, printCalibration, readPrompts } = await import("./calibrate.ts");
  const prompts = await readPrompts(file);
  return async (input, out) => printCalibration(await calibrate(input, out, prompts, console.log));
}
