import type { Dispatch } from "./recording.ts";
import { composeShader, type Kernel } from "./shader.ts";
import type { MatrixShape } from "./subgroup_matrix.ts";

/** Compiled pipelines, each compiled once per device, asynchronously, with an explicit layout. */
export class Pipelines {
  readonly #modules = new Map<string, GPUShaderModule>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  readonly #nulls = new Map<string, GPUBuffer>();

  constructor(
    private readonly device: GPUDevice,
    private readonly matrix?: MatrixShape,
  ) {}

  /** How many were compiled so far. */
  get count(): number {
    return this.#pipelines.size;
  }

  /** Starts compiling every pipeline of `dispatches` before waiting for any, so that the driver works on many at once. */
  async compile(dispatches: readonly Dispatch[]): Promise<GPUComputePipeline[]> {
    return Promise.all(dispatches.map((dispatch) => this.#pipeline(dispatch)));
  }

  layout(kernel: Kernel): GPUBindGroupLayout {
    const key = kernel.bindings.map((b) => `${b.index}${b.access}`).join();
    let layout = this.#layouts.get(key);
    if (!layout) {
      layout = this.device.createBindGroupLayout({
        label: kernel.name,
        entries: kernel.bindings.map(({ index, access }) => ({
          binding: index,
          visibility: 0x4, // GPUShaderStage.COMPUTE
          buffer: { type: access === "uniform" ? "uniform" : access === "read" ? "read-only-storage" : "storage" },
        })),
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  /** What is bound where a kernel was told to leave a binding alone. Writable ones differ, since they may not alias. */
  nullBuffer(access: "read" | "read_write", index: number): GPUBuffer {
    const key = access === "read" ? "read" : `write ${index}`;
    let buffer = this.#nulls.get(key);
    if (!buffer)
      this.#nulls.set(key, (buffer = this.device.createBuffer({ label: `null ${key}`, size: 256, usage: 0x80 })));
    return buffer;
  }

  dispose(): void {
    this.#nulls.forEach((buffer) => buffer.destroy());
  }

  #pipeline(dispatch: Dispatch): Promise<GPUComputePipeline> {
    const { kernel, arithmetic, weights, halves, constants } = dispatch;
    const plain = [kernel.name, arithmetic, weights, ...halves].join(" ");
    const key = `${plain} ${JSON.stringify(Object.entries(constants).sort())}`;
    let pipeline = this.#pipelines.get(key);
    if (!pipeline) {
      const variant = kernel.matrix ? key : plain; // the text of a kernel with matrices holds its constants
      let module = this.#modules.get(variant);
      if (!module) {
        module = this.device.createShaderModule({ label: variant, code: composeShader(kernel, dispatch, this.matrix) });
        this.#modules.set(variant, module);
      }
      pipeline = this.device.createComputePipelineAsync({
        label: key,
        layout: this.device.createPipelineLayout({ bindGroupLayouts: [this.layout(kernel)] }),
        compute: { module, entryPoint: "main", constants: kernel.matrix ? {} : { ...constants } },
      });
      this.#pipelines.set(key, pipeline);
    }
    return pipeline;
  }
}
