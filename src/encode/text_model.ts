/** Token ids -> embeddings. How the text encoder's weights are held differs; what comes out does not. */
export interface TextModel {
  /** "resident": all weights in GPU memory. "streamed": two blocks at a time. "onnx": run by onnxruntime-web. */
  readonly kind: "resident" | "streamed" | "onnx";
  /** ids [n], real tokens only -> [n, width] f32. Throws NumericalError for NaN or Inf, AbortError. */
  encode(ids: Int32Array, signal: AbortSignal | undefined): Promise<Float32Array<ArrayBuffer>>;
  /** Frees what is not needed until the next `encode`. */
  release?(): Promise<void>;
  /** Frees what it holds; the memory that the arena counts goes with the device anyway. */
  dispose(): void | Promise<void>;
}
