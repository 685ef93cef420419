import type { DeviceProfile } from "../gpu/recording.ts";
import { BINDING_ALIGNMENT, elementCount, viewTensor, type Tensor } from "../gpu/tensor.ts";
import { MAX_GROUPS } from "../kernels/gated_norm.ts";
import type { DenoiserConfig } from "./config.ts";

export interface TokenGrid {
  readonly batch: number;
  readonly height: number; // tokens
  readonly width: number;
}

/** Rows of [B, T, ..] that are computed together: all of them, or some of one batch element. */
export interface Band {
  readonly first: number; // of B * T
  readonly rows: number;
  readonly element: number; // the batch element of row `first`
}

/** Heads, of the attention or of the scan, that are computed together. */
export interface HeadGroup {
  readonly first: number;
  readonly count: number;
}

/**
 * The parts in which a block makes its wide activations. What has the width D of the residual stream is kept whole, though it may be more
 * than one binding can show; what is wider (the feed-forward's 4D, the scan's E and 2E) exists for a band of rows or a group of
 * heads at a time, once all of it would be larger than the profile's `activationBytes`. Small pictures have one part of everything: as few
 * dispatches as there can be.
 */
export interface DenoiserPlan {
  /** Of the residual stream, cut by what can be bound alone. */
  readonly residual: readonly Band[];
  /** Of products from D to at most 3D: cut by their time alone. */
  readonly projections: readonly Band[];
  readonly feedForward: readonly Band[];
  readonly attention: AttentionPlan;
  readonly scan: ScanPlan;
}

/**
 * Every query sees every key, so keys and values go by heads; queries and results by rows. Cut by what can be bound alone, and only
 * for one batch element, which is what a session falls back to where two cannot be bound.
 */
export interface AttentionPlan {
  readonly groups: readonly HeadGroup[];
  readonly bands: readonly Band[];
}

/** The scan itself runs over all rows, so it goes by heads; the norm after it is over all heads, so from there on it goes by rows. */
export interface ScanPlan {
  readonly groups: readonly HeadGroup[];
  readonly bands: readonly Band[];
}

export function planDenoiser(
  config: Pick<DenoiserConfig, "width" | "heads" | "headDim" | "mamba">,
  grid: TokenGrid,
  profile: DeviceProfile,
): DenoiserPlan {
  const { width, mamba } = config;
  const { inner, heads, headDim } = mamba;
  const rows = grid.batch * grid.height * grid.width;
  const directions = mamba.bidirectional ? 2 : 1;
  const mixed = directions === 2 && mamba.fusion === "concat" ? 2 * inner : inner;
  const bindable = profile.limits.maxStorageBufferBindingSize;
  const bytes = Math.min(profile.activationBytes, bindable);
  const size = profile.f16 ? 2 : 4; // bytes of an element of `Recording.activation`
  const headBytes = size * directions * rows * headDim; // of one scan head
  /** For an activation of `columns` that a product makes from D or brings back to it. */
  const bands = (columns: number): Band[] =>
    rowBands(grid, width, Math.min(bytes / (size * columns), profile.dispatchFlops / (2 * columns * width)));
  return {
    residual: rowBands(grid, 1, bindable / (4 * width)), // 1: its bands are those of every product of it, however narrow
    projections: rowBands(
      grid,
      width,
      Math.min(bindable / (4 * width), profile.dispatchFlops / (2 * 3 * width * width)),
    ),
    feedForward: bands(4 * width),
    attention:
      grid.batch === 1
        ? {
            groups: attentionGroups(config, bindable / (size * rows * config.headDim)),
            bands: rowBands(grid, width, bindable / (size * width)),
          }
        : { groups: [{ first: 0, count: config.heads }], bands: [{ first: 0, rows, element: 0 }] },
    scan: {
      // A group's rows of the input projection are a view of it; f16 rows have the shortest stride that must land on a boundary.
      groups:
        (headDim * width * 2) % BINDING_ALIGNMENT
          ? [{ first: 0, count: heads }]
          : headGroups(heads, bytes / headBytes, bindable / headBytes),
      bands: bands(mixed),
    },
  };
}

/** Rows of a matrix tile (gemm_tile), and whole binding boundaries at any width. */
const BAND_STEP = 128;

/**
 * Equal bands of about `most` rows at most. Views of [B, T, D] begin where bands do: batch elements that do not begin at a binding boundary
 * stay in one band.
 */
function rowBands({ batch, height, width: columns }: TokenGrid, width: number, most: number): Band[] {
  const tokens = height * columns;
  if (batch * tokens <= most || (batch > 1 && (4 * tokens * width) % BINDING_ALIGNMENT !== 0)) {
    return [{ first: 0, rows: batch * tokens, element: 0 }];
  }
  const steps = Math.ceil(tokens / BAND_STEP);
  const count = Math.ceil(steps / Math.max(1, Math.floor(most / BAND_STEP)));
  const size = Math.ceil(steps / count) * BAND_STEP;
  const bands: Band[] = [];
  for (let element = 0; element < batch; element++) {
    for (let row = 0; row < tokens; row += size) {
      bands.push({ first: element * tokens + row, rows: Math.min(size, tokens - row), element });
    }
  }
  return bands;
}

/**
 * Equal groups of at most `most` heads, or as many groups as the norm after the scan can read; the last of those only where `bindable` heads
 * demand it, for the 36 heads of the paper make four groups of one size, which takes less memory than five of two sizes.
 */
function headGroups(heads: number, most: number, bindable: number): HeadGroup[] {
  const count = (size: number): number => Math.ceil(heads / Math.max(1, Math.floor(size)));
  const groups = Math.min(MAX_GROUPS, Math.max(count(bindable), Math.min(MAX_GROUPS - 1, count(most))));
  const size = Math.ceil(heads / groups);
  return Array.from({ length: Math.ceil(heads / size) }, (_, i) => ({
    first: i * size,
    count: Math.min(size, heads - i * size),
  }));
}

/** Groups of at most `most` heads whose rows of the product's weight (f16 at least) and bias (f32) begin at binding boundaries. */
function attentionGroups(
  { width, heads, headDim }: Pick<DenoiserConfig, "width" | "heads" | "headDim">,
  most: number,
): HeadGroup[] {
  let step = 1;
  while ([4, 2 * width].some((bytes) => (step * headDim * bytes) % BINDING_ALIGNMENT)) step++;
  if (heads <= most || step > most) return [{ first: 0, count: heads }];
  const size = Math.floor(most / step) * step;
  return Array.from({ length: Math.ceil(heads / size) }, (_, i) => ({
    first: i * size,
    count: Math.min(size, heads - i * size),
  }));
}

/** The rows of `band` of a tensor [B, T, columns]. */
export function rowsOf(tensor: Tensor, { first, rows }: Band): Tensor {
  const columns = tensor.shape.at(-1)!;
  if (rows * columns === elementCount(tensor.shape)) return tensor;
  return viewTensor(tensor, tensor.label, [rows, columns], first * columns);
}
