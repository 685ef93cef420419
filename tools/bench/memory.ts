/**
 * `npm run bench:memory`: the memory plan of a model against what the device was asked for, size by size, and against what the browser's GPU
 * process then held. Sizes run one after the other in one page: the most so far is the most of this size where it rose, else what is held.
 */
import { readFile } from "node:fs/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import type { GenerateRequest, Plan } from "../../src/index.ts";
import { inPage, openSession } from "../headless/session.ts";
import { megabytes } from "../inspect.ts";
import { watchHeap } from "../headless/heap.ts";

interface Options {
  model: string;
  dtype: "f32" | "f16";
  sizes: number[];
  prompts: string[];
  guidanceScale: number;
  promptPack?: string;
  whole: number;
  blocks?: number[];
  blocksAt: number;
  json?: boolean;
}

interface Row {
  pixels: number;
  plan: Plan;
  peak: number;
  /** What the GPU process held at most above what it held once the model was loaded, bytes, where Linux tells. */
  resident: number | undefined;
  seconds: number;
}

const MODEL = new URL("../../models/shapes-and-things", import.meta.url).pathname;
/** As long as any model reads: the plan is for the longest prompt. */
const LONGEST = ["red circle", "blue square"].map((words) => Array<string>(150).fill(words).join(" "));
const whole = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("expected a whole number");
  return Number(text);
};
const several = (text: string, before: number[] | undefined): number[] => [...(before ?? []), whole(text)];

const options = new Command("bench:memory")
  .option("--model <dir|url>", "pipeline directory, converted directory or URL", MODEL)
  .addOption(new Option("--dtype <type>", "weights, when converted").choices(["f32", "f16"]).default("f16"))
  .requiredOption("--sizes <pixels...>", "square pictures, in increasing order", several)
  .option("--prompts <text...>", "two prompts", LONGEST)
  .option("--guidance-scale <s>", "1 is off", Number, 4.5)
  .option("--prompt-pack <file>", "embeddings of the prompts, beside the model")
  .option("--whole <pixels>", "make pictures up to this size, one step each; larger ones are only allocated", whole, 0)
  .option("--blocks <n...>", "then run these blocks of the transformer alone", several)
  .option("--blocks-at <pixels>", "at this size", whole, 2048)
  .option("--json", "print the result as JSON and nothing else")
  .parse()
  .opts<Options>();

const say = (line: string): void => void (options.json ? undefined : process.stderr.write(`${line}\n`));
const { promptPack, guidanceScale } = options;
const load = { limits: "default" as const, ...(promptPack && { promptPack }) };
const stage = { name: "" };
const began = performance.now();
const session = await openSession({
  model: options.model,
  dtype: options.dtype,
  load,
  say,
  fresh: true,
  onProgress: (progress) => {
    if (progress.stage === stage.name) return;
    stage.name = progress.stage;
    say(`${((performance.now() - began) / 1000).toFixed(1).padStart(7)} s  ${stage.name}`);
  },
});
try {
  const { page, url, info } = session;
  const cold = (performance.now() - began) / 1000;
  await page.evaluate(() => window.headless.dispose());
  const stopWatching = await watchHeap(page);
  const warmBegan = performance.now();
  await inPage(() => page.evaluate((args) => window.headless.load(...args), [url, absolutePack(url)] as const));
  const warm = (performance.now() - warmBegan) / 1000;
  const { growth } = await stopWatching();
  say(
    `load: ${cold.toFixed(1)} s cold, ${warm.toFixed(1)} s warm, JavaScript heap and array buffers +${megabytes(growth)} meanwhile`,
  );

  const gpuProcess = await watchGpuProcess();
  const rows: Row[] = [];
  let before = 0;
  for (const pixels of options.sizes) {
    const request = { height: pixels, width: pixels, guidanceScale };
    const plan = await inPage(() =>
      page.evaluate((args) => window.headless.plan(...args), [
        url,
        { ...request, ...(promptPack && { textEncoder: "none" as const }) },
      ] as const),
    );
    const start = performance.now();
    // The second prompt is encoded while the first picture's memory is held: the highest point.
    for (const prompt of options.prompts) {
      const job: GenerateRequest = { ...request, prompt, numInferenceSteps: 1, seed: 1 };
      const make = pixels <= options.whole;
      if (make) await inPage(() => page.evaluate(async (r) => void (await window.headless.generate(r)), job));
      else await inPage(() => page.evaluate((r) => window.headless.reserve(r), job));
    }
    const memory = await page.evaluate(() => window.headless.memory());
    const peak = memory.peak > before ? memory.peak : memory.bytes;
    before = memory.peak;
    const row = { pixels, plan, peak, resident: gpuProcess.most(), seconds: (performance.now() - start) / 1000 };
    rows.push(row);
    say(describe(row));
  }
  gpuProcess.stop();
  const blocks = options.blocks && (await runBlocks());
  if (options.json) console.log(JSON.stringify({ adapter: info.adapter, load: { cold, warm }, rows, blocks }, null, 1));

  function absolutePack(base: string) {
    return { ...load, ...(promptPack && { promptPack: new URL(promptPack, base).href }) };
  }

  async function runBlocks() {
    const { height, textTokens } = { height: options.blocksAt, textTokens: 128 };
    const manifest = JSON.parse(await (await fetch(new URL("manifest.json", url))).text()) as {
      components: { transformer: { config: { caption_channels: number } } };
    };
    const caption = manifest.components.transformer.config.caption_channels;
    const before = await page.evaluate(() => window.headless.memory());
    const result = await inPage(() =>
      page.evaluate((args) => window.headless.runBlocks(...args), [
        height,
        height,
        options.blocks!,
        textTokens,
        caption,
      ] as const),
    );
    const after = await page.evaluate(() => window.headless.memory());
    say(
      `blocks ${options.blocks!.join(", ")} at ${result.tokens} tokens: ${result.seconds.toFixed(1)} s, ${result.isFinite ? "finite" : "NOT FINITE"}, ` +
        `${megabytes(before.bytes)} held before, at most ${megabytes(after.peak)} so far`,
    );
    return result;
  }
} finally {
  await session.close();
}

function describe({ pixels, plan, peak, resident, seconds }: Row): string {
  const off = ((peak / plan.peak - 1) * 100).toFixed(2);
  const held = resident === undefined ? "" : `, GPU process +${megabytes(resident)}`;
  return `${pixels} x ${pixels}: planned ${megabytes(plan.peak)}, measured ${megabytes(peak)} (${off} %)${held}, ${seconds.toFixed(1)} s`;
}

/** Resident bytes of the browser's GPU process from now on, sampled five times a second: `most()` above now. */
async function watchGpuProcess(): Promise<{ most: () => number | undefined; stop: () => void }> {
  const cdp = await session.page.context().browser()?.newBrowserCDPSession();
  const { processInfo } = (await cdp?.send("SystemInfo.getProcessInfo")) ?? { processInfo: [] };
  await cdp?.detach();
  const gpu = processInfo.find(({ type }) => type === "GPU");
  const resident = async (): Promise<number> => {
    const status = await readFile(`/proc/${gpu?.id}/status`, "utf8").catch(() => "");
    return Number(/^VmRSS:\s*(\d+) kB/m.exec(status)?.[1] ?? NaN) * 1024;
  };
  const start = await resident();
  let most = start;
  const sample = async (): Promise<void> => void (most = Math.max(most, await resident()));
  const timer = setInterval(() => void sample(), 200);
  return { most: () => (Number.isNaN(most) ? undefined : most - start), stop: () => clearInterval(timer) };
}
