/** What the engine's worker asks of WebGPU, counted between two questions. */
export interface Counts {
  dispatches: number;
  submits: number;
  pipelines: number;
  shaders: number;
  buffers: number;
  /** Bytes given to writeBuffer. */
  uploaded: number;
  /** Seconds from a submit (or the end of the one before it) until it was done. */
  longestSubmit: number;
}

export const CHANNEL = "scanvas-bench";

export const noCounts = (): Counts => ({
  dispatches: 0,
  submits: 0,
  pipelines: 0,
  shaders: 0,
  buffers: 0,
  uploaded: 0,
  longestSubmit: 0,
});
