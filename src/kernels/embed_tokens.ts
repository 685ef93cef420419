import source from "../../shaders/embed_tokens.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import type { Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { BINDING_ALIGNMENT, elementCount, viewTensor, type Tensor } from "../gpu/tensor.ts";

const kernel = defineKernel("embed_tokens", source);

/**
 * y[i] = table[ids[i]]. ids u32 [tokens], each below the vocabulary (the tokenizer's promise); table [vocabulary, dim] of any weight
 * type, dim a multiple of 4; y [tokens, dim]. A table beyond the binding limit is looked up in several dispatches of `rowsPerDispatch`.
 */
export function embedTokens(
  rec: Recording,
  ids: Tensor,
  table: Tensor,
  y: Tensor,
  rowsPerDispatch = Math.floor((rec.profile.limits.maxStorageBufferBindingSize * table.shape[0]!) / table.bytes),
): void {
  const [vocabulary, dim] = table.shape as [number, number];
  const tokens = elementCount(ids.shape);
  if (dim % 4 !== 0 || ids.type !== "u32" || elementCount(y.shape) !== tokens * dim) {
    throw new ScanvasError(
      "TensorError",
      `embedTokens: ids [${ids.shape}] ${ids.type}, table [${table.shape}] and y [${y.shape}] do not fit, or dim is not 4 n`,
    );
  }
  // Parts start on a binding boundary: 256 rows always do.
  const whole = rowsPerDispatch - (rowsPerDispatch % BINDING_ALIGNMENT);
  const step = rowsPerDispatch >= vocabulary ? vocabulary : Math.max(BINDING_ALIGNMENT, whole);
  for (let first = 0; first < vocabulary; first += step) {
    const count = Math.min(step, vocabulary - first);
    const part = count === vocabulary ? table : viewTensor(table, table.label, [count, dim], first * dim);
    rec.dispatch(
      kernel,
      { ids, w: part, y },
      { grid: [Math.ceil(dim / 256), tokens], constants: { DIM4: dim / 4 }, params: { first, count } },
    );
  }
}
