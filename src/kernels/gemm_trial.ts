import type { Gpu } from "../gpu/device.ts";
import { Program } from "../gpu/program.ts";
import { Recording, type DeviceProfile } from "../gpu/recording.ts";
import { makeTensor } from "../gpu/tensor.ts";
import { gemm } from "./gemm.ts";

interface Choice {
  readonly gemm: DeviceProfile["gemm"];
  /** Floating-point operations a second of the winner in the trial. */
  readonly flopsPerSecond: number;
}

const remembered = new Map<string, Choice>();
const FILE = "scanvas-adapters.json";
/** Raise when a matrix kernel changes, so that the trial runs again. */
const TRIAL_VERSION = 3;

/**
 * Times each matrix kernel for a moment on this device and says which is faster: a tile in workgroup memory wins on most GPUs, registers
 * alone on Apple's and on CPU implementations. Remembered per adapter, on disk where the origin has a file system. Also sets how
 * much work a submit may hold: a tenth of a second of the winner's.
 */
export async function chooseGemm(gpu: Gpu): Promise<{ gemm: DeviceProfile["gemm"] }> {
  const key = `${TRIAL_VERSION}|${gpu.adapterKey}|${gpu.profile.f16 ? "f16" : "f32"}`;
  let choice = remembered.get(key) ?? (await readChoices())[key];
  if (!choice) {
    const tile = await rate(gpu, "tile");
    const register = await rate(gpu, "register");
    choice = { gemm: register > tile ? "register" : "tile", flopsPerSecond: Math.max(tile, register) };
    await writeChoice(key, choice);
  }
  remembered.set(key, choice);
  gpu.submitFlops = choice.flopsPerSecond / 10;
  return { gemm: choice.gemm };
}

/** Operations a second on [256, 256] x [512, 256]^T, repeated until 20 ms have passed, so that slow timers and launches do not decide. */
async function rate(gpu: Gpu, variant: DeviceProfile["gemm"]): Promise<number> {
  const rows = 256;
  const columns = 512;
  const depth = 256;
  const x = makeTensor("trial_x", [rows, depth]);
  const w = makeTensor("trial_w", [columns, depth]);
  const y = makeTensor("trial_y", [rows, columns]);
  await gpu.arena.allocate([x, w, y]);
  try {
    const recording = new Recording(`trial ${variant}`, gpu.profile);
    gemm(recording, x, w, y, { variant });
    const program = await Program.build(gpu, recording);
    const done = (): Promise<void> => gpu.wait(gpu.device.queue.onSubmittedWorkDone());
    await program.run(); // drivers finish compiling on the first run
    await done();
    let runs = 0;
    let elapsed = 0;
    for (let repeat = 1; elapsed < 20; repeat *= 4) {
      const start = performance.now();
      for (let i = 0; i < repeat; i++) await program.run();
      await done();
      elapsed = performance.now() - start;
      runs = repeat;
    }
    program.dispose();
    return (2 * rows * columns * depth * runs) / (elapsed / 1000);
  } finally {
    gpu.arena.release([x, w, y]);
  }
}

async function readChoices(): Promise<Record<string, Choice>> {
  try {
    const root = await navigator.storage.getDirectory();
    const file = await (await root.getFileHandle(FILE)).getFile();
    return JSON.parse(await file.text()) as Record<string, Choice>;
  } catch {
    return {}; // no file yet, no file system, storage refused: the trial runs again
  }
}

async function writeChoice(key: string, choice: Choice): Promise<void> {
  try {
    const choices = { ...(await readChoices()), [key]: choice };
    const root = await navigator.storage.getDirectory();
    const writable = await (await root.getFileHandle(FILE, { create: true })).createWritable();
    await writable.write(JSON.stringify(choices));
    await writable.close();
  } catch {
    // Not remembered: the next load runs the trial again.
  }
}
