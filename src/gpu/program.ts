import { throwIfAborted } from "../errors.ts";
import type { Gpu } from "./device.ts";
import type { Pace } from "./pacer.ts";
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
 * command encoders: one a submit, and a submit ends where it would otherwise keep the GPU busy too long (gpu/pacer.ts).
 */
export class Program {
  readonly #pace: Pace;

  private constructor(
    private readonly gpu: Gpu,
    readonly label: string,
    private readonly steps: readonly (Step | Copy)[],
    private readonly uniforms: GPUBuffer,
  ) {
    this.#pace = gpu.pacer.pace();
  }

  /** Compiles and binds. Every tensor of the recording must have its memory by now. An aborted `signal` ends the wait for the compiler. */
  static async build(gpu: Gpu, recording: Recording, signal?: AbortSignal): Promise<Program> {
    const dispatches = recording.commands.filter((command) => command.kind === "dispatch");
    const pipelines = await gpu.wait(gpu.pipelines.compile(dispatches), signal);

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

    let i = 0;
    const steps = recording.commands.map((command) => {
      if (command.kind === "copy") return command;
      const bindGroup = bind(gpu, command, uniforms, offsetOf[i]!);
      return { dispatch: command, pipeline: pipelines[i++]!, bindGroup };
    });
    return new Program(gpu, recording.label, steps, uniforms);
  }

  /** Submits of one run at the pace of now. */
  get submits(): number {
    let count = 0;
    for (let from = 0; from < this.steps.length; count++) from = this.#cut(from).end;
    return count;
  }

  /** What the submit that begins with step `from` holds: as much as the pace allows, and one dispatch at least. */
  #cut(from: number): { end: number; flops: number } {
    const budget = this.gpu.pacer.budget(this.#pace);
    let flops = 0;
    let end = from;
    for (; end < this.steps.length; end++) {
      const step = this.steps[end]!;
      const more = "pipeline" in step ? step.dispatch.flops : 0;
      if (flops > 0 && flops + more > budget) break;
      flops += more;
    }
    return { end, flops };
  }

  /**
   * Submits all work. Resolves when the last one is submitted and one submit at most is not done, so that what is awaited next takes no longer
   * than that; an abort settles as soon. `finish` adds to the last submit.
   */
  async run(signal?: AbortSignal, finish?: (encoder: GPUCommandEncoder) => void): Promise<void> {
    const { device, pacer } = this.gpu;
    let from = 0;
    do {
      throwIfAborted(signal);
      const { end, flops } = this.#cut(from);
      const encoder = device.createCommandEncoder({ label: this.label });
      let pass: GPUComputePassEncoder | undefined;
      for (let i = from; i < end; i++) {
        const step = this.steps[i]!;
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
      if (end === this.steps.length) finish?.(encoder);
      pacer.submit(encoder.finish(), flops, this.#pace);
      while (pacer.busy) await this.gpu.wait(pacer.turn());
      from = end;
    } while (from < this.steps.length);
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
    for (let from = 0; from < this.steps.length;) {
      await between?.(timings.length);
      const { end } = this.#cut(from);
      const segment = this.steps.slice(from, end);
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
      if (end === this.steps.length) finish?.(encoder);
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
      from = end;
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
