/** The page of the element's tests: the element defined, and a diary of its events. */
import "../../src/element/define.ts";
import { ScanvasImage, type AbortDetail, type ErrorDetail, type GeneratedDetail } from "../../src/element/index.ts";
import { load, type Progress } from "../../src/index.ts";

declare global {
  interface Window {
    harness: typeof harness;
  }
}

/** One event as the document saw it, in plain data. */
export interface Entry {
  id: string;
  type: string;
  detail: Record<string, unknown>;
  composed: boolean;
}

const diary: Entry[] = [];
const plain: Record<string, (detail: never) => Record<string, unknown>> = {
  progress: (detail: Progress) => ({ ...detail }),
  step: (detail: Record<string, unknown>) => detail,
  generated: ({ seed, image, file, truncated, timings }: GeneratedDetail) => ({
    seed,
    truncated,
    timings: Object.keys(timings),
    width: image.width,
    height: image.height,
    file: [file.name, file.type, file.size > 100],
  }),
  error: ({ error: { name, message } }: ErrorDetail) => ({ name, message }),
  abort: (detail: AbortDetail) => ({ ...detail }),
};
for (const [type, read] of Object.entries(plain)) {
  document.addEventListener(type, (event) => {
    if (!(event instanceof CustomEvent) || !(event.target instanceof ScanvasImage)) return;
    diary.push({ id: event.target.id, type, detail: read(event.detail as never), composed: event.composed });
  });
}

const harness = {
  ScanvasImage,
  violations: [] as string[],

  diary: (id?: string) => diary.filter((entry) => id === undefined || entry.id === id),

  /** A new element in the document, in `parent` if given. */
  add(id: string, attributes: Record<string, string>, parent = "stage"): void {
    const element = document.createElement("scanvas-image");
    element.id = id;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    document.getElementById(parent)!.append(element);
  },

  /** Settles when `id` was told `type` more than `before` times. */
  async until(id: string, type: string, before = 0): Promise<Entry> {
    for (;;) {
      const entries = diary.filter((entry) => entry.id === id && entry.type === type);
      if (entries.length > before) return entries.at(-1)!;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  },

  element: (id: string) => document.getElementById(id) as ScanvasImage,

  part: (id: string, name: string) =>
    document.getElementById(id)!.shadowRoot!.querySelector<HTMLElement>(`[part="${name}"]`)!,

  /** The pixels of the canvas. */
  pixels(id: string): number[] {
    const canvas = harness.part(id, "image") as HTMLCanvasElement;
    return [...canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height).data];
  },

  /** A prompt pack, as `scanvas embed` writes it. */
  async embed(model: string, prompts: string[]): Promise<number[]> {
    const pipeline = await load(model);
    const pack = await pipeline.embed(prompts);
    await pipeline.dispose();
    return [...pack];
  },

  async ending(work: Promise<unknown>): Promise<string> {
    return work.then(
      () => "fulfilled",
      (error: unknown) => (error instanceof Error ? `${error.name}: ${error.message}` : String(error)),
    );
  },
};

document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
  harness.violations.push(`${violatedDirective} ${blockedURI}`),
);
window.harness = harness;
