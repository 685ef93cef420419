/** Counts a worker's calls to WebGPU. A message on the channel is answered with the counts since the last one. */
import { CHANNEL, noCounts } from "./counts.ts";

let counts = noCounts();

/** Calls `count` with the arguments before each call of a method. */
function count<T extends object, Name extends keyof T>(
  type: { prototype: T },
  name: Name,
  before: (self: T, args: unknown[]) => void,
): void {
  const original = type.prototype[name] as (...args: unknown[]) => unknown;
  type.prototype[name] = function (this: T, ...args: unknown[]) {
    before(this, args);
    return original.apply(this, args);
  } as T[Name];
}

count(GPUComputePassEncoder, "dispatchWorkgroups", () => counts.dispatches++);
count(GPUDevice, "createComputePipelineAsync", () => counts.pipelines++);
count(GPUDevice, "createShaderModule", () => counts.shaders++);
count(GPUDevice, "createBuffer", () => counts.buffers++);
count(GPUQueue, "writeBuffer", (_, [, , data, , size]) => {
  counts.uploaded += (size as number | undefined) ?? (data as ArrayBufferView).byteLength;
});

let free = 0; // when the queue became idle
const { submit } = GPUQueue.prototype;
GPUQueue.prototype.submit = function (this: GPUQueue, buffers) {
  const began = performance.now();
  counts.submits++;
  submit.call(this, buffers);
  void this.onSubmittedWorkDone().then(() => {
    const done = performance.now();
    counts.longestSubmit = Math.max(counts.longestSubmit, (done - Math.max(began, free)) / 1e3);
    free = done;
  });
};

const channel = new BroadcastChannel(CHANNEL);
channel.onmessage = ({ data }) => {
  if (data !== "counts") return;
  channel.postMessage(counts);
  counts = noCounts();
};
