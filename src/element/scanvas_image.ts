import { ScanvasError, type GenerateResult, type GeneratedImage, type Progress } from "../index.ts";
import { ScanvasAttributes } from "./attributes.ts";
import { Engine, type SharedLoadOptions } from "./engine.ts";
import type { AbortDetail, GeneratedDetail } from "./events.ts";
import { texts } from "./texts.ts";
import { View } from "./view.ts";
import { inView, unlessAborted } from "./wait.ts";

/** One attempt at a picture. */
interface Run {
  readonly controller: AbortController;
  /** What was asked for, so that the same is not made twice. */
  readonly key: string;
  /** What it waits for, while it waits. */
  readonly patience: string;
  /** `waiting` for the view or the visitor's consent; `working` from the moment there is something to cancel. */
  state: "waiting" | "working" | "done" | "failed" | "cancelled";
}

/** After these the engine is of no more use; the next picture loads it anew. */
const FATAL = new Set(["DeviceLostError", "WorkerCrashedError", "DisposedError"]);

/**
 * A picture made on the visitor's own device from a prompt.
 *
 *     <scanvas-image model="/models/mine/" prompt="a red star above a house" width="256" height="256"></scanvas-image>
 *
 * @element scanvas-image
 * @attr {string} model - Folder of a converted model.
 * @attr {string} prompt - What to draw.
 * @attr {string} negative-prompt - What not to draw.
 * @attr {number} steps - Sampler steps.
 * @attr {number} guidance-scale - How closely to follow the prompt; 1 is off.
 * @attr {number} seed - Same seed, same picture.
 * @attr {number} width - Pixels, a multiple of 16.
 * @attr {number} height - Pixels, a multiple of 16.
 * @attr {"dpm_solver"|"ddim"|"euler"} sampler - The update rule.
 * @attr {"lazy"|"eager"} [loading=lazy] - When to begin.
 * @attr {"ask"|"auto"} [download=ask] - Whether a large download waits for a click.
 * @attr {string} prompt-pack - File of `scanvas embed`: no text encoder is downloaded.
 * @attr {string} integrity - SHA-256 of the model's manifest.
 * @attr {string} alt - What the picture shows.
 * @attr {string} name - Name of the picture in a form.
 *
 * @fires {CustomEvent<Progress>} progress - Bytes, pipelines, prompts, steps or pictures done.
 * @fires {CustomEvent<StepDetail>} step - A sampler step is done.
 * @fires {CustomEvent<GeneratedDetail>} generated - The picture is there.
 * @fires {CustomEvent<ErrorDetail>} error - It failed; `detail.error.name` says why.
 * @fires {CustomEvent<AbortDetail>} abort - It was begun and will not be finished.
 *
 * @slot poster - Shown until there is a picture.
 * @slot progress - Instead of the progress bar.
 *
 * @csspart frame - Around everything.
 * @csspart image - The canvas.
 * @csspart panel - Around progress, message and button.
 * @csspart progress - Around bar and status.
 * @csspart bar - The progress bar.
 * @csspart status - What is going on, in words.
 * @csspart message - Size of the download, or an error.
 * @csspart button - Download, stop, try again.
 *
 * @cssprop [--scanvas-accent=#3b5bdb] - Button and bar.
 * @cssprop [--scanvas-accent-color=#fff] - Text of the button.
 * @cssprop [--scanvas-background] - Behind the picture.
 * @cssprop [--scanvas-color=inherit] - Text.
 * @cssprop [--scanvas-error] - Error messages.
 * @cssprop [--scanvas-fit=contain] - object-fit of picture and poster.
 * @cssprop [--scanvas-font] - Font of all texts.
 * @cssprop [--scanvas-panel] - Behind progress, message and button.
 * @cssprop [--scanvas-radius=0.5rem] - Rounding of the corners.
 *
 * @cssstate busy - A picture is being made.
 * @cssstate done - There is a picture.
 */
