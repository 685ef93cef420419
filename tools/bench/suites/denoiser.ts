/** One step of the denoiser against the number of tokens, hybrid against the same model with attention in every block. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ScanvasError } from "../../../src/errors.ts";
import { convert } from "../../convert/convert.ts";
import { cacheFolder, convertedFolder } from "../../headless/session.ts";
import { serveDirectory } from "../../serve.ts";
import { CONFIGS, withLayers } from "../../synth/configs.ts";
import { syntheticPipeline } from "../../synth/synth.ts";
import type { Host } from "../host.ts";
import type { StepTiming } from "../page/denoiser.ts";
import { exponent, median } from "../page/stats.ts";
import { fact, noResults, ratio, row, type Check, type Progress, type Results } from "../report.ts";

export interface DenoiserOptions {
  quick?: boolean;
  model?: string;
  pixels?: string;
  /** One block of each kind, summed as the whole model would be; or the whole model. */
  blocks: "1" | "all";
  /** f16 needs a device that has it. */
  arithmetic?: "f32" | "f16";
}

export const SHIPPED = new URL("../../../models/shapes-and-things", import.meta.url).pathname;
const SIZES = { quick: "128,256", full: "512,1024,1536,2048,3840x2160" };
/** Seconds that a size may take for more samples than one. */
const PATIENCE = 40;
/** Tokens at which the hybrid has to be so many times as fast. */
const GOALS = new Map([
  [16384, 1.5],
  [32400, 2.1],
]);
const MAMBA_EXPONENT = 1.05;

/** 28 blocks as the paper has them: 4 of attention, 12 and 12 of the two scan orders. */
const BLOCKS = { attention: 4, mamba_h: 12, mamba_w: 12 } as const;
const ALL = 28;

type Mixer = keyof typeof BLOCKS;
const MIXERS = Object.keys(BLOCKS) as Mixer[];

export async function denoiser(
  host: Host,
  { quick = false, model, pixels, blocks, arithmetic }: DenoiserOptions,
  { say, keep }: Progress,
): Promise<Results> {
  const results = noResults(host.environment);
  const whole = blocks === "all" && !quick;
  const hybridFolder = model ?? (quick ? SHIPPED : await synthesised(whole ? "t2md" : "t2md-3", say));
  const served = [await serveDirectory(await convertedFolder(hybridFolder, "f16", say))];
  try {
    const mixers = await host.call("loadDenoiser", "hybrid", served[0]!.url, arithmetic === "f16");
    if (whole) {
      served.push(await serveDirectory(await convertedFolder(await synthesised("pixart", say), "f16", say)));
      await host.call("loadDenoiser", "attention", served[1]!.url, arithmetic === "f16");
    } else if (!MIXERS.every((mixer) => mixers.includes(mixer))) {
      throw new Error(`denoiser: ${hybridFolder} has not one block of each kind`);
    }
    const meanOf = (blocks: readonly number[], mixer: Mixer): number => {
      const ours = blocks.filter((_, i) => mixers[i] === mixer);
      return ours.reduce((all, one) => all + one, 0) / ours.length;
    };
    const cpu = host.environment.adapter.software;
    let [seconds, before] = [0, 1];
    const curves = new Map<string, [number, number][]>();
    const add = (name: string, tokens: number, value: number): void =>
      void curves.set(name, [...(curves.get(name) ?? []), [tokens, value]]);

    for (const [height, width] of parseSizes(pixels ?? (quick ? SIZES.quick : SIZES.full))) {
      const what = `${width}x${height}`;
      const opened = await host.call("openDenoiser", "hybrid", height, width).catch((error: unknown) => {
        if (!(error instanceof ScanvasError && error.name === "LimitError")) throw error;
        results.notes.push(`${what} was left out, this device cannot do it: ${error.message}`);
        say(results.notes.at(-1)!);
      });
      if (!opened) continue;
      const { tokens } = opened;
      const patient = seconds * Math.max(1, tokens / before) < PATIENCE; // else the size before this one has warmed the pipelines up
      const warm = patient ? await host.call("timeStep", "hybrid") : undefined;
      const count = quick || !warm ? 1 : Math.min(5, Math.max(2, Math.floor(PATIENCE / total(warm))));
      const steps: StepTiming[] = [];
      const others: StepTiming[] = [];
      for (let i = 0; i < count; i++) {
        if (whole && i > 0) await host.call("openDenoiser", "hybrid", height, width);
        steps.push(await host.call("timeStep", "hybrid"));
        if (whole) {
          await host.call("openDenoiser", "attention", height, width);
          others.push(await host.call("timeStep", "attention"));
        }
      }
      [seconds, before] = [total(steps[0]!), tokens];
      const check = same(warm ? [warm, ...steps] : steps);
      for (const mixer of MIXERS) {
        const times = steps.map((step) => meanOf(step.blocks, mixer));
        const warmup = warm ? [meanOf(warm.blocks, mixer)] : [];
        results.rows.push(row("one block", `${mixer}, ${tokens} tokens`, times, check, { warmup }));
        add(`${mixer} block`, tokens, median(steps.map((step) => meanOf(step.work.blocks, mixer))));
        const most = Math.max(...opened.dispatches.filter((_, i) => mixers[i] === mixer));
        results.facts.push(fact(`dispatches of one ${mixer} block at ${what}`, most, ""));
      }
      const sides = (of: (step: StepTiming) => Parts): { hybrid: number[]; attention: number[] } =>
        whole
          ? { hybrid: steps.map((s) => sum(of(s))), attention: others.map((s) => sum(of(s))) }
          : {
              hybrid: steps
                .map(of)
                .map(({ blocks, rest }) => MIXERS.reduce((t, m) => t + BLOCKS[m] * meanOf(blocks, m), rest)),
              attention: steps.map(of).map(({ blocks, rest }) => rest + ALL * meanOf(blocks, "attention")),
            };
      const times = sides((step) => step);
      const work = sides((step) => step.work);
      const group = `step of ${ALL} blocks${whole ? "" : ", from one block of each kind"}`;
      results.rows.push(
        row(group, `hybrid, ${tokens} tokens`, times.hybrid, check),
        row(group, `attention, ${tokens} tokens`, times.attention, whole ? same(others) : check),
      );
      add("hybrid step", tokens, median(work.hybrid));
      add("attention step", tokens, median(work.attention));
      const goal = quick ? undefined : GOALS.get(tokens);
      results.ratios.push(
        ratio(`step at ${what}, ${tokens} tokens`, ["attention", work.attention], ["hybrid", work.hybrid], goal),
      );
      results.facts.push(fact(`GPU bytes beside the weights at ${what}`, opened.bytes / 2 ** 20, "MiB"));
      add("bytes", tokens, opened.bytes);
      for (const [name, { flops }] of Object.entries(steps[0]!.kernels)) {
        const each = steps.map((step) => step.kernels[name]!.seconds);
        results.rows.push(row(`kernels at ${tokens} tokens`, name, each, check, flops > 0 ? { flops } : {}));
      }
      const parts = MIXERS.map((m) => `${m} ${median(steps.map((s) => meanOf(s.blocks, m))).toFixed(3)} s`);
      const times28 = `hybrid step ${median(times.hybrid).toFixed(2)} s, attention ${median(times.attention).toFixed(2)} s`;
      const work28 = `attention / hybrid ${results.ratios.at(-1)!.median.toFixed(3)}`;
      await keep(withCurves(results, curves, cpu, quick));
      say(`${what}: ${tokens} tokens, ${count} samples; ${parts.join(", ")}; ${times28}; ${work28}`);
    }
    if (cpu) {
      results.notes.push(
        "Times are the device's own clock, dispatch by dispatch. Ratios, exponents and curves are of CPU seconds of the process that the " +
          "software device runs in, so that another program on the same machine does not bend them.",
      );
    }
    return withCurves(results, curves, cpu, quick);
  } finally {
    for (const server of served) await server.close();
  }
}

