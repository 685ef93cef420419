import { ScanvasError } from "../errors.ts";
import type { Recording } from "../gpu/recording.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { conv1d } from "../kernels/conv1d.ts";
import { gatedNorm } from "../kernels/gated_norm.ts";
import { gemm } from "../kernels/gemm.ts";
import { ssd } from "../kernels/ssd.ts";
import type { ScanGrid } from "../kernels/ssd_shape.ts";
import type { Weights } from "./weights.ts";

/** Sizes of a mixer, letters as in contract.md; `DenoiserConfig.mamba`. */
export interface MambaConfig {
  readonly inner: number; // E
  readonly heads: number; // M
  readonly headDim: number; // P
  readonly state: number; // N
  readonly taps: number; // K
  readonly bidirectional: boolean;
  readonly fusion: "concat" | "sum";
}

/**
 * A bidirectional Mamba-2 mixer up to its last product (contract.md 2.2). u: [B, T, D], already normalised and modulated. Returns the
 * normalised scans in token order, [B, T, 2E] forward | backward, or [B, T, E] for fusion "sum" and for one direction; the caller
 * multiplies by `mamba_fuse_out`, which the converter folded from out_proj and fuse, with its gate and residual.
 */
export function recordMambaMixer(
  rec: Recording,
  config: MambaConfig,
  weights: Weights,
  prefix: string,
  order: ScanGrid["order"],
  u: Tensor,
  { batch, height, width }: { batch: number; height: number; width: number },
): Tensor {
  const { inner, heads, headDim, state, taps, fusion } = config;
  if (heads * headDim !== inner) {
    throw new ScanvasError(
      "ModelConfigError",
      `${prefix}: ${heads} scan heads of ${headDim} do not make the inner width ${inner}`,
    );
  }
  const grid: ScanGrid = { batch, height, width, order, directions: config.bidirectional ? 2 : 1 };
  const tokens = height * width;
  const sequences = grid.directions * batch;
  const weight = (name: string, shape: readonly number[]): Tensor => weights.get(`${prefix}.mamba.${name}`, shape);

  const z = rec.temp("z", [batch, tokens, inner]);
  const xbc = rec.temp("xbc", [batch, tokens, inner + 2 * state]);
  const dt = rec.temp("dt", [batch, tokens, heads]);
  gemm(rec, u, weight("in_proj.weight", [2 * inner + 2 * state + heads, u.shape[2]!]), [z, xbc, dt]);

  const x = rec.temp("x", [sequences, tokens, inner]);
  const b = rec.temp("b", [sequences, tokens, state]);
  const c = rec.temp("c", [sequences, tokens, state]);
  const channels = inner + 2 * state;
  conv1d(
    rec,
    { xbc, weight: weight("conv1d.weight", [channels, taps]), bias: weight("conv1d.bias", [channels]), x, b, c },
    grid,
  );

  const y = rec.temp("y", [sequences, tokens, inner]);
  const perHead = { dtBias: weight("dt_bias", [heads]), aLog: weight("A_log", [heads]), skip: weight("D", [heads]) };
  ssd(rec, { x, b, c, dt, ...perHead, y }, { grid, heads, headDim, state });

  const both = grid.directions === 2 && fusion === "concat";
  const mixed = rec.temp("mixed", [batch, tokens, both ? 2 * inner : inner]);
  gatedNorm(rec, { y, z, weight: weight("norm.weight", [inner]), out: mixed }, grid, fusion);
  return mixed;
}
