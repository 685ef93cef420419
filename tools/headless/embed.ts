/** `scanvas embed`: prompts -> a prompt pack, so that a page with fixed prompts downloads no text encoder. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Command, Option } from "commander";
import { ScanvasError } from "../../src/errors.ts";
import { watchHeap } from "./heap.ts";
import { megabytes } from "../inspect.ts";
import { inPage, openSession } from "./session.ts";

interface Options {
  model: string;
  prompts: string;
  out: string;
  textEncoder: "auto" | "resident" | "streamed";
  stats?: boolean;
}

export function command(): Command {
  return new Command("embed")
    .description("write the embeddings of a list of prompts, for pages that use no others")
    .requiredOption("--model <dir|url>", "pipeline directory, converted directory or URL")
    .requiredOption("--prompts <file>", "text file, one prompt a line; the empty negative prompt is added")
    .requiredOption("--out <file>", "safetensors to write; give its address to load() as promptPack")
    .addOption(
      new Option("--text-encoder <kind>", "all of its weights on the GPU, or two blocks at a time")
        .choices(["auto", "resident", "streamed"])
        .default("auto"),
    )
    .option("--stats", "print seconds, the most GPU memory, and how much the JavaScript heap grew")
    .action(embed);
}

async function embed(options: Options): Promise<void> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const lines = (await readFile(options.prompts, "utf8")).split("\n").map((line) => line.trim());
  const prompts = [...new Set(["", ...lines])];
  if (prompts.length === 1)
    throw new ScanvasError("InvalidArgumentError", `embed: ${options.prompts} has no prompt; write one a line`);
  const { model, textEncoder } = options;
  const session = await openSession({
    model,
    dtype: "f16",
    say,
    load: { components: ["text_encoder"], textEncoder },
    onProgress: ({ stage, step, total }) => stage === "encode" && say(`encoded ${step} of ${total}`),
  });
  try {
    const began = performance.now();
    const stopWatching = options.stats ? await watchHeap(session.page) : undefined;
    const pack = Buffer.from(
      await inPage(() => session.page.evaluate((list) => window.headless.embed(list), prompts)),
      "base64",
    );
    if (stopWatching) {
      const { growth } = await stopWatching();
      const { peak } = await session.page.evaluate(() => window.headless.memory());
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      say(
        `${seconds} s, GPU memory ${megabytes(peak)} at most, JavaScript heap and array buffers +${megabytes(growth)}`,
      );
    }
    await mkdir(dirname(resolve(options.out)), { recursive: true });
    await writeFile(options.out, pack);
    say(`${options.out}: ${prompts.length} prompts, ${megabytes(pack.length)} (${session.info.textEncoder} encoder)`);
  } finally {
    await session.close();
  }
}
