import type { GenerateRequest, SamplerName } from "../index.ts";
import type { ModelSource } from "./engine.ts";
import { ScanvasEventTarget } from "./events.ts";

/** Attributes that decide what the picture is: a change of one makes a new picture. */
const PICTURE = [
  "model",
  "prompt",
  "negative-prompt",
  "steps",
  "guidance-scale",
  "seed",
  "width",
  "height",
  "sampler",
  "prompt-pack",
  "integrity",
] as const;

/** The attributes of `<scanvas-image>` as properties. Texts are "" and numbers null where there is no attribute. */
export class ScanvasAttributes extends ScanvasEventTarget {
  static readonly observedAttributes: readonly string[] = [...PICTURE, "loading", "download", "alt"];

  /** Folder of a converted model, relative to the document. */
  get model(): string {
    return this.#text("model");
  }
  set model(value: string | null) {
    this.#reflect("model", value);
  }

  /** What to draw. Nothing happens while it is empty. */
  get prompt(): string {
    return this.#text("prompt");
  }
  set prompt(value: string | null) {
    this.#reflect("prompt", value);
  }

  /** What not to draw; used when guidance is above 1. */
  get negativePrompt(): string {
    return this.#text("negative-prompt");
  }
  set negativePrompt(value: string | null) {
    this.#reflect("negative-prompt", value);
  }

  /** Sampler steps. Default: the model's own. */
  get steps(): number | null {
    return this.#number("steps");
  }
  set steps(value: number | null) {
    this.#reflect("steps", value);
  }

  /** How closely to follow the prompt; 1 is off. Default: the model's own. */
  get guidanceScale(): number | null {
    return this.#number("guidance-scale");
  }
  set guidanceScale(value: number | null) {
    this.#reflect("guidance-scale", value);
  }

  /** Same seed, same picture. Default: another one each time; the `generated` event tells it. */
  get seed(): number | null {
    return this.#number("seed");
  }
  set seed(value: number | null) {
    this.#reflect("seed", value);
  }

  /** Pixels of the picture, a multiple of 16. Default: the model's own. */
  get width(): number | null {
    return this.#number("width");
  }
  set width(value: number | null) {
    this.#reflect("width", value);
  }

  /** Pixels of the picture, a multiple of 16. Default: the model's own. */
  get height(): number | null {
    return this.#number("height");
  }
  set height(value: number | null) {
    this.#reflect("height", value);
  }

  /** `dpm_solver`, `ddim` or `euler`. Default: the model's own. */
  get sampler(): string {
    return this.#text("sampler");
  }
  set sampler(value: string | null) {
    this.#reflect("sampler", value);
  }

  /** `lazy` (default): nothing happens before the element is near the view. `eager`: at once. */
  get loading(): "lazy" | "eager" {
    return this.getAttribute("loading")?.toLowerCase() === "eager" ? "eager" : "lazy";
  }
  set loading(value: "lazy" | "eager" | null) {
    this.#reflect("loading", value);
  }

  /** `ask` (default): a button tells the size, and nothing large is fetched before it is pressed. `auto`: at once. */
  get download(): "ask" | "auto" {
    return this.getAttribute("download")?.toLowerCase() === "auto" ? "auto" : "ask";
  }
  set download(value: "ask" | "auto" | null) {
    this.#reflect("download", value);
  }

  /** File of `scanvas embed` with the prompts used here, relative to the document: no text encoder is downloaded then. */
  get promptPack(): string {
    return this.#text("prompt-pack");
  }
  set promptPack(value: string | null) {
    this.#reflect("prompt-pack", value);
  }

  /** SHA-256 of the model's manifest.json, `sha256-` and base64 or plain hex: pins every byte of the model. */
  get integrity(): string {
    return this.#text("integrity");
  }
  set integrity(value: string | null) {
    this.#reflect("integrity", value);
  }

  /** What the picture shows, for those who do not see it. Default: the prompt. */
  get alt(): string {
    return this.#text("alt");
  }
  set alt(value: string | null) {
    this.#reflect("alt", value);
  }

  /** Name of the picture in a form. */
  get name(): string {
    return this.#text("name");
  }
  set name(value: string | null) {
    this.#reflect("name", value);
  }

  /** What `generate` is asked for. Attributes that are no numbers reach it as NaN, and it says which. */
  protected get request(): GenerateRequest {
    const { prompt, negativePrompt, steps, guidanceScale, seed, width, height, sampler } = this;
    return {
      prompt,
      ...(negativePrompt !== "" && { negativePrompt }),
      ...(steps !== null && { numInferenceSteps: steps }),
      ...(guidanceScale !== null && { guidanceScale }),
      ...(seed !== null && { seed }),
      ...(width !== null && { width }),
      ...(height !== null && { height }),
      ...(sampler !== "" && { sampler: sampler as SamplerName }),
    };
  }

  protected get source(): ModelSource {
    const { integrity, promptPack } = this;
    // an address that is none stays as it is, for `load` to refuse it
    const absolute = (url: string): string => (URL.canParse(url, this.baseURI) ? new URL(url, this.baseURI).href : url);
    return {
      url: absolute(this.model),
      ...(promptPack !== "" && { promptPack: absolute(promptPack) }),
      ...(integrity !== "" && { integrity }),
    };
  }

  /** Properties that were set before the element was defined hide the accessors: they become attributes. */
  protected adoptEarlyProperties(): void {
    const accessors = Object.entries(Object.getOwnPropertyDescriptors(ScanvasAttributes.prototype));
    for (const [key, { set }] of accessors) {
      if (!set || !Object.hasOwn(this, key)) continue;
      const value: unknown = Reflect.get(this, key);
      Reflect.deleteProperty(this, key);
      Reflect.set(this, key, value);
    }
  }

  #text(name: string): string {
    return this.getAttribute(name) ?? "";
  }

  #number(name: string): number | null {
    const text = this.getAttribute(name);
    return text === null ? null : text.trim() === "" ? NaN : Number(text);
  }

  #reflect(name: string, value: string | number | null | undefined): void {
    if (value === null || value === undefined) this.removeAttribute(name);
    else this.setAttribute(name, String(value));
  }
}
