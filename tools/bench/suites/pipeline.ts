/** From address to picture, as a page sees it: cold, warm, stage by stage, and what it asks of the GPU. */
import { watchHeap } from "../../headless/heap.ts";
import { convertedFolder } from "../../headless/session.ts";
import { serveDirectory } from "../../serve.ts";
import type { Host } from "../host.ts";
import type { Made } from "../page/pipeline.ts";
import { fact, noResults, row, type Check, type Progress, type Results } from "../report.ts";
import { SHIPPED } from "./denoiser.ts";

export interface PipelineOptions {
  quick?: boolean;
  model?: string;
}

const MIB = 2 ** 20;
const PROMPTS = ["a photo of a red car left of a frog", "a photo of a blue bird above a house"];

export async function pipeline(
  host: Host,
  { quick = false, model = SHIPPED }: PipelineOptions,
  { say }: Progress,
): Promise<Results> {
  const results = noResults(host.environment);
  const server = await serveDirectory(await convertedFolder(model, "f16", say));
  const [size, steps, rounds] = quick ? [64, 2, 1] : [128, 12, 3];
  const request = { height: size, width: size, numInferenceSteps: steps, guidanceScale: 3 };
  const same = (pictures: readonly Made[]): Check => {
    const error = pictures.filter(({ digest }) => digest !== pictures[0]!.digest).length;
    return { against: "pictures that differ in any pixel", error, tolerance: 0, passed: error === 0 };
  };
  const stopWatching = await watchHeap(host.page!);
  let growth: number | undefined;
  try {
    const cold = await host.call("loadPipeline", server.url);
    const first = await host.call("makePicture", { ...request, prompt: PROMPTS[0]!, seed: 1 });
    ({ growth } = await stopWatching());
    const other = await host.call("makePicture", { ...request, prompt: PROMPTS[1]!, seed: 2 });
    const pictures: Made[] = [];
    for (let i = 0; i < rounds; i++) {
      pictures.push(await host.call("makePicture", { ...request, prompt: PROMPTS[0]!, seed: 1 }));
    }
    // What one step more costs.
    const longer = await host.call("makePicture", {
      ...request,
      numInferenceSteps: steps + 1,
      prompt: PROMPTS[0]!,
      seed: 1,
    });
    const warm = [];
    for (let i = 0; i < rounds; i++) warm.push(await host.call("loadPipeline", server.url));
    const again = await host.call("makePicture", { ...request, prompt: PROMPTS[0]!, seed: 1 });

    const check = same([first, ...pictures, again]);
    const what = `${size}x${size}, ${steps} steps`;
    const seconds = (list: readonly { seconds: number }[]): number[] => list.map((one) => one.seconds);
    const stage = (list: readonly Made[], name: keyof Made["timings"]): number[] =>
      list.map(({ timings }) => timings[name] / 1e3);
    results.rows.push(
      row("load", "cold: downloaded, verified, stored", [cold.seconds], check),
      row("load", "warm: from the store", seconds(warm), check),
      row("picture", `first, ${what}`, [first.seconds], check),
      row("picture", `another prompt, ${what}`, [other.seconds], check),
      row("picture", `the same again, ${what}`, seconds(pictures), check),
      row("picture", `first after a warm load, ${what}`, [again.seconds], check),
    );
    for (const name of ["encode", "prepare", "denoise", "decode"] as const) {
      results.rows.push(row("stages of the first picture", name, stage([first], name), check));
      results.rows.push(row("stages of a warm picture", name, stage(pictures, name), check));
    }
    const last = pictures.at(-1)!.counts;
    results.facts.push(
      fact("most GPU memory", first.peakBytes / MIB, "MiB"),
      fact("JavaScript heap and array buffers, growth over load and first picture", growth / MIB, "MiB"),
      fact("uploaded while loading", cold.counts.uploaded / MIB, "MiB"),
      fact(`pipelines compiled for the first picture`, first.counts.pipelines, ""),
      fact("pipelines compiled for the second picture, another prompt", other.counts.pipelines, "", { atMost: 0 }),
      fact("shaders made for the second picture", other.counts.shaders, "", { atMost: 0 }),
      fact("uploaded for the second picture", other.counts.uploaded / 1024, "KiB"),
      fact("dispatches of a step, both halves of guidance", longer.counts.dispatches - last.dispatches, ""),
      fact(`submits of a warm picture on this device, ${what}`, last.submits, ""),
      fact("longest submit", Math.max(...pictures.map(({ counts }) => counts.longestSubmit)) * 1e3, "ms"),
      fact("frames dropped during the first picture", first.dropped, `of ${first.frames}`),
      fact("frames dropped during a warm picture", pictures[0]!.dropped, `of ${pictures[0]!.frames}`),
      fact("longest time without a frame", Math.max(...pictures.map(({ longestGap }) => longestGap)) * 1e3, "ms"),
    );
    for (const { group, name, median } of results.rows) say(`${group}: ${name}: ${median.toFixed(2)} s`);
    for (const { name, value, unit } of results.facts) say(`${name}: ${Number(value.toPrecision(4))} ${unit}`);
    results.notes.push(
      "A submit is cut by what earlier ones took, at 30 ms on a fast device and 100 ms on a slow one, so that the page can draw: a slow device makes many " +
        "of a step, one of 1 TFLOP/s makes one of a step of the shipped model at 512x512.",
    );
    return results;
  } finally {
    if (growth === undefined) await stopWatching().catch(() => undefined);
    await server.close();
  }
}
