/** `scanvas trace`: one forward pass of the denoiser on given tensors, through the browser. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Command, Option } from "commander";
import { readSafetensors, writeSafetensors } from "../../src/weights/safetensors.ts";
import { inPage, openSession } from "./session.ts";
import { fromFile, toNamed } from "./wire.ts";

interface Options {
  model: string;
  inputs: string;
  prefix: string;
  output: string;
  dtype: "f32" | "f16";
}

export function command(): Command {
  return new Command("trace")
    .description("run the denoiser once on given tensors and write eps and every block's output")
    .requiredOption("--model <dir|url>", "pipeline directory, transformer alone, converted directory or URL")
    .requiredOption("--inputs <file>", "safetensors with latent [B,C,h,w], embeds [B,L,C], mask [B,L], t [B]")
    .option("--prefix <text>", 'put before those names, as in "0."', "")
    .requiredOption("--output <file>", "safetensors to write: eps [B,C,h,w], hidden [blocks,B,T,D]")
    .addOption(
      new Option("--dtype <type>", "weights, when a directory is converted").choices(["f32", "f16"]).default("f32"),
    )
    .action(trace);
}

async function trace(options: Options): Promise<void> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const file = new Uint8Array(await readFile(options.inputs));
  const header = readSafetensors(file, options.inputs);
  const input = (name: string) => fromFile(file, header, options.prefix + name);
  const t = input("t");
  const tBytes = Buffer.from(t.base64, "base64");
  const times =
    t.dtype === "I64"
      ? t.shape[0]! > 0 && Array.from({ length: t.shape[0]! }, (_, i) => Number(tBytes.readBigInt64LE(8 * i)))
      : Array.from({ length: t.shape[0]! }, (_, i) => tBytes.readFloatLE(4 * i));
  const request = { latent: input("latent"), embeds: input("embeds"), mask: input("mask"), t: times || [] };
  const session = await openSession({ model: options.model, dtype: options.dtype, say });
  try {
    const result = await inPage(() => session.page.evaluate((r) => window.headless.trace(r), request));
    await mkdir(dirname(resolve(options.output)), { recursive: true });
    await writeFile(options.output, writeSafetensors(toNamed(result)));
    say(`${options.output}: eps [${result.eps.shape}], hidden [${result.hidden.shape}]`);
  } finally {
    await session.close();
  }
}
