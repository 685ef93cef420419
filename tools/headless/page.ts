/** The page behind `scanvas generate` and `scanvas trace`: the public API, as any site would use it, with tensors as base64 to cross to Node. */
import {
  load,
  plan,
  selfCheck,
  type GenerateRequest,
  type LoadOptions,
  type NamedTensor,
  type Pipeline,
  type Plan,
  type PlanOptions,
  type Progress,
} from "../../src/index.ts";

import { diagnose, type Diagnosis } from "../../src/page/diagnosis.ts";

export interface WireTensor {
  dtype: "F32" | "I64";
  shape: number[];
  base64: string;
}

export type PageLoadOptions = Omit<LoadOptions, "signal" | "onProgress" | "createWorker">;

declare global {
  interface Window {
    headless: typeof headless;
    /** Given by Playwright. */
    onScanvasProgress: (progress: Progress) => void;
  }
}

let pipeline: Pipeline | undefined;

const headless = {
  async load(url: string, options: PageLoadOptions) {
    pipeline = await load(url, { ...options, onProgress: window.onScanvasProgress });
    return pipeline.info;
  },

  async generate(request: GenerateRequest) {
    const { images, trace, ...rest } = await pipeline!.generate(request, { onProgress: window.onScanvasProgress });
    const pngs = [];
    for (const image of images) pngs.push(toBase64(new Uint8Array(await (await image.toBlob()).arrayBuffer())));
    return { ...rest, pngs, trace: trace && mapValues(trace, toWire) };
  },

  diagnose: (): Promise<Diagnosis> => diagnose(() => selfCheck()),

  dispose: () => pipeline?.dispose(),

  memory: () => pipeline!.gpuMemory(),

  async embed(prompts: string[]) {
    return toBase64(await pipeline!.embed(prompts, { onProgress: window.onScanvasProgress }));
  },

  plan: (url: string, request: Omit<PlanOptions, "signal" | "createWorker">): Promise<Plan> => plan(url, request),

  /** `generate` up to its first step: everything that its size needs is then allocated, and stays so. */
  async reserve(request: GenerateRequest): Promise<void> {
    const controller = new AbortController();
    const onProgress = ({ stage }: Progress): void => void (stage === "denoise" && controller.abort());
    await pipeline!.generate(request, { signal: controller.signal, onProgress }).catch((error: Error) => {
      if (error.name !== "AbortError") throw error;
    });
  },

  /** One forward pass through `blocks` alone, at a size in pixels, on made-up latents and text: is it finite, and how long did it take? */
  async runBlocks(height: number, width: number, blocks: number[], textTokens: number, captionChannels: number) {
    const noise = (shape: number[]): NamedTensor => {
      let seed = 1;
      const random = (): number => (seed = (seed * 48271) % 0x7fffffff) / 0x7fffffff;
      const count = shape.reduce((a, b) => a * b, 1);
      return { dtype: "F32", shape, data: Float32Array.from({ length: count }, () => 2 * random() - 1) };
    };
    const began = performance.now();
    const { eps, hidden } = await pipeline!.trace({
      latent: noise([1, 4, height / 8, width / 8]),
      embeds: noise([1, textTokens, captionChannels]),
      mask: { dtype: "F32", shape: [1, textTokens], data: new Float32Array(textTokens).fill(1) },
      t: [500],
      blocks,
    });
    const isFinite = [eps, hidden].every(({ data }) => (data as Float32Array).every(Number.isFinite));
    return { isFinite, tokens: hidden.shape[2]!, seconds: (performance.now() - began) / 1000 };
  },

  async trace(inputs: { latent: WireTensor; embeds: WireTensor; mask: WireTensor; t: number[] }) {
    const { latent, embeds, mask, t } = inputs;
    const result = await pipeline!.trace({
      latent: fromWire(latent),
      embeds: fromWire(embeds),
      mask: fromWire(mask),
      t,
    });
    return { eps: toWire(result.eps), hidden: toWire(result.hidden) };
  },
};

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 0x8000) binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(binary);
}

const toWire = ({ dtype, shape, data }: NamedTensor): WireTensor => ({
  dtype,
  shape,
  base64: toBase64(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
});

function fromWire({ dtype, shape, base64 }: WireTensor): NamedTensor {
  const { buffer } = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return { dtype, shape, data: dtype === "F32" ? new Float32Array(buffer) : new BigInt64Array(buffer) };
}

const mapValues = <A, B>(record: Record<string, A>, f: (a: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value)]));

window.headless = headless;
