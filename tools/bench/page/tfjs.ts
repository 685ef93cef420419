/** TensorFlow.js' side of the races, on its WebGPU backend. The suite puts its scripts into the page. */
import type { Inputs, Work } from "./inputs.ts";
import type { Contender } from "./peers.ts";

interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}

/** The part of the global `tf` that is used here; it is not installed where the types are checked. */
interface Tf {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  getBackend(): string;
  backend(): { endComputePassEncoder(): void; submitQueue(): void; device: GPUDevice };
  tensor(data: Float32Array, shape: number[]): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA: boolean, transposeB: boolean): TfTensor;
  conv2d(x: TfTensor, filter: TfTensor, strides: number, pad: string): TfTensor;
  add(a: TfTensor, b: TfTensor): TfTensor;
  tidy(f: () => TfTensor): TfTensor;
}

declare global {
  var tf: Tf | undefined;
}

export async function tfjsContender(work: Work, data: Inputs): Promise<Contender> {
  const tf = globalThis.tf!;
  await tf.setBackend("webgpu");
  await tf.ready();
  if (tf.getBackend() !== "webgpu") throw new Error("tfjs found no WebGPU");
  let f: () => TfTensor;
  const given: TfTensor[] = [];
  const tensor = (values: Float32Array, shape: number[]): TfTensor => {
    const made = tf.tensor(values, shape);
    given.push(made);
    return made;
  };
  if (work.kind === "gemm") {
    const [x, w] = [tensor(data.x!.data, data.x!.shape), tensor(data.w!.data, data.w!.shape)];
    f = () => tf.matMul(x, w, false, true);
  } else if (work.kind === "conv2d") {
    const { size, channels, outputs } = work;
    const x = tensor(data.x!.data, [1, size, size, channels]);
    const filter = new Float32Array(9 * channels * outputs); // [row, column, channel, output]
    for (let o = 0; o < outputs; o++)
      for (let i = 0; i < 9 * channels; i++) filter[i * outputs + o] = data.w!.data[o * 9 * channels + i]!;
    const w = tensor(filter, [3, 3, channels, outputs]);
    const bias = tensor(data.bias!.data, [outputs]);
    f = () => tf.tidy(() => tf.add(tf.conv2d(x, w, 1, "same"), bias));
  } else throw new Error(`tfjs takes no part in ${work.kind}`);
  let y: TfTensor | undefined;
  return {
    async run() {
      y?.dispose();
      y = f();
      const backend = tf.backend();
      backend.endComputePassEncoder(); // a submit fails while one is open
      backend.submitQueue();
      await backend.device.queue.onSubmittedWorkDone();
    },
    read: () => y!.data(),
    dispose() {
      y?.dispose();
      given.forEach((one) => one.dispose());
    },
  };
}
