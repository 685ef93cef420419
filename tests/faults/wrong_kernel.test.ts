// A device that computes one kernel wrongly: the shader is changed on its way to the driver, the engine's own guards must find it.
import { afterEach, describe, expect, it, vi } from "vitest";
import { Gpu } from "../../src/gpu/device.ts";
import type { KernelVariants } from "../../src/gpu/recording.ts";
import { chooseVariants, isRight } from "../../src/kernels/trial.ts";
import { LocalPipeline } from "../../src/pipeline.ts";
import { selfCheck } from "../../src/self_check.ts";
import type { GenerateRequest } from "../../src/worker/api.ts";
import { dawn } from "../kernels/gpu.ts";
import { loadGolden } from "../model/weights.ts";
import { largestDifference, PIXART } from "../pipeline/golden.ts";

vi.setConfig({ testTimeout: 300_000 });

/** A fault in one place of one kernel: it still compiles, and still makes numbers. */
interface Fault {
  kernel: string;
  from: string;
  to: string;
}

const FAULTS: Record<Exclude<keyof KernelVariants, "convFew">, Fault> = {
  gemm: {
    kernel: "gemm_register",
    from: "store(row, column + j, sums.low[j])",
    to: "store(row, column + j, 1.25 * sums.low[j])",
  },
  attention: {
    kernel: "attention_register",
    from: "let y0 = y[rows.x + c] * inverse.x",
    to: "let y0 = y[rows.x + c] * inverse.x * 1.25",
  },
  scan: { kernel: "ssd_output_register", from: "vec4<y_type>(left +", to: "vec4<y_type>(1.25 * left +" },
  conv: { kernel: "conv2d_register", from: "q, o, sums[2u * i])", to: "q, o, 1.25 * sums[2u * i])" },
};

let adapters = 0;

/** Dawn with devices that have `faults`: another adapter each time, of which nothing is remembered. `shaders` counts what they compile. */
function faultyGpu(...faults: Fault[]): { gpu: GPU; shaders: () => number } {
  const key = `with faults ${++adapters}`;
  let shaders = 0;
  const requestAdapter = async (options?: GPURequestAdapterOptions): Promise<GPUAdapter> => {
    const adapter = (await dawn().requestAdapter(options))!;
    const requestDevice = async (descriptor?: GPUDeviceDescriptor): Promise<GPUDevice> => {
      const device = await adapter.requestDevice(descriptor);
      const create = device.createShaderModule.bind(device);
      device.createShaderModule = ({ label, code, ...rest }) => {
        shaders++;
        const fault = faults.find(({ kernel }) => label?.split(" ")[0] === kernel);
        if (fault && !code.includes(fault.from)) throw new Error(`${fault.kernel} has no ${fault.from} any more`);
        return create({ ...rest, label: label!, code: fault ? code.replace(fault.from, fault.to) : code });
      };
      return device;
    };
    const { vendor, architecture, device } = adapter.info;
    const info = { vendor, architecture, device, description: key };
    return { limits: adapter.limits, features: adapter.features, info, requestDevice } as unknown as GPUAdapter;
  };
  return { gpu: { requestAdapter } as unknown as GPU, shaders: () => shaders };
}

const open: Gpu[] = [];
const request = async (gpu: GPU): Promise<Gpu> => {
  open.push(await Gpu.request({ gpu, limits: "default" }));
  return open.at(-1)!;
};
afterEach(() => open.splice(0).forEach((gpu) => gpu.dispose()));

describe("a kernel that is wrong on this device", () => {
  it.each(Object.entries(FAULTS))("of %s is found and replaced", async (family, fault) => {
    const gpu = await request(faultyGpu(fault).gpu);
    // "register" is the faster one here, whatever else the machine does.
    const { variants, results } = await chooseVariants(gpu, async (_gpu, _case, variant) =>
      variant === "register" ? 2e9 : 1e9,
    );
    const tried = results[family as keyof KernelVariants];
    expect(gpu.profile.variants).toBe(variants);
    // Families that follow gemm try "register" because it is gemm's.
    expect(tried.map((one) => [one.variant, isRight(one)])).toContainEqual(["register", false]);
    expect(variants[family as keyof KernelVariants]).toBe("tile");
    for (const [other, candidates] of Object.entries(results))
      if (!other.startsWith(family)) expect(candidates.every(isRight), other).toBe(true);
    if (family === "conv") expect(variants.convFew).toBe("tile");
  });

  it("is remembered, so that it is looked for once", async () => {
    const { gpu, shaders } = faultyGpu(FAULTS.gemm);
    const first = await chooseVariants(await request(gpu));
    const before = shaders();
    expect(before).toBeGreaterThan(0);
    expect(await chooseVariants(await request(gpu))).toEqual(first);
    expect(shaders()).toBe(before);
    vi.stubGlobal("navigator", { userAgent: "the next version of this browser" });
    try {
      await chooseVariants(await request(gpu));
      expect(shaders(), "in another version of the browser").toBe(2 * before);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("is an error where no other is right", async () => {
    const gpu = await request(faultyGpu(FAULTS.gemm).gpu);
    vi.spyOn(gpu.pipelines, "compile").mockRejectedValue(new Error("the compiler is broken"));
    await expect(chooseVariants(gpu)).rejects.toMatchObject({
      name: "NumericalError",
      message: expect.stringContaining("no kernel of gemm gives right results") as string,
    });
  });

  it("is told of by the self-check", async () => {
    const gpu = await request(faultyGpu(FAULTS.gemm).gpu);
    const results = await selfCheck(gpu, () => {}, new AbortController().signal);
    const chosen = results.find(({ kernel }) => kernel === "chosen for gemm")!;
    expect(chosen).toMatchObject({ passed: true, reason: "register gives wrong numbers here, and is not used" });
    expect(chosen.name).toMatch(/^tile of .*register wrong/);
    const failed = new Set(results.filter(({ passed }) => !passed).map(({ kernel }) => kernel));
    expect(failed).toEqual(new Set(["gemm"]));
  });

  it("does not reach the picture", async () => {
    const REQUEST: GenerateRequest = { prompt: "a red cat", height: 32, width: 32, numInferenceSteps: 2, seed: 5 };
    const picture = async (gpu: GPU): Promise<Uint8ClampedArray> => {
      const pipeline = LocalPipeline.of(await loadGolden(`${PIXART}/pipeline`, "f32", { gpu, limits: "default" }));
      try {
        return (await pipeline.generate(REQUEST)).images[0]!.data;
      } finally {
        await pipeline.dispose();
      }
    };
    const right = await picture(dawn());
    const all = await picture(faultyGpu(...Object.values(FAULTS)).gpu);
    expect(largestDifference(all, right)).toBeLessThanOrEqual(1); // sums in another order
  });
});
