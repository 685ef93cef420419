import { ScanvasError } from "../errors.ts";
import { rowWords, type QuantType } from "../numbers/quant.ts";

/**
 * Element types in GPU memory. f16 is stored two to a 32-bit word, so it needs no `shader-f16` feature to be read. q8 and q4 are matrices in
 * blocks of 32 along their last axis (numbers/quant.ts). Only weights are f16, q8 or q4.
 */
export type TensorType = "f32" | "f16" | "q8" | "q4" | "u32";
export type WeightType = Exclude<TensorType, "u32">;

/**
 * A named, shaped piece of GPU memory, slowest axis first. It is data only: recordings refer to tensors, the arena plans
 * their bytes, and `buffer` is filled in when memory is given out. A view has `base` set and shares its memory.
 */
export interface Tensor {
  readonly label: string;
  readonly shape: readonly number[];
  readonly type: TensorType;
  /** Bytes in memory, rounded up to 16 so that vec4 reads of the last row stay inside. */
  readonly bytes: number;
  /** The tensor whose memory this view shares. */
  readonly base: Tensor | undefined;
  /** Bytes from the start of `base`. */
  readonly offset: number;
  /** Set by the arena; undefined while only planned. */
  buffer: GPUBuffer | undefined;
}

/** Storage binding offsets are multiples of this by WebGPU's default limits. */
export const BINDING_ALIGNMENT = 256;

export const elementCount = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

const isQuantised = (type: TensorType): type is QuantType => type === "q8" || type === "q4";

/** Bytes that the elements take. @throws TensorError for a quantised type whose last axis is not a multiple of 32 */
export function dataBytes(shape: readonly number[], type: TensorType): number {
  if (!isQuantised(type)) return elementCount(shape) * (type === "f16" ? 2 : 4);
  const depth = shape.at(-1)!;
  return 4 * rowWords(depth, type) * (elementCount(shape) / depth);
}

/** `dataBytes`, rounded up to 16 as `Tensor.bytes` is. */
export const bytesOf = (shape: readonly number[], type: TensorType): number =>
  Math.max(16, Math.ceil(dataBytes(shape, type) / 16) * 16);

/** Bytes of the first `count` elements of a tensor: whole rows when it is quantised. */
export function bytesBefore({ label, shape, type }: Tensor, count: number): number {
  if (!isQuantised(type)) return dataBytes([count], type);
  const depth = shape.at(-1)!;
  if (count % depth !== 0) {
    throw new ScanvasError(
      "TensorError",
      `${label} is ${type}: got ${count} elements, expected whole rows of ${depth}`,
    );
  }
  return dataBytes([count / depth, depth], type);
}

export function makeTensor(label: string, shape: readonly number[], type: TensorType = "f32"): Tensor {
  if (shape.some((d) => !Number.isSafeInteger(d) || d < 1)) {
    throw new ScanvasError("TensorError", `tensor ${label}: shape [${shape}] must be positive integers`);
  }
  return { label, shape, type, bytes: bytesOf(shape, type), base: undefined, offset: 0, buffer: undefined };
}

/**
 * Part of `base` under another shape. `offset` counts elements and must land on a binding boundary (256 bytes). Of a quantised tensor it is
 * whole rows.
 */
export function viewTensor(base: Tensor, label: string, shape: readonly number[], offset = 0): Tensor {
  if (isQuantised(base.type) && shape.at(-1) !== base.shape.at(-1)) {
    throw new ScanvasError(
      "TensorError",
      `view ${label} [${shape}] of ${base.label} [${base.shape}]: ${base.type} is viewed by whole rows only`,
    );
  }
  const start = base.offset + bytesBefore(base, offset);
  if (start % BINDING_ALIGNMENT !== 0) {
    throw new ScanvasError(
      "TensorError",
      `view ${label} of ${base.label}: starts at byte ${start}, not a multiple of 256`,
    );
  }
  if (elementCount(shape) + offset > elementCount(base.shape)) {
    throw new ScanvasError(
      "TensorError",
      `view ${label} [${shape}] + ${offset} is larger than ${base.label} [${base.shape}]`,
    );
  }
  const root = base.base ?? base;
  return {
    label,
    shape,
    type: base.type,
    bytes: Math.min(bytesOf(shape, base.type), root.bytes - start),
    base: root,
    offset: start,
    get buffer() {
      return root.buffer;
    },
    set buffer(_) {
      throw new Error("a view has no memory of its own");
    },
  };
}

/** Checks operands once, where a kernel is recorded: `{ name: [tensor, expected shape] }`. */
export function expectShapes(who: string, operands: Record<string, [Tensor | undefined, readonly number[]]>): void {
  for (const [name, [tensor, shape]] of Object.entries(operands)) {
    if (tensor && (tensor.shape.length !== shape.length || tensor.shape.some((d, i) => d !== shape[i]))) {
      throw new ScanvasError(
        "TensorError",
        `${who}: ${name} (${tensor.label}) has shape [${tensor.shape}], expected [${shape}]`,
      );
    }
  }
}