export class ScanvasImage extends ScanvasAttributes {
  static readonly formAssociated = true;

  /** For every element's `load`, to be set before the first one is in the document: `createWorker`, `arithmetic`, ... */
  static loadOptions: SharedLoadOptions = {};

  /** Every word the element shows, for translation. */
  static readonly texts = texts;

  readonly #internals: ElementInternals;
  readonly #view: View;
  #engine: { key: string; engine: Engine } | undefined;
  #run: Run | undefined;
  #scheduled = false;
  #image: GeneratedImage | undefined;
  #file: File | undefined;

  constructor() {
    super();
    this.#internals = this.attachInternals();
    this.#internals.role = "group"; // the picture itself has the role img, and beside it there may be a button
    this.#view = new View(this.attachShadow({ mode: "open" }));
  }

  /** The form it belongs to. */
  get form(): HTMLFormElement | null {
    return this.#internals.form;
  }

  /** The picture as a PNG, as a form sends it; null until there is one. */
  get value(): File | null {
    return this.#file ?? null;
  }

  /** A picture is being made. */
  get busy(): boolean {
    return this.#run?.state === "working";
  }

  connectedCallback(): void {
    this.adoptEarlyProperties();
    this.#schedule();
  }

  disconnectedCallback(): void {
    this.#end("removed");
    this.#engine?.engine.release();
    this.#engine = undefined;
  }

  attributeChangedCallback(): void {
    this.#schedule();
  }

  formResetCallback(): void {
    this.#image = this.#file = undefined;
    this.#internals.setFormValue(null);
    this.#end("cancelled");
    this.#view.clear();
    if (this.#run) this.#offerAgain("");
  }

  /**
   * Makes a picture now, whatever `loading` and `download` say: to be called when the visitor asked for it. Another one that is being
   * made is given up.
   * @throws ScanvasError; an AbortError when `cancel()`, a changed attribute or removal came first
   */
  async generate(): Promise<GeneratedDetail> {
    if (!this.isConnected || this.model === "" || this.prompt === "") {
      const lack = !this.isConnected ? "is not in a document" : `has no ${this.model === "" ? "model" : "prompt"}`;
      throw new ScanvasError(
        "InvalidArgumentError",
        `scanvas-image: the element ${lack}; give it one, then generate()`,
      );
    }
    return this.#start(true);
  }

  /** Gives up the picture that is being made; the last one stays. */
  cancel(): void {
    if (!this.busy) return;
    this.#end("cancelled");
    this.#offerAgain(texts.stopped);
  }

  /** The picture as an encoded file. @throws InvalidArgumentError while there is none */
  async toBlob(type = "image/png"): Promise<Blob> {
    if (!this.#image || !this.#file) {
      throw new ScanvasError("InvalidArgumentError", 'scanvas-image: no picture yet; wait for the "generated" event');
    }
    return type === this.#file.type ? this.#file : this.#image.toBlob(type);
  }

  /** Any number of changes in one go is one update. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.isConnected) this.#update();
    });
  }

  #update(): void {
    this.#view.label = this.#internals.ariaLabel = this.alt || this.prompt || texts.unnamed;
    const run = this.#run;
    if (run && run.key === this.#key() && (run.state !== "waiting" || run.patience === this.#patience())) return;
    this.#end("replaced");
    if (!this.#image) this.#view.reserve(this.width ?? 0, this.height ?? 0);
    this.#view.rest();
    if (this.model !== "" && this.prompt !== "") this.#begin(false);
  }

  #key(): string {
    return JSON.stringify([this.source, this.request]);
  }

  #patience(): string {
    return `${this.loading} ${this.download}`;
  }

  /** As `#start`, for callers that nobody waits for: the error event has told it all. */
  #begin(allowed: boolean): void {
    this.#start(allowed).catch(() => undefined);
  }

