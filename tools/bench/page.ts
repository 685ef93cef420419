/** The page behind `npm run bench:kernels`: the engine's kernels, its ceilings and the peer's MatMul, timed on one adapter in one run. */
import * as ort from "onnxruntime-web/webgpu";
import { Gpu } from "../../src/gpu/device.ts";
import { planMemory } from "../../src/gpu/plan.ts";
import { Program } from "../../src/gpu/program.ts";
import { Recording } from "../../src/gpu/recording.ts";
import { makeTensor, type Tensor } from "../../src/gpu/tensor.ts";
import { randomArray, type KernelCases } from "../../src/kernels/case.ts";
import { ceilingCopy, ceilingFma } from "../../src/kernels/ceiling.ts";
import { chooseGemm } from "../../src/kernels/gemm_trial.ts";
import { prepareCase } from "../../src/kernels/run_case.ts";
import { matmulModel } from "./onnx_matmul.ts";

export interface Row {
  kernel: string;
  name: string;
  milliseconds: number;
  flops: number;
  bytes: number | undefined;
}

const modules = import.meta.glob<{ default: KernelCases }>("../../src/kernels/*.ref.ts", { eager: true });
const suites = Object.values(modules).map((module) => module.default);

let gpu: Gpu;

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Median GPU milliseconds of all dispatches of a program together, after one run that warms up (or that run, when it takes long). */
async function timeProgram(program: Program, atLeast = 3): Promise<number> {
  const sum = async (): Promise<number> =>
    (await program.time()).reduce((total, { milliseconds }) => total + milliseconds, 0);
  const warm = await sum();
  if (warm > 5000) return warm; // a software device: noise is small beside that, and minutes count
  const samples: number[] = [];
  const began = performance.now();
  while (samples.length < atLeast || (performance.now() - began < 300 && samples.length < 30))
    samples.push(await sum());
  return median(samples);
}

async function timeRecording(
  tensors: Tensor[],
  record: (rec: Recording) => void,
): Promise<{ milliseconds: number; flops: number }> {
  await gpu.arena.allocate(tensors);
  const recording = new Recording("bench", gpu.profile);
  record(recording);
  const free = await gpu.arena.workspace(planMemory([recording]));
  const program = await Program.build(gpu, recording);
  try {
    const flops = recording.commands.reduce((n, command) => n + (command.kind === "dispatch" ? command.flops : 0), 0);
    return { milliseconds: await timeProgram(program), flops };
  } finally {
    program.dispose();
    free();
    gpu.arena.release(tensors);
  }
}

const bench = {
  async start() {
    gpu = await Gpu.request();
    gpu.profile = { ...gpu.profile, ...(await chooseGemm(gpu)) };
    const { vendor, architecture, description } = gpu.info;
    return { vendor, architecture, description, software: gpu.isSoftware, gemm: gpu.profile.gemm };
  },

  /** Operations and bytes a second that this device reaches at best. */
  async ceilings() {
    const threads = gpu.isSoftware ? 1 << 14 : 1 << 20;
    const out = makeTensor("out", [1]);
    const fma = await timeRecording([out], (rec) => ceilingFma(rec, out, threads, 256));
    const x = makeTensor("x", [1 << 24]);
    const y = makeTensor("y", [1 << 24]);
    const copy = await timeRecording([x, y], (rec) => ceilingCopy(rec, x, y));
    return {
      flopsPerSecond: (fma.flops / fma.milliseconds) * 1000,
      bytesPerSecond: ((2 * 4 * 2 ** 24) / copy.milliseconds) * 1000,
    };
  },

  /** The bench cases of each kernel; of a kernel that has none, because launching it costs more than running it, every case. */
  cases: (): string[] =>
    suites.flatMap(({ kernel, cases }) => {
      const chosen = cases.some((c) => c.bench) ? cases.filter((c) => c.bench) : cases;
      return chosen.map((c) => `${kernel} | ${c.name}`);
    }),

  async run(id: string): Promise<Row> {
    const [kernel, name] = id.split(" | ") as [string, string];
    const kernelCase = suites.find((suite) => suite.kernel === kernel)!.cases.find((c) => c.name === name)!;
    const prepared = await prepareCase(gpu, kernelCase);
    try {
      const flops = prepared.recording.commands.reduce(
        (n, command) => n + (command.kind === "dispatch" ? command.flops : 0),
        0,
      );
      const all = Object.values(prepared.tensors).reduce((sum, tensor) => sum + tensor.bytes, 0);
      const bytes = kernelCase.bench ? kernelCase.bench.bytes : all;
      return { kernel, name, milliseconds: await timeProgram(prepared.program), flops, bytes };
    } finally {
      prepared.release();
    }
  },

  /** onnxruntime-web's WebGPU MatMul on [n, n] x [n, n], inputs on the GPU, by wall clock around a run that waits for its result. */
  async peerMatmul(n: number): Promise<{ milliseconds: number; error: number }> {
    ort.env.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/";
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(matmulModel(n), {
      executionProviders: [{ name: "webgpu", device: gpu.device } as never],
      preferredOutputLocation: "gpu-buffer",
    });
    const a = randomArray(n * n, 1);
    const b = randomArray(n * n, 2);
    const upload = (data: Float32Array): ort.Tensor => {
      const buffer = gpu.device.createBuffer({ size: data.byteLength, usage: 0x80 | 0x8 | 0x4 });
      gpu.device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
      return ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: [n, n] });
    };
    const feeds = { a: upload(a), b: upload(b) };
    const once = async (): Promise<{ elapsed: number; value: number }> => {
      const start = performance.now();
      const { y } = await session.run(feeds);
      await gpu.device.queue.onSubmittedWorkDone();
      const elapsed = performance.now() - start;
      const data = (await y!.getData(true)) as Float32Array;
      return { elapsed, value: data[n + 1]! };
    };
    const { value } = await once();
    let expected = 0;
    for (let k = 0; k < n; k++) expected += a[n + k]! * b[k * n + 1]!;
    const samples: number[] = [];
    for (let i = 0; i < 5; i++) samples.push((await once()).elapsed);
    await session.release();
    return { milliseconds: median(samples), error: Math.abs(value - expected) };
  },

  /** Ours by the same clock: encode, submit, wait. */
  async ourMatmul(id: string): Promise<number> {
    const [kernel, name] = id.split(" | ") as [string, string];
    const kernelCase = suites.find((suite) => suite.kernel === kernel)!.cases.find((c) => c.name === name)!;
    const prepared = await prepareCase(gpu, kernelCase);
    const samples: number[] = [];
    for (let i = 0; i < 6; i++) {
      const start = performance.now();
      await prepared.program.run();
      await gpu.device.queue.onSubmittedWorkDone();
      samples.push(performance.now() - start);
    }
    prepared.release();
    return median(samples.slice(1));
  },
};

declare global {
  interface Window {
    bench: typeof bench;
  }
}
window.bench = bench;