type Parts = Pick<StepTiming, "blocks" | "rest">;

const sum = ({ blocks, rest }: Parts): number => blocks.reduce((all, one) => all + one, rest);
const total = (step: StepTiming): number => sum(step);

/** Every sample starts from the same latents, so each must end with the same; a NaN has been an error before. */
function same(steps: readonly StepTiming[]): Check {
  const error = steps.filter(({ digest }) => digest !== steps[0]!.digest).length;
  return { against: "samples whose latents differ in any bit", error, tolerance: 0, passed: error === 0 };
}

function parseSizes(text: string): [height: number, width: number][] {
  return text.split(",").map((size) => {
    const [width, height = width] = size.split("x").map(Number) as [number, number?];
    return [height!, width];
  });
}

/** A full-width model with random weights, kept in the cache. `t2md-3`: an attention block and one of each scan order. */
async function synthesised(name: "t2md" | "t2md-3" | "pixart", say: (line: string) => void): Promise<string> {
  const out = join(cacheFolder, "bench", name);
  if (existsSync(join(out, "manifest.json"))) return out;
  say(`making ${out} ...`);
  const components = name === "pixart" ? CONFIGS.pixart : CONFIGS.t2md;
  await convert(syntheticPipeline(name === "t2md-3" ? withLayers(components, 3) : components, 0), out, {
    dtype: "f16",
  });
  return out;
}

/** The results with a series for each curve, and the exponents of those. */
function withCurves(
  results: Results,
  curves: ReadonlyMap<string, [number, number][]>,
  cpu: boolean,
  quick: boolean,
): Results {
  const series: Results["series"] = [];
  const facts = [...results.facts];
  for (const [name, points] of curves) {
    const bytes = name === "bytes";
    series.push({
      chart: bytes ? "GPU bytes against tokens" : "Time against tokens",
      name: bytes ? "beside the weights" : name,
      x: "tokens",
      y: bytes ? "bytes" : cpu ? "CPU seconds" : "GPU seconds",
      points,
      ...(points.length > 1 && { exponent: exponent(points) }),
    });
    if (points.length < 2) continue;
    const goal = !quick && name.startsWith("mamba") ? { atMost: MAMBA_EXPONENT } : undefined;
    facts.push(fact(`exponent of ${name} in tokens`, exponent(points), "", goal));
  }
  return { ...results, series, facts };
}
