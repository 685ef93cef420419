/** A small model, kept in memory and loaded onto Dawn's devices without a network; and what must hold after any fault. */
import { expect } from "vitest";
import { LocalPipeline, type PipelineOptions } from "../../src/pipeline.ts";
import type { GenerateRequest } from "../../src/worker/api.ts";
import { convert } from "../../tools/convert/convert.ts";
import { serveDirectory } from "../../tools/serve.ts";
import { recordingDawn, type Tamper } from "../kernels/gpu.ts";
import { PIXART } from "../pipeline/golden.ts";
import { FakeDirectory } from "../weights/directory.ts";
import { scratch } from "../weights/fixtures.ts";

export const REQUEST: GenerateRequest = { prompt: "a red cat", height: 32, width: 32, numInferenceSteps: 3, seed: 5 };

export interface Rig {
  /** The storage. */
  readonly directory: FakeDirectory;
  /** All that were asked for, in order. */
  readonly devices: GPUDevice[];
  /** For devices that are made from now on. */
  tamper: Tamper;
  /** So many times no adapter is offered. */
  away: number;
  load(options?: PipelineOptions): Promise<LocalPipeline>;
}

export async function openRig(): Promise<Rig> {
  const folder = await scratch();
  await convert(`${PIXART}/pipeline`, folder, { dtype: "f32" });
  const server = await serveDirectory(folder);
  const directory = new FakeDirectory();
  const { gpu, devices } = recordingDawn(
    (device, number) => rig.tamper(device, number),
    () => rig.away-- > 0,
  );
  const rig: Rig = {
    directory,
    devices,
    tamper: () => undefined,
    away: 0,
    load: (options) => LocalPipeline.load(server.url, { gpu, limits: "default", store: directory.store(), ...options }),
  };
  await (await rig.load()).dispose(); // everything is stored
  await server.close();
  devices.length = 0;
  return rig;
}

/** Of a run that nothing disturbs. */
export interface Baseline {
  readonly pixels: Uint8ClampedArray;
  /** GPU bytes in use after the picture. */
  readonly bytes: number;
  readonly files: readonly string[];
}

export async function baselineOf({ directory }: Rig, pipeline: LocalPipeline): Promise<Baseline> {
  const { images } = await pipeline.generate(REQUEST);
  return { pixels: images[0].data, bytes: pipeline.model.gpu.arena.bytes, files: [...directory.files.keys()].sort() };
}

/** The next picture is right, to the bit; GPU memory and storage are as if nothing had been. vitest itself fails for an unhandled rejection. */
export async function expectBaseline(rig: Rig, pipeline: LocalPipeline, baseline: Baseline): Promise<void> {
  expect(await baselineOf(rig, pipeline)).toEqual(baseline);
}

/** What `work` ends in, an error if all is well. */
export const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "nothing was thrown",
    (error: unknown) => error,
  );
