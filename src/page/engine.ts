/** The one pipeline of the page: loaded when first needed, again when model or precision change, or when it died. */
import { load, ScanvasError, type GenerateResult, type Pipeline, type Progress } from "../index.ts";
import type { ModelCard } from "./model_card.ts";
import { toRequest, type Precision, type Settings } from "./settings.ts";

export interface Run {
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

const FATAL: readonly string[] = ["DeviceLostError", "WorkerCrashedError", "DisposedError", "OutOfMemoryError"];

export class Engine {
  #loaded: { key: string; pipeline: Pipeline } | undefined;

  /** `folder` holds models.json. */
  constructor(private readonly folder: URL) {}

  urlOf(card: ModelCard): string {
    return new URL(card.url, this.folder).href;
  }

  async prepare(card: ModelCard, precision: Precision, run: Run): Promise<Pipeline> {
    const key = `${card.id} ${precision}`;
    if (this.#loaded?.key === key) return this.#loaded.pipeline;
    await this.release();
    const pipeline = await load(this.urlOf(card), { arithmetic: precision, ...run });
    this.#loaded = { key, pipeline };
    return pipeline;
  }

  /** One picture. */
  async generate(card: ModelCard, settings: Settings, seed: number, run: Run): Promise<GenerateResult> {
    const pipeline = await this.prepare(card, settings.precision, run);
    try {
      return await pipeline.generate({ ...toRequest(settings, seed), preview: true }, run);
    } catch (error) {
      if (error instanceof ScanvasError && FATAL.includes(error.name)) await this.release();
      throw error;
    }
  }

  async release(): Promise<void> {
    const { pipeline } = this.#loaded ?? {};
    this.#loaded = undefined;
    await pipeline?.dispose();
  }
}
