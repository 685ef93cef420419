import type { GeneratedImage, Progress } from "../index.ts";
import { styleSheet } from "./style.ts";
import { texts } from "./texts.ts";

/** The shadow tree. Text reaches it as text only: there is no markup in strings, so nothing for a policy or an attacker. */
export class View {
  readonly #frame = part("div", "frame");
  readonly #poster = slot("poster");
  readonly #canvas = part("canvas", "image");
  readonly #panel = part("div", "panel");
  readonly #progress = part("div", "progress");
  readonly #bar = part("progress", "bar");
  readonly #status = part("span", "status");
  readonly #message = part("p", "message");
  readonly #button = part("button", "button");
  readonly #live = document.createElement("span");
  #action = (): void => undefined;

  constructor(root: ShadowRoot) {
    root.adoptedStyleSheets = [styleSheet()];
    this.#canvas.setAttribute("role", "img");
    this.#bar.setAttribute("aria-label", texts.stages.denoise);
    this.#status.setAttribute("aria-hidden", "true"); // it changes with every step; #live tells the stages
    this.#live.className = "live";
    this.#live.setAttribute("aria-live", "polite");
    this.#button.type = "button";
    this.#button.addEventListener("click", () => this.#action());
    const progress = slot("progress");
    progress.append(this.#bar, this.#status);
    this.#progress.append(progress);
    this.#panel.append(this.#progress, this.#message, this.#button);
    this.#frame.append(this.#poster, this.#canvas, this.#panel);
    root.append(this.#frame, this.#live);
    this.#canvas.hidden = true;
    this.rest();
  }

  /** What the picture shows, in words. */
  set label(text: string) {
    this.#canvas.setAttribute("aria-label", text);
  }

  /** The shape of the picture to come, pixels; 0 leaves it to the poster. */
  reserve(width: number, height: number): void {
    this.#frame.style.aspectRatio = width > 0 && height > 0 ? `${width} / ${height}` : "";
  }

  /** Nothing to tell. */
  rest(): void {
    this.#panel.toggleAttribute("data-empty", true);
    for (const element of [this.#progress, this.#message, this.#button]) element.hidden = true;
  }

  /** A message, an error or none, and a button. */
  offer(label: string, action: () => void, message = "", isError = false): void {
    this.rest();
    this.#message.hidden = message === "";
    this.#message.textContent = message;
    this.#message.toggleAttribute("data-error", isError);
    if (message) this.#say(message);
    this.#setButton(label, action);
  }

  /** Work in progress, before the first report with a bar that says no more than that. */
  work(progress: Progress | undefined, stop: () => void): void {
    if (this.#progress.hidden) {
      this.rest();
      this.#progress.hidden = false;
      this.#setButton(texts.stop, stop);
      this.#bar.removeAttribute("value");
      this.#status.textContent = "";
    }
    if (!progress) return;
    this.#bar.max = Math.max(progress.total, 1);
    this.#bar.value = progress.step;
    this.#bar.setAttribute("aria-label", texts.stages[progress.stage]);
    this.#status.textContent = texts.progress(progress);
    this.#say(texts.stages[progress.stage]);
  }

  show(image: GeneratedImage): void {
    this.#canvas.width = image.width;
    this.#canvas.height = image.height;
    this.#canvas.getContext("2d")!.putImageData(image.toImageData(), 0, 0);
    this.#canvas.hidden = false;
    this.#poster.hidden = true;
    this.reserve(image.width, image.height);
    this.rest();
    this.#say(texts.done);
  }

  /** Back to the poster. */
  clear(): void {
    this.#canvas.hidden = true;
    this.#poster.hidden = false;
    this.rest();
  }

  #setButton(label: string, action: () => void): void {
    this.#panel.removeAttribute("data-empty");
    this.#button.hidden = false;
    this.#button.textContent = label;
    this.#action = action;
  }

  #say(text: string): void {
    if (this.#live.textContent !== text) this.#live.textContent = text;
  }
}

function part<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, name: string): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  element.setAttribute("part", name);
  return element;
}

function slot(name: string): HTMLSlotElement {
  const element = document.createElement("slot");
  element.name = name;
  return element;
}
