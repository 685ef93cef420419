/** `scanvas generate`: a picture from a prompt, made by the public API in a headless browser. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, extname, resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import type { GenerateRequest, Progress } from "../../src/index.ts";
import { writeSafetensors } from "../../src/weights/safetensors.ts";
import { inPage, openSession } from "./session.ts";
import { toNamed } from "./wire.ts";

interface Options {
  model: string;
  prompt: string;
  negativePrompt: string;
  height?: number;
  width?: number;
  steps?: number;
  guidanceScale?: number;
  seed?: number;
  sampler?: GenerateRequest["sampler"];
  numImages?: number;
  dtype: "f32" | "f16";
  output: string;
  saveTrace?: string;
  json?: boolean;
}

const number = (text: string): number => {
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value)) throw new InvalidArgumentError("expected a number");
  return value;
};

export function command(): Command {
  return new Command("generate")
    .description("make a picture from a prompt in a headless browser")
    .requiredOption("--prompt <text>", "what to draw")
    .option("--model <dir|url>", "pipeline directory, converted directory or URL", DEFAULT_MODEL)
    .option("--negative-prompt <text>", "what not to draw", "")
    .option("--height <pixels>", "a multiple of 16 (default: the model's own)", number)
    .option("--width <pixels>", "a multiple of 16 (default: the model's own)", number)
    .option("--steps <n>", "sampler steps (default: the model's own)", number)
    .option("--guidance-scale <s>", "how closely to follow the prompt; 1 is off (default: the model's own)", number)
    .option("--seed <n>", "same seed, same picture (default: random)", number)
    .addOption(
      new Option("--sampler <name>", "update rule (default: the model's own)").choices(["dpm_solver", "ddim", "euler"]),
    )
    .option("--num-images <n>", "pictures, with seeds counting up (default: 1)", number)
    .addOption(
      new Option("--dtype <type>", "weights, when a pipeline directory is converted")
        .choices(["f32", "f16"])
        .default("f16"),
    )
    .requiredOption("--output <file>", "PNG to write; picture i of several gets -i before the ending")
    .option("--save-trace <file>", "also write every intermediate tensor as safetensors")
    .option("--json", "print the result as JSON and nothing else")
    .action(generate);
}

const DEFAULT_MODEL = new URL("../../models/shapes-and-things", import.meta.url).pathname;

async function generate(options: Options): Promise<void> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const bar = options.json ? undefined : progressBar();
  const session = await openSession({
    model: options.model,
    dtype: options.dtype,
    say: (line) => (bar ? bar.say(line) : options.json || say(line)),
    onProgress: (progress) => bar?.show(progress),
  });
  try {
    const request: GenerateRequest = {
      prompt: options.prompt,
      negativePrompt: options.negativePrompt,
      height: options.height,
      width: options.width,
      numInferenceSteps: options.steps,
      guidanceScale: options.guidanceScale,
      seed: options.seed,
      sampler: options.sampler,
      numImages: options.numImages,
      trace: options.saveTrace !== undefined,
    };
    const { pngs, trace, ...result } = await inPage(() =>
      session.page.evaluate((r) => window.headless.generate(r), request),
    );
    bar?.end();
    const files: string[] = [];
    for (const [i, png] of pngs.entries()) {
      const end = extname(options.output);
      const file = resolve(
        pngs.length === 1 ? options.output : `${options.output.slice(0, -end.length || undefined)}-${i}${end}`,
      );
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, Buffer.from(png, "base64"));
      files.push(file);
    }
    if (trace && options.saveTrace) {
      await mkdir(dirname(resolve(options.saveTrace)), { recursive: true });
      await writeFile(options.saveTrace, writeSafetensors(toNamed(trace)));
    }
    if (options.json) {
      process.stdout.write(`${JSON.stringify({ files, ...result, adapter: session.info.adapter }, undefined, 2)}\n`);
    } else {
      const cut = result.truncated.prompt ? `; the prompt was cut to ${session.info.textTokens} tokens` : "";
      say(`${files.join(", ")}  seed ${result.seed}  ${(result.timings.total / 1000).toFixed(1)} s${cut}`);
    }
  } finally {
    await session.close();
  }
}

/** One line that is drawn over on a terminal; a line a stage elsewhere. */
function progressBar(): { show(progress: Progress): void; say(line: string): void; end(): void } {
  const terminal = process.stderr.isTTY;
  let stage: Progress["stage"] | undefined;
  const clear = (): void => void (terminal && process.stderr.write("\r\x1b[K"));
  return {
    show(progress) {
      const { step, total } = progress;
      const done = total > 0 ? step / total : 0;
      const amount =
        progress.stage === "download"
          ? `${(step / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`
          : `${step} of ${total}`;
      if (terminal) {
        clear();
        const filled = Math.round(done * 30);
        process.stderr.write(`${progress.stage.padEnd(9)} [${"#".repeat(filled)}${".".repeat(30 - filled)}] ${amount}`);
      } else if (progress.stage !== stage || step === total || progress.stage === "denoise") {
        process.stderr.write(`${progress.stage} ${amount}\n`);
      }
      stage = progress.stage;
    },
    say(line) {
      clear();
      process.stderr.write(`${line}\n`);
    },
    end: clear,
  };
}
