import type { GeneratedImage, GenerateResult, Progress, ScanvasError } from "../index.ts";

/** `detail` of the `step` event. */
export interface StepDetail {
  /** Steps done, of `total`. */
  step: number;
  total: number;
}

/** `detail` of the `generated` event. */
export interface GeneratedDetail extends Pick<GenerateResult, "seed" | "truncated" | "timings"> {
  image: GeneratedImage;
  /** The picture as a PNG: the element's value in a form. */
  file: File;
}

/** `detail` of the `error` event. */
export interface ErrorDetail {
  error: ScanvasError;
}

/** `detail` of the `abort` event. */
export interface AbortDetail {
  /** `cancel()` or the stop button; an attribute or `generate()` asked for another picture; the element left the document. */
  reason: "cancelled" | "replaced" | "removed";
}

/** All of them bubble, out of shadow trees too. */
export interface ScanvasImageEventMap {
  progress: CustomEvent<Progress>;
  step: CustomEvent<StepDetail>;
  generated: CustomEvent<GeneratedDetail>;
  error: CustomEvent<ErrorDetail>;
  abort: CustomEvent<AbortDetail>;
}

/** On a server there is no HTMLElement; the module must load there all the same. */
const Base = (globalThis.HTMLElement ?? class {}) as typeof HTMLElement;

/** An HTMLElement whose events are those above: the names progress, error and abort mean something else to other elements. */
export class ScanvasEventTarget extends Base {
  override addEventListener<Type extends keyof ScanvasImageEventMap>(
    type: Type,
    listener: (event: ScanvasImageEventMap[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void {
    super.addEventListener(type, listener, options);
  }

  override removeEventListener<Type extends keyof ScanvasImageEventMap>(
    type: Type,
    listener: (event: ScanvasImageEventMap[Type]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  override removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | EventListenerOptions,
  ): void;
  override removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | EventListenerOptions,
  ): void {
    super.removeEventListener(type, listener, options);
  }

  protected send<Type extends keyof ScanvasImageEventMap>(
    type: Type,
    detail: ScanvasImageEventMap[Type]["detail"],
  ): void {
    const event = new CustomEvent(type, { detail, bubbles: true, composed: true });
    this.dispatchEvent(event);
  }
}
