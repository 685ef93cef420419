/** Reads a pipeline directory of tests/golden as the engine does: converted by tools/convert, streamed into GPU memory. */
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadModel, type LoadOptions, type Model } from "../../src/load.ts";
import { readSafetensors } from "../../src/weights/safetensors.ts";
import type { ComponentDtype } from "../../src/weights/manifest.ts";
import { convert } from "../../tools/convert/convert.ts";
import { serveDirectory } from "../../tools/serve.ts";
import { dawn } from "../kernels/gpu.ts";

/** Converts `source`, serves it and loads it onto a device with default limits, unless `options` say otherwise. */
export async function loadGolden(
  source: Parameters<typeof convert>[0],
  dtype: ComponentDtype = "f32",
  options: Pick<LoadOptions, "gpu" | "f16" | "limits"> = { gpu: dawn(), limits: "default" },
): Promise<Model> {
  const out = await mkdtemp(join(tmpdir(), "scanvas-golden-"));
  await convert(source, out, { dtype });
  const server = await serveDirectory(out);
  try {
    return await loadModel(server.url, { store: false, ...options });
  } finally {
    await server.close();
  }
}

export interface GoldenTensor {
  shape: readonly number[];
  data: Float32Array<ArrayBuffer>;
  integers: number[] | undefined;
}

/** All tensors of a safetensors file; integers as plain numbers. */
export async function readGolden(path: string): Promise<(name: string) => GoldenTensor> {
  const file = new Uint8Array(await readFile(path));
  const { tensors } = readSafetensors(file, path);
  return (name) => {
    const info = tensors.get(name);
    if (!info) throw new Error(`${path} has no ${name}; it has ${[...tensors.keys()].join(", ")}`);
    const bytes = file.slice(info.begin, info.end).buffer;
    const integers = info.dtype === "I64" ? Array.from(new BigInt64Array(bytes), Number) : undefined;
    return { shape: info.shape, data: integers ? new Float32Array(0) : new Float32Array(bytes), integers };
  };
}

/** |y - ref| / |ref|, Frobenius norms. */
export function relativeError(y: ArrayLike<number>, ref: ArrayLike<number>): number {
  if (y.length !== ref.length) return Infinity;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < ref.length; i++) {
    difference += (y[i]! - ref[i]!) ** 2;
    norm += ref[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}
