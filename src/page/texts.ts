/** Every English word of the page, in one place. */
import type { ErrorName, Plan } from "../index.ts";
import type { Tier, Unsupported } from "./device.ts";
import { bytes, duration } from "./format.ts";
import type { JobProgress } from "./state.ts";

const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

export const texts = {
  name: "scanvas",

  header: {
    model: "Model: ",
    device: "Device",
    theme: { auto: "Colours: as the system", light: "Colours: light", dark: "Colours: dark" },
    offlineReady: "Ready offline",
  },

  composer: {
    prompt: "Prompt",
    placeholder: "Describe a picture",
    generate: "Generate",
    enqueue: "Add to queue",
    stop: "Stop",
    firstTime: (size: number) => `Downloads ${bytes(size)} once; kept on this device`,
    resume: (size: number) => `Downloads the remaining ${bytes(size)}`,
    keys: "Ctrl+Enter generates, Esc stops",
    advanced: "Advanced",
    examples: "Try",
    paste: "Settings were taken from the picture",
    noSettings: "This file holds no settings",
  },

  advanced: {
    negative: "Negative prompt",
    negativeOff: "Used only with guidance above 1",
    negativePlaceholder: "What should not be there",
    size: "Size",
    width: "Width",
    height: "Height",
    steps: "Steps",
    stepsHint: "More steps, finer pictures, longer wait",
    guidance: "Guidance",
    guidanceHint: "How closely the prompt is followed; 1 or less is off",
    sampler: "Sampler",
    samplers: { default: "Model's own", dpm_solver: "DPM-Solver++ 2M", ddim: "DDIM", euler: "Euler" },
    seed: "Seed",
    seedRandom: "A new one each time",
    count: "Pictures",
    precision: "Precision",
    precisions: { f32: "32 bit", f16: "16 bit, faster" },
    noF16: "16 bit needs shader-f16, which this device lacks",
    reset: "Back to the model's own settings",
  },

  plan: {
    working: "Working out the memory …",
    unknown: "The memory it needs could not be worked out",
    verdicts: {
      fits: "Fits.",
      "fits streamed": "Fits, with the text encoder read from storage for each prompt.",
      "does not fit": "Does not fit",
    } satisfies Record<Plan["verdict"], string>,
    need: (need: string) => `Needs ${need} of GPU memory.`,
    tooLarge: (need: string, memory: string, wayOut: string | undefined) =>
      `Too large: needs ${need} of GPU memory, ${memory} are assumed${wayOut ? `; ${wayOut}` : ""}.`,
  },

  progress: {
    download: ({ step, total, isLocal, rate, remaining }: JobProgress) =>
      isLocal
        ? `Loading from this device: ${bytes(step)} of ${bytes(total)}`
        : `Downloading ${bytes(step)} of ${bytes(total)}${rate ? ` · ${bytes(rate)}/s` : ""}${left(remaining)}`,
    start: "Starting",
    wait: "Waiting: another tab is using the GPU",
    compile: "Preparing the GPU",
    encode: "Reading the prompt",
    denoise: ({ step, total, remaining }: JobProgress) => `Step ${step} of ${total}${left(remaining)}`,
    decode: "Finishing the picture",
    pictureOf: (n: number, count: number) => `Picture ${n} of ${count}`,
    waiting: (count: number) => `${plural(count, "job")} waiting`,
    drop: "Remove from the queue",
    dropAll: "Clear the queue",
    spoken: { started: "Generating", stopped: "Stopped", done: "The picture is ready", failed: "That did not work" },
    title: (percent: number) => `${percent}% · scanvas`,
  },

  stage: {
    label: "Picture",
    welcome: "What should it show?",
    privacy: "Everything happens on this device. Nothing you type leaves it.",
    stopped: ({ step, total }: { step: number; total: number }) => `Stopped after step ${step} of ${total}`,
    stoppedEarly: "Stopped",
    paused: "The download is paused; what is here is kept.",
    previewOf: (prompt: string) => `Preview: ${prompt}`,
    retry: "Try again",
    follow: "Back to the work in progress",
  },

  picture: {
    use: "Use settings",
    again: "New seed",
    download: "Download",
    view: "View large",
    compare: "Compare with another",
    nothingToCompare: "Make another picture to compare it with",
    copy: "Copy",
    copied: "Picture copied",
    copyFailed: "The browser did not let the picture be copied",
    share: "Share link",
    shared: "Link with these settings copied; the picture itself is not in it",
    delete: "Delete",
    deleted: "Picture deleted",
    undo: "Undo",
    facts: (width: number, height: number, steps: number, guidance: number, seed: number | undefined, time: number) =>
      `${width} × ${height} · ${plural(steps, "step")} · guidance ${guidance} · seed ${seed ?? "?"} · ${duration(time)}`,
  },

  viewer: {
    label: "Picture, large",
    keys: "Plus and minus zoom, arrows move, 0 fits, 1 shows each pixel as one",
    previous: "Newer picture",
    next: "Older picture",
    larger: "Larger",
    smaller: "Smaller",
    fit: "Fit",
    actual: "1:1",
    fullScreen: "Full screen",
    percent: (percent: number) => `${Math.round(percent)}%`,
  },

  comparison: {
    slider: "Border between the two pictures",
    share: (percent: number) => `${Math.round(percent)}% of the left picture`,
    hint: "Choose another picture in the gallery to compare with.",
    end: "End comparison",
  },

  gallery: {
    title: "Gallery",
    empty: "Your pictures will be kept here, in this browser only.",
    count: (count: number) => plural(count, "picture"),
    exportAll: "Export all",
    deleteAll: "Delete all",
    confirmDelete: (count: number) => `Delete ${plural(count, "picture")}? This cannot be undone.`,
    open: (prompt: string) => `Show: ${prompt}`,
    archive: "scanvas-pictures.zip",
  },

  models: {
    title: "Models and storage",
    chosen: "In use",
    choose: "Use this model",
    download: (size: number) => `Download ${bytes(size)}`,
    resume: (size: number) => `Resume, ${bytes(size)} left`,
    pause: "Pause",
    remove: "Remove from this device",
    ready: "Ready offline",
    partial: (present: number, total: number) => `${bytes(present)} of ${bytes(total)} here`,
    notHere: (size: number) => `${bytes(size)} to download`,
    facts: (side: number, licence: string) => `${side} px · licence ${licence}`,
    memory: (width: number, height: number) => `${width} × ${height} on this device`,
    storage: "Storage",
    usage: (usage: number, quota: number) => `${bytes(usage)} used of ${bytes(quota)} that the browser allows`,
    persisted: "The browser will not clear it by itself.",
    notPersisted: "The browser may clear it when the disk is full.",
    persist: "Ask the browser to keep it",
    persistRefused: "The browser did not agree; it usually does for pages that are installed or often used.",
    pictures: (count: number, size: number) => `${plural(count, "picture")}, ${bytes(size)}`,
  },

  device: {
    title: "This device",
    adapter: "Adapter",
    buffers: "Buffers",
    bufferSizes: (buffer: number, binding: number) => `up to ${bytes(buffer)}, ${bytes(binding)} in one binding`,
    f16: "16 bit",
    yes: "yes",
    no: "no",
    everything: "All features and limits",
    tier: "Speed",
    tiers: {
      software: "Software: a CPU stands in for the GPU",
      basic: "Basic GPU",
      full: "Full: large buffers and 16-bit arithmetic",
    } satisfies Record<Tier, string>,
    slow: {
      software:
        "There is no GPU, or the browser does not use it: pictures take a minute rather than a moment. Turn on hardware acceleration in the browser's settings.",
      noF16: "No shader-f16: matrices are multiplied in 32 bit, up to twice as slow.",
      smallBinding: "Small buffers: large pictures are decoded in bands, a little slower.",
      none: "Nothing here slows it down.",
    },
    copy: "Copy report",
    copied: "Report copied",
    check: "Check the kernels",
    checking: (done: number, total: number) => `Checking ${done} of ${total}`,
    checkHint: "Runs each GPU kernel on this device and compares it with plain arithmetic.",
    passed: (count: number) => `All ${count} checks passed`,
    ofKernel: (count: number) => plural(count, "check"),
    failed: (count: number, total: number) => `${count} of ${total} checks failed`,
    stop: "Stop",
  },

  errors: {
    titles: {
      WebGPUUnavailableError: "WebGPU is not available",
      LimitError: "This size is too large for this device",
      OutOfMemoryError: "The GPU has no room left",
      DeviceLostError: "The GPU went away",
      NetworkError: "The download failed",
      TruncatedError: "The download ended early",
      IntegrityError: "The download is damaged",
      NumericalError: "The numbers went wrong",
      WorkerCrashedError: "The engine stopped",
      TakenOverError: "Another tab took the GPU",
    } as Partial<Record<ErrorName, string>>,
    other: "That did not work",
    todo: {
      WebGPUUnavailableError: "Use a current browser with hardware acceleration turned on.",
      LimitError: "Choose a smaller size.",
      OutOfMemoryError: "Close other tabs that use the GPU, or choose a smaller size.",
      DeviceLostError:
        "Wait a minute, then try again. If it happens again, choose a smaller size or update the graphics driver.",
      NetworkError: "Check the connection, then try again: what came is kept.",
      TruncatedError: "Try again: what came is kept.",
      IntegrityError: "The file at its host is not the one that was published; only its host can mend that.",
      NumericalError: "Choose another precision under Advanced. The device panel has a self-check of this GPU.",
      WorkerCrashedError: "Try again: the engine starts anew.",
      TakenOverError: "Try again to take it back.",
    } as Partial<Record<ErrorName, string>>,
    noModels: "The list of models could not be loaded",
  },

  unsupported: {
    title: "scanvas cannot run here yet",
    reasons: {
      insecure: {
        what: "This page was not loaded over a secure connection.",
        todo: ["Open it over https, or from localhost.", "Browsers offer WebGPU to secure pages only."],
      },
      "no-webgpu": {
        what: "This browser has no WebGPU.",
        todo: [
          "Use a current Chrome, Edge, Safari (26 or later) or Firefox (141 or later on Windows).",
          "On iPhone and iPad, update to iOS 26 or later.",
          "If the browser is current, turn on hardware acceleration in its settings and restart it.",
        ],
      },
      "no-adapter": {
        what: "WebGPU is there, but it finds no usable GPU.",
        todo: [
          "Turn on hardware acceleration in the browser's settings and restart it.",
          "Update the graphics driver.",
          "On Linux with Chrome, start it with --enable-unsafe-webgpu --enable-features=Vulkan.",
        ],
      },
    } satisfies Record<Unsupported, { what: string; todo: string[] }>,
    retry: "Check again",
  },

  common: { close: "Close", cancel: "Cancel" },
};

function left(remaining: number | undefined): string {
  return remaining === undefined || remaining <= 0 ? "" : ` · ${duration(remaining)} left`;
}
