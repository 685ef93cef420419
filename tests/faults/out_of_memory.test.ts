// The GPU has no room: what can be given up is given up, one after the other; what then does not fit is refused with numbers, and leaves nothing.
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { LocalPipeline, PipelineOptions } from "../../src/pipeline.ts";
import type { GenerateRequest } from "../../src/worker/api.ts";
import { errorOf, openRig, REQUEST, type Rig } from "./rig.ts";
import { Room } from "./room.ts";

interface Run {
  pixels: Uint8ClampedArray;
  /** Most bytes of the device in use at once, and those that stay. */
  peak: number;
  kept: number;
}

let rig: Rig;
let pipeline: LocalPipeline;
const room = new Room();

async function load(options?: PipelineOptions): Promise<void> {
  pipeline = await rig.load(options);
}

/** Everything was given back. */
async function dispose(): Promise<void> {
  await pipeline.dispose();
  expect(room.used).toBe(0);
}

/** The next picture, with all the room in the world. */
async function runOf(request = REQUEST): Promise<Run> {
  Object.assign(room, { bytes: Infinity, peak: 0 });
  const { images } = await pipeline.generate(request);
  expect(room.used, "beside the engine's own count").toBeGreaterThanOrEqual(pipeline.model.gpu.arena.bytes);
  return { pixels: images[0].data, peak: room.peak, kept: pipeline.model.gpu.arena.bytes };
}

let resident: Run; // as it is without any lack
let streamed: Run;
let passes: Run; // streamed, with guidance in passes
let weights: number; // bytes, without those of the text encoder
beforeAll(async () => {
  rig = await openRig();
  rig.tamper = (device) => room.limit(device);
  await load();
  resident = await runOf();
  await dispose();
  await load({ textEncoder: "streamed" });
  weights = pipeline.model.gpu.arena.bytes;
  streamed = await runOf();
  passes = await runOf({ ...REQUEST, guidanceMode: "passes" });
  await dispose();
  expect(passes.peak).toBeLessThan(streamed.peak);
  expect(streamed.peak).toBeLessThan(resident.peak);
  expect(streamed.pixels).toEqual(resident.pixels);
});
afterEach(async () => {
  Object.assign(room, { bytes: Infinity, refuses: () => false });
  room.refused.length = 0;
  await dispose();
});

const pixelsOf = async (request: GenerateRequest): Promise<Uint8ClampedArray> =>
  (await pipeline.generate(request)).images[0].data;

describe("a GPU without room", () => {
  it("for the weights of the text encoder streams them from the start", async () => {
    room.bytes = weights + 1000;
    await load();
    expect(pipeline.model.prompts!.kind).toBe("streamed");
    room.bytes = streamed.peak;
    expect(await pixelsOf(REQUEST)).toEqual(resident.pixels);
  });

  it("for a picture gets the memory of the text encoder, then takes guidance in passes; with room, the next size has all of it", async () => {
    await load();
    room.bytes = streamed.peak;
    expect(await pixelsOf(REQUEST)).toEqual(streamed.pixels);
    expect(pipeline.model.prompts!.kind).toBe("streamed");
    room.bytes = passes.peak;
    expect(await pixelsOf(REQUEST)).toEqual(passes.pixels);
    expect(await runOf(), "what was prepared for a size stays").toEqual({
      ...passes,
      peak: expect.any(Number) as number,
    });
    await runOf({ ...REQUEST, height: 16 });
    expect(await runOf()).toEqual(streamed);
  });

  it("is asked for less at every step of the ladder; the error has the numbers, and the next picture is right", async () => {
    await load();
    room.bytes = 100e6;
    const error = (await errorOf(pipeline.generate({ ...REQUEST, height: 2048, width: 2048 }))) as Error;
    const totals = room.refused.map(({ wanted, used }) => wanted + used);
    expect(totals.length, "as it was asked for, and three times less").toBe(4);
    expect(totals).toEqual([...new Set(totals)].sort((a, b) => b - a));
    expect(error).toMatchObject({ name: "OutOfMemoryError", recoverable: true, stage: "prepare" });
    const [, wanted, used] = /no room for (\d+) bytes beside the (\d+) in use/.exec(error.message)!;
    expect(totals[3] - Number(wanted) - Number(used), "stand-ins for bindings, not counted").toBeLessThan(4096);
    expect(error.message).toContain(`The model holds ${weights} bytes`);
    expect(pipeline.model.gpu.arena.bytes).toBe(weights);
    expect(await runOf()).toEqual(streamed);
  });

  it("for any one buffer, of the engine's own count or not, steps down once, and the picture is right", async () => {
    await load({ textEncoder: "streamed" });
    for (const label of [
      "encode start params",
      "latents",
      "workspace 1",
      "step params",
      "step staging",
      "read image",
    ]) {
      const request = { ...REQUEST, prompt: label };
      let asked = 0;
      room.refuses = (buffer) => buffer === label && ++asked === 1;
      const pixels = await pixelsOf(request);
      expect(asked, label).toBeGreaterThan(1);
      room.refuses = () => false;
      expect(pixels, label).toEqual(await pixelsOf({ ...request, guidanceMode: "passes" }));
    }
    expect(await runOf()).toEqual(streamed);
  });

  it("even for the weights is refused with the bytes, and leaves nothing", async () => {
    room.bytes = weights - 1;
    const error = (await errorOf(load())) as Error;
    expect(error).toMatchObject({ name: "OutOfMemoryError" });
    expect(error.message).toContain(`no room for ${weights} bytes beside the 0 in use`);
    expect(room.used).toBe(0);
  });
});
