/** `scanvas convert`: see convert.ts. */
import { Command, Option } from "commander";
import { megabytes } from "../inspect.ts";
import type { ConvertOptions } from "./convert.ts";
import { convert } from "./convert.ts";

export function command(): Command {
  return new Command("convert")
    .description("Pack a diffusers or T2MD pipeline directory, or a transformer alone, for the browser")
    .argument("<directory>", "pipeline directory")
    .requiredOption("--out <directory>", "where to write; a rerun finishes what is missing")
    .addOption(new Option("--dtype <dtype>", "type of the large matrices").choices(["f16", "f32"]).default("f16"))
    .option("--source <text>", "where the model comes from, for the manifest")
    .option("--licence <text>", "licence of the weights, for the manifest")
    .action(async (directory: string, options: ConvertOptions & { out: string }) => {
      const onShard = (file: string, bytes: number, kept: boolean) =>
        console.log(`${kept ? "kept   " : "written"} ${file}  ${megabytes(bytes)}`);
      const { manifest, notes } = await convert(directory, options.out, { ...options, onShard });
      for (const note of notes) console.log(`note: ${note}`);
      console.log(`${manifest.className} in ${options.out}: ${Object.keys(manifest.components).join(", ")}`);
      if (manifest.licence === "unknown") console.log("note: the licence is unknown; --licence names it");
    });
}
