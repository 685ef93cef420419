import { throwIfAborted } from "../errors.ts";
import type { Gpu } from "./device.ts";
import type { Copy, Dispatch, Recording } from "./recording.ts";

interface Step {
  readonly dispatch: Dispatch;
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
}

/** GPU time of one dispatch, from timestamps at its pass boundaries. */
export interface Timing {
  readonly label: string;
  readonly kernel: string;
  readonly milliseconds: number;
  readonly flops: number;
}

export interface TimeOptions {
  finish?: (encoder: GPUCommandEncoder) => void;
  between?: (done: number) => Promise<void>;
}

/**
 * A recording made ready for one device: pipelines compiled, bind groups and uniforms built. Running it allocates nothing but
 * command encoders: one a submit, and a submit ends where it would otherwise keep the GPU busy too long for the page to draw.
 */
export class Program {
  readonly #segments: (Step | Copy)[][];

  private constructor(
    private readonly gpu: Gpu,
    readonly label: string,
    segments: (Step | Copy)[][],
    private readonly uniforms: GPUBuffer,
  ) {
    this.#segments = segments;
  }

  /** Compiles and binds. Every tensor of the recording must have its memory by now. */
  static async build(gpu: Gpu, recording: Recording, submitFlops = gpu.submitFlops): Promise<Program> {
    const dispatches = recording.commands.filter((command) => command.kind === "dispatch");
    const pipelines = await gpu.wait(gpu.pipelines.compile(dispatches));

    const offsets = new Map<string, number>(); // equal Params share a slot
    const offsetOf = dispatches.map(({ params }) => {
      const key = params.join();
      if (!offsets.has(key)) offsets.set(key, offsets.size * 256);
      return offsets.get(key)!;
    });
    const uniforms = gpu.device.createBuffer({
      label: `${recording.label} params`,
      size: Math.max(256, offsets.size * 256),
      usage: 0x40 | 0x8, // UNIFORM | COPY_DST
    });
    const bytes = new Uint8Array(uniforms.size);
    dispatches.forEach(({ params }, i) => bytes.set(params, offsetOf[i]!));
    gpu.device.queue.writeBuffer(uniforms, 0, bytes);

    const segments: (Step | Copy)[][] = [[]];
    let flops = 0;
    let i = 0;
    for (const command of recording.commands) {
      if (command.kind === "dispatch") {
        if (flops > 0 && flops + command.flops > submitFlops) {
          segments.push([]);
          flops = 0;
        }
        flops += command.flops;
        const bindGroup = bind(gpu, command, uniforms, offsetOf[i]!);
        segments.at(-1)!.push({ dispatch: command, pipeline: pipelines[i]!, bindGroup });
        i++;
      } else segments.at(-1)!.push(command);
    }
    return new Program(gpu, recording.label, segments, uniforms);
  }

  /** Submits of one run. */
  get submits(): number {
    return this.#segments.length;
  }

  /**
   * Submits all work, at most two submits ahead of the GPU. Resolves when the last one is submitted, not when it is done. `finish` adds to
   * that last one.
   */
  async run(signal?: AbortSignal, finish?: (encoder: GPUCommandEncoder) => void): Promise<void> {
    const inFlight: Promise<unknown>[] = [];
    for (const segment of this.#segments) {
      throwIfAborted(signal);
      if (inFlight.length >= 2) await this.gpu.wait(inFlight.shift()!);
      const encoder = this.gpu.device.createCommandEncoder({ label: this.label });
      let pass: GPUComputePassEncoder | undefined;
      for (const step of segment) {
        if ("pipeline" in step) {
          pass ??= encoder.beginComputePass();
          pass.setPipeline(step.pipeline);
          pass.setBindGroup(0, step.bindGroup);
          pass.dispatchWorkgroups(...step.dispatch.grid);
        } else {
          pass?.end();
          pass = undefined;
          encodeCopy(encoder, step);
        }
      }
      pass?.end();
      if (segment === this.#segments.at(-1)) finish?.(encoder);
      this.gpu.device.queue.submit([encoder.finish()]);
      if (this.#segments.length > 1) inFlight.push(this.gpu.device.queue.onSubmittedWorkDone());
    }
    throwIfAborted(signal);
    this.gpu.checkLost();
  }

  /**
   * Runs once with a pass per dispatch and returns its GPU time; needs the `timestamp-query` feature. `finish` as in `run`; `between` is
   * waited for before each submit, with the number of dispatches that are done.
   */
  async time({ finish, between }: TimeOptions = {}): Promise<Timing[]> {
    const { device } = this.gpu;
    const timings: Timing[] = [];
    for (const segment of this.#segments) {
      await between?.(timings.length);
      const steps = segment.filter((step) => "pipeline" in step);
      const querySet = device.createQuerySet({ type: "timestamp", count: Math.max(2, 2 * steps.length) });
      const size = 16 * Math.max(1, steps.length);
      const resolved = device.createBuffer({ size, usage: 0x200 | 0x4 }); // QUERY_RESOLVE | COPY_SRC
      const staging = device.createBuffer({ size, usage: 0x1 | 0x8 });
      const encoder = device.createCommandEncoder();
      let query = 0;
      for (const step of segment) {
        if (!("pipeline" in step)) {
          encodeCopy(encoder, step);
          continue;
        }
        const pass = encoder.beginComputePass({
          timestampWrites: { querySet, beginningOfPassWriteIndex: query++, endOfPassWriteIndex: query++ },
        });
        pass.setPipeline(step.pipeline);
        pass.setBindGroup(0, step.bindGroup);
        pass.dispatchWorkgroups(...step.dispatch.grid);
        pass.end();
      }
      if (query > 0) {
        encoder.resolveQuerySet(querySet, 0, query, resolved, 0);
        encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
      }
      if (segment === this.#segments.at(-1)) finish?.(encoder);
      device.queue.submit([encoder.finish()]);
      await this.gpu.wait(staging.mapAsync(1));
      const ticks = new BigInt64Array(staging.getMappedRange().slice(0)); // nanoseconds
      steps.forEach(({ dispatch }, i) => {
        const milliseconds = Number(ticks[2 * i + 1]! - ticks[2 * i]!) / 1e6;
        timings.push({ label: dispatch.label, kernel: dispatch.kernel.name, milliseconds, flops: dispatch.flops });
      });
      querySet.destroy();
      resolved.destroy();
      staging.destroy();
    }
    return timings;
  }

  dispose(): void {
    this.uniforms.destroy();
  }
}

function bind(gpu: Gpu, dispatch: Dispatch, uniforms: GPUBuffer, offset: number): GPUBindGroup {
  let next = 0;
  return gpu.device.createBindGroup({
    label: dispatch.label,
    layout: gpu.pipelines.layout(dispatch.kernel),
    entries: dispatch.kernel.bindings.map((binding) => {
      if (binding.access === "uniform") {
        return { binding: binding.index, resource: { buffer: uniforms, offset, size: dispatch.params.length } };
      }
      const tensor = dispatch.tensors[next++];
      if (!tensor)
        return {
          binding: binding.index,
          resource: { buffer: gpu.pipelines.nullBuffer(binding.access, binding.index) },
        };
      if (!tensor.buffer) throw new Error(`${dispatch.label}: ${tensor.label} has no memory`);
      return { binding: binding.index, resource: { buffer: tensor.buffer, offset: tensor.offset, size: tensor.bytes } };
    }),
  });
}

function encodeCopy(encoder: GPUCommandEncoder, copy: Copy): void {
  encoder.copyBufferToBuffer(copy.from.buffer!, copy.fromOffset, copy.to.buffer!, copy.toOffset, copy.bytes);
}
