// What stays put while pictures are made: no allocation in the step loop, no memory kept, no byte more than was planned.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { LocalPipeline } from "../../src/pipeline.ts";
import { Session, type SessionShape } from "../../src/session.ts";
import { loadGolden } from "../model/weights.ts";
import { PIXART } from "./golden.ts";

// A first picture compiles every pipeline: 15 s on two idle cores, minutes where other work has them.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const CREATORS = [
  "createBuffer",
  "createTexture",
  "createBindGroup",
  "createBindGroupLayout",
  "createPipelineLayout",
  "createComputePipeline",
  "createComputePipelineAsync",
  "createShaderModule",
  "createQuerySet",
] as const;

/** Counts what a device is asked to make, and which of its buffers are still alive, until `restore`. */
function watch(device: GPUDevice) {
  const counts: Partial<Record<(typeof CREATORS)[number], number>> = {};
  const alive = new Set<GPUBuffer>();
  const target = device as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const name of CREATORS) {
    const original = target[name];
    target[name] = function (...args: unknown[]) {
      counts[name] = (counts[name] ?? 0) + 1;
      const made = original.apply(device, args);
      if (name !== "createBuffer") return made;
      const buffer = made as GPUBuffer;
      alive.add(buffer);
      const destroy = buffer.destroy.bind(buffer);
      buffer.destroy = () => {
        alive.delete(buffer);
        destroy();
      };
      return buffer;
    };
  }
  return {
    alive,
    snapshot: () => ({ ...counts }),
    restore: () => CREATORS.forEach((name) => delete target[name]), // the prototype's own again
  };
}

const modelOf = ({ model: { denoiser, image } }: LocalPipeline) => ({ denoiser: denoiser!, image });

describe("while pictures are made", () => {
  let pipeline: LocalPipeline;
  let seen: ReturnType<typeof watch>;
  beforeAll(async () => {
    pipeline = LocalPipeline.of(await loadGolden(`${PIXART}/pipeline`));
  });
  beforeEach(() => (seen = watch(pipeline.model.gpu.device)));
  afterEach(() => seen.restore());
  afterAll(() => pipeline.dispose());

  it("has exactly WebGPU's default limits, and works on them", async () => {
    const { limits } = pipeline.model.gpu.device;
    expect(limits.maxStorageBufferBindingSize).toBe(134_217_728);
    expect(limits.maxBufferSize).toBe(268_435_456);
    expect(limits.maxComputeWorkgroupStorageSize).toBe(16_384);
    expect(limits.maxComputeInvocationsPerWorkgroup).toBe(256);
    expect(limits.maxStorageBuffersPerShaderStage).toBe(8);
    const { images } = await pipeline.generate({
      prompt: "a red cat",
      height: 32,
      width: 32,
      numInferenceSteps: 1,
      seed: 1,
    });
    expect(new Set(images[0].data).size).toBeGreaterThan(2);
  });

  it.each([{ guidanceMode: "batch" as const }, { guidanceMode: "passes" as const }])(
    "makes nothing on the device between the first and the last step ($guidanceMode)",
    async ({ guidanceMode }) => {
      const at: Record<number, ReturnType<typeof seen.snapshot>> = {};
      await pipeline.generate(
        { prompt: "a red cat", height: 48, width: 32, numInferenceSteps: 4, seed: 1, guidanceMode },
        { onProgress: ({ stage, step }) => void (stage === "denoise" && (at[step] = seen.snapshot())) },
      );
      expect(Object.keys(at)).toEqual(["0", "1", "2", "3", "4"]);
      expect(at[0].createBuffer).toBeGreaterThan(0); // the watch sees what preparing makes
      expect(at[0].createBindGroup).toBeGreaterThan(0);
      for (let step = 1; step <= 4; step++) expect(at[step], `step ${step}`).toEqual(at[0]);
    },
  );

  it("makes nothing but the readback of the picture when the size and the prompts are those of the last one", async () => {
    const request = { prompt: "a red cat", height: 32, width: 32, numInferenceSteps: 1, seed: 1 };
    await pipeline.generate(request);
    const before = seen.snapshot();
    await pipeline.generate({ ...request, seed: 2 });
    expect(seen.snapshot()).toEqual({ ...before, createBuffer: before.createBuffer! + 1 });
  });

  it("keeps nothing over 20 pictures of two sizes", async () => {
    const { arena } = pipeline.model.gpu;
    const bytes: Record<number, number[]> = { 32: [], 48: [] };
    const alive: Record<number, number[]> = { 32: [], 48: [] };
    // The first picture may make stand-ins for unused bindings, which stay with the device.
    for (const width of [32, 48])
      await pipeline.generate({ prompt: "x", height: 32, width, numInferenceSteps: 1, seed: 0 });
    for (let i = 0; i < 20; i++) {
      const width = i % 5 === 4 ? 48 : 32;
      await pipeline.generate({
        prompt: `a red cat ${i % 3}`,
        height: 32,
        width,
        numInferenceSteps: 1 + (i % 2),
        seed: i,
      });
      bytes[width].push(arena.bytes);
      alive[width].push(seen.alive.size);
    }
    for (const width of [32, 48]) {
      expect(new Set(bytes[width]).size, `arena bytes at ${width}: ${bytes[width]}`).toBe(1);
      expect(new Set(alive[width]).size, `buffers alive at ${width}: ${alive[width]}`).toBe(1);
    }
    expect(bytes[48][0]).toBeGreaterThan(bytes[32][0]);
  });

  it.each<SessionShape>([
    { height: 64, width: 64, halves: 2, guidanceMode: "batch", textTokens: 48 },
    { height: 32, width: 80, halves: 2, guidanceMode: "passes", textTokens: 16 },
    { height: 16, width: 16, halves: 1, guidanceMode: "batch", textTokens: 16 },
  ])("allocates the bytes it planned: $height x $width, $halves halves, $guidanceMode", async (shape) => {
    const { arena } = pipeline.model.gpu;
    const before = arena.bytes;
    const alive = seen.alive.size;
    const session = new Session(modelOf(pipeline), pipeline.model.gpu.profile, shape);
    expect(arena.bytes, "planning allocates nothing").toBe(before);
    expect(seen.alive.size).toBe(alive);
    await session.prepare(pipeline.model.gpu);
    expect(arena.bytes - before).toBe(session.bytes);
    const { bytes } = session;
    session.dispose();
    expect(arena.bytes).toBe(before);
    expect(session.bytes, "the plan outlives the memory").toBe(bytes);
    // The stand-ins for bindings that a kernel does not use stay with the device: 256 bytes each.
    expect([...seen.alive].filter((buffer) => !buffer.label.startsWith("null ")).length).toBe(alive);
  });

  it("plans less memory for guidance in passes than in one batch", () => {
    const shape = { height: 128, width: 128, halves: 2, textTokens: 16 } as const;
    const batch = new Session(modelOf(pipeline), pipeline.model.gpu.profile, { ...shape, guidanceMode: "batch" }).bytes;
    const passes = new Session(modelOf(pipeline), pipeline.model.gpu.profile, { ...shape, guidanceMode: "passes" })
      .bytes;
    expect(passes).toBeLessThan(batch);
  });

  it("frees every buffer when it is disposed", async () => {
    const other = LocalPipeline.of(await loadGolden(`${PIXART}/pipeline`));
    const { arena } = other.model.gpu;
    expect(arena.bytes).toBeGreaterThan(1e6);
    await other.generate({ prompt: "a red cat", height: 16, width: 16, numInferenceSteps: 1 });
    await other.dispose();
    expect(arena.bytes).toBe(0);
  });
});
