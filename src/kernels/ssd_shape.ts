import { ScanvasError } from "../errors.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** The token grid and the order in which a scan walks over it (`shaders/lib/scan_order.wgsl`). */
export interface ScanGrid {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  /** "mamba_w": row by row; "mamba_h": column by column. */
  readonly order: "mamba_w" | "mamba_h";
  /** 2: each picture is two sequences, forward and backward, S = 2B with all forward ones first. */
  readonly directions: 1 | 2;
}

/** What the scan kernels work on: S causal sequences of T positions, each with M heads of P channels and a state of N x P. */
export interface SsdShape {
  readonly sequences: number;
  readonly tokens: number;
  readonly heads: number;
  /** Where these heads begin among all, which dt, dtBias, aLog and skip hold; 0 unless given. */
  readonly firstHead?: number;
  readonly headDim: number;
  readonly state: number;
  /** Q, positions a chunk. A sequence is ceil(T / Q) chunks, the last one padded with decay 1 and input 0. */
  readonly chunk: number;
}

/** Lanes are the heads of all sequences, lane = sequence * M + head: they are independent, so any range of them can run alone. */
export interface LaneRange {
  readonly first: number;
  readonly count: number;
}

export const chunksOf = ({ tokens, chunk }: SsdShape): number => Math.ceil(tokens / chunk);

export const lanesOf = ({ sequences, heads }: SsdShape): LaneRange => ({ first: 0, count: sequences * heads });

/** Bytes of f32 state that one lane keeps between its chunks. */
export const stateBytes = (shape: SsdShape): number => 4 * (chunksOf(shape) - 1) * shape.state * shape.headDim;

/** Pairs (t, s <= t) inside the chunks of one sequence: what the products within chunks have to visit. */
export function chunkPairs({ tokens, chunk }: SsdShape): number {
  const triangle = (n: number): number => (n * (n + 1)) / 2;
  return Math.floor(tokens / chunk) * triangle(chunk) + triangle(tokens % chunk);
}

/** ModelConfigError for sizes that the vec4 kernels cannot take. */
export function checkSsdShape({ headDim, state, chunk }: Pick<SsdShape, "headDim" | "state" | "chunk">): void {
  for (const [name, size] of Object.entries({ "head dim": headDim, "state size": state, "chunk length": chunk })) {
    if (size % 4 !== 0 || size < 4) {
      throw new ScanvasError("ModelConfigError", `ssd: ${name} ${size} is not a multiple of 4, which the kernels need`);
    }
  }
}

/** Operands of the scan; x, b, c, y in scan order, dt in token order. x and y have M heads, the others what belongs to all heads. */
export interface SsdTensors {
  readonly x: Tensor; // [S, T, M P]
  readonly b: Tensor; // [S, T, N]
  readonly c: Tensor; // [S, T, N]
  readonly product: Tensor; // C B^T inside the chunks, [S, chunks, Q, Q], from ssdProduct
  readonly dt: Tensor; // [B, T, all heads]
  readonly dtBias: Tensor; // [all heads]
  readonly aLog: Tensor; // [all heads]
  readonly skip: Tensor; // D [all heads]
  readonly y: Tensor; // [S, T, M P]
}
