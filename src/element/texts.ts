import type { Progress } from "../index.ts";

const megabytes = (bytes: number): string =>
  bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;

/** Every word the element shows. A page in another language assigns its own: `Object.assign(ScanvasImage.texts, { stop: "Halt" })`. */
export const texts = {
  download: (bytes: number): string => `Download ${megabytes(bytes)} and generate`,
  generate: "Generate",
  stop: "Stop",
  retry: "Try again",
  unnamed: "Generated picture",
  /** Said to screen readers, once a stage. */
  stages: {
    wait: "Waiting for another tab",
    download: "Downloading the model",
    compile: "Preparing the GPU",
    encode: "Reading the prompt",
    denoise: "Drawing",
    decode: "Finishing the picture",
  } satisfies Record<Progress["stage"], string>,
  /** Shown, and renewed with every report. */
  progress: ({ stage, step, total }: Progress): string => {
    if (stage === "download") return `${texts.stages.download}: ${megabytes(step)} of ${megabytes(total)}`;
    return stage === "denoise" ? `${texts.stages.denoise}: step ${step} of ${total}` : texts.stages[stage];
  },
  done: "The picture is ready",
  stopped: "Stopped",
};
