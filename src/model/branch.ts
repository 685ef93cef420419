import type { Recording } from "../gpu/recording.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { gemm } from "../kernels/gemm.ts";
import { layerNorm } from "../kernels/layer_norm.ts";
import { rowsOf, type Band } from "./bands.ts";

/** One branch f of a block, y = x + gate * f(LN(x) * (1 + scale) + shift), in bands of rows. */
export interface Branch {
  /** What f reads: [rows, D], a tensor of its own unless there is one for it. */
  input(band: Band, into?: Tensor): Tensor;
  /** f's last product h w^T + bias, with the gate, added to x: rows of y. h: [rows, depth]. */
  output(band: Band, h: Tensor, weight: Tensor, bias: Tensor): void;
}

/** Where the vectors of one block are: shift at `offset`, then scale, then gate, each [D], and `stride` from one batch element to the next. */
export interface Modulation {
  readonly tensor: Tensor;
  readonly offset: number;
  readonly stride: number;
}

/** x, y: [B, T, D]. */
export function modulatedBranch(
  rec: Recording,
  { x, y, eps, modulation }: { x: Tensor; y: Tensor; eps: number; modulation: Modulation },
): Branch {
  const [, tokens, width] = x.shape as [number, number, number];
  const { tensor, stride } = modulation;
  const vector = (n: number, { element }: Band): number => modulation.offset + n * width + element * stride;
  return {
    input(band, normed = rec.activation("normed", [band.rows, width])) {
      layerNorm(rec, rowsOf(x, band), normed, {
        eps,
        modulation: {
          tensor,
          shiftOffset: vector(0, band),
          scaleOffset: vector(1, band),
          stride,
          rowsPerBatch: tokens,
        },
      });
      return normed;
    },
    output(band, h, weight, bias) {
      gemm(rec, h, weight, rowsOf(y, band), {
        bias,
        gate: { tensor, offset: vector(2, band), stride, rowsPerBatch: tokens },
        residual: rowsOf(x, band),
      });
    },
  };
}