  async #start(allowed: boolean): Promise<GeneratedDetail> {
    this.#end("replaced");
    const controller = new AbortController();
    const run: Run = { controller, key: this.#key(), patience: this.#patience(), state: "waiting" };
    const { signal } = controller;
    this.#run = run;
    const engine = this.#acquire();
    try {
      if (allowed) engine.allow();
      else await this.#permission(engine, signal);
      this.#setState(run, "working");
      const stop = (): void => this.cancel();
      this.#view.work(undefined, stop);
      const onProgress = (progress: Progress): void => {
        if (signal.aborted) return;
        this.#view.work(progress, stop);
        this.send("progress", progress);
        if (progress.stage === "denoise" && progress.step > 0)
          this.send("step", { step: progress.step, total: progress.total });
      };
      const pipeline = await engine.load(signal, onProgress);
      const request = this.request;
      const result = await pipeline.generate(request, { signal, onProgress }).catch((error: unknown) => {
        if (error instanceof ScanvasError && FATAL.has(error.name)) void engine.forget(pipeline);
        throw error;
      });
      return await this.#finish(run, result);
    } catch (error) {
      if (!signal.aborted) this.#fail(run, error);
      throw error;
    }
  }

  /** Waits until the element is in view and its download is small, there already, or agreed to. */
  async #permission(engine: Engine, signal: AbortSignal): Promise<void> {
    if (this.loading === "lazy") await inView(this, signal);
    if (engine.isAllowed) return;
    if (this.download === "auto") return engine.allow();
    const missing = await engine.missingBytes(signal);
    if (missing === 0) return engine.allow();
    this.#view.offer(texts.download(missing), () => engine.allow());
    await unlessAborted(engine.agreement, signal);
  }

  #acquire(): Engine {
    const { source } = this;
    const key = JSON.stringify(source);
    if (this.#engine?.key !== key) {
      const before = this.#engine?.engine;
      this.#engine = { key, engine: Engine.acquire(source, ScanvasImage.loadOptions) };
      before?.release();
    }
    return this.#engine.engine;
  }

  async #finish(run: Run, result: GenerateResult): Promise<GeneratedDetail> {
    const { signal } = run.controller;
    const { seed, truncated, timings } = result;
    const image = result.images[0]!;
    const blob = await unlessAborted(image.toBlob(), signal);
    const file = new File([blob], `scanvas-${seed}.png`, { type: blob.type });
    this.#image = image;
    this.#file = file;
    this.#internals.setFormValue(file);
    this.#setState(run, "done");
    this.#view.show(image);
    const detail: GeneratedDetail = { seed, truncated, timings, image, file };
    this.send("generated", detail);
    return detail;
  }

  #fail(run: Run, cause: unknown): void {
    const error =
      cause instanceof ScanvasError
        ? cause
        : new ScanvasError("WorkerCrashedError", `scanvas-image: ${String(cause)}`, { cause });
    this.#setState(run, "failed");
    this.#view.offer(texts.retry, () => this.#begin(true), error.message, true);
    this.send("error", { error });
  }

  /** Ends the current run. What was made, stopped or reset stays so until something else is asked for; the rest is forgotten. */
  #end(reason: AbortDetail["reason"]): void {
    const run = this.#run;
    if (!run) return;
    const { state } = run;
    run.controller.abort();
    if (state !== "done" || reason === "cancelled") this.#setState(run, "cancelled");
    if (reason === "replaced" || (reason === "removed" && state !== "done" && state !== "cancelled"))
      this.#run = undefined;
    if (state === "working") this.send("abort", { reason });
  }

  #offerAgain(message: string): void {
    this.#view.offer(texts.generate, () => this.#begin(true), message);
  }

  #setState(run: Run, state: Run["state"]): void {
    run.state = state;
    const busy = state === "working";
    this.#internals.ariaBusy = String(busy);
    this.#toggle("busy", busy);
    this.#toggle("done", this.#image !== undefined);
  }

  #toggle(state: string, on: boolean): void {
    if (on) this.#internals.states.add(state);
    else this.#internals.states.delete(state);
  }
}
