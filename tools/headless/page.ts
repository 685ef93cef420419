/** The page behind `scanvas generate` and `scanvas trace`: the public API, as any site would use it, with tensors as base64 to cross to Node. */
import {
  load,
  type GenerateRequest,
  type LoadOptions,
  type NamedTensor,
  type Pipeline,
  type Progress,
} from "../../src/index.ts";

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

  memory: () => pipeline!.gpuMemory(),

  async embed(prompts: string[]) {
    return toBase64(await pipeline!.embed(prompts, { onProgress: window.onScanvasProgress }));
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
