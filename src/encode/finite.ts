import { ScanvasError } from "../errors.ts";

/** Embeddings as they are. NumericalError when one of them is NaN or Inf. */
export function finite(embeds: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  if (embeds.every(Number.isFinite)) return embeds;
  throw new ScanvasError(
    "NumericalError",
    "scanvas: the text encoder produced NaN or Inf; its weights are damaged, load the model again",
  );
}
