/** The picture: being made, made, or chosen in the gallery. */
import type { App } from "../app.ts";
import { h, icon, rebuilder } from "../dom.ts";
import type { ScanvasError } from "../../index.ts";
import type { Picture } from "../gallery_store.ts";
import { shown, type Job } from "../state.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";
import { comparison } from "./comparison.ts";
import { pictureActions } from "./picture_actions.ts";
import { progressView } from "./progress.ts";
import { viewer, type Viewer } from "./viewer.ts";

const t = texts.stage;

export function stage(app: App): HTMLElement {
  const { store } = app;
  const frame = h("div", { class: "frame" });
  const below = h("div", { class: "below" });
  const progress = progressView(app);
  const look = viewer(app);
  const canvas = h("canvas", { class: "picture preview", role: "img" });
  const element = h(
    "section",
    { class: "stage", "aria-label": t.label },
    frame,
    h("div", { class: "strip" }, progress, below),
    look.element,
  );

  const fill = rebuilder(frame);
  const tell = rebuilder(below);
  const showPreview = ({ preview, settings }: Job): void => {
    if (!preview) return fill("wait", () => [waiting()]);
    fill("preview", () => [canvas]);
    canvas.width = preview.width;
    canvas.height = preview.height;
    canvas.style.setProperty("--ratio", `${preview.width} / ${preview.height}`);
    canvas.setAttribute("aria-label", t.previewOf(settings.prompt));
    canvas.getContext("2d")!.putImageData(new ImageData(preview.data, preview.width, preview.height), 0, 0);
  };
  const follow = (): HTMLElement =>
    button(t.follow, () => store.set({ selected: undefined, compared: undefined }), { look: "plain" });

  // The button that opened it may be gone: the next picture has its own. Until the next frame the focus is said to be where it was, inside.
  look.element.addEventListener("close", () => {
    const { activeElement } = document;
    if (activeElement === document.body || look.element.contains(activeElement))
      below.querySelector<HTMLElement>('[data-focus="view-large"]')?.focus();
  });

  store.watch(
    (state) => [shown(state), state.running !== undefined && state.selected !== undefined],
    (now, isAside) => {
      element.dataset.state = now?.kind ?? "empty";
      if (now?.kind === "picture") {
        const { picture } = now;
        fill(`picture ${picture.id}`, () => [image(app, picture, look)]);
        tell(`picture ${picture.id} ${isAside}`, () => [
          pictureFacts(picture),
          pictureActions(app, picture, look),
          isAside && follow(),
        ]);
      } else if (now?.kind === "comparison") {
        const { picture, other } = now;
        const pair = `comparison ${picture.id} ${other.id}`;
        fill(pair, () => [comparison(app, picture, other)]);
        tell(`${pair} ${isAside}`, () => [
          h("div", { class: "sides" }, pictureFacts(picture), pictureFacts(other)),
          h("p", { class: "quiet-text" }, texts.comparison.hint),
          button(texts.comparison.end, () => store.set({ compared: undefined }), { icon: "close" }),
          isAside && follow(),
        ]);
      } else if (now?.kind === "job") {
        showPreview(now.job);
        tell("", () => []);
      } else if (now) {
        const { job, error } = now;
        if (error) fill(`error ${job.id}`, () => [failure(app, job, error)]);
        else showPreview(job);
        tell(`ended ${job.id}`, () => [!error && stopped(app, job)]);
      } else {
        fill("welcome", () => [welcome()]);
        tell("", () => []);
      }
    },
  );
  return element;
}

function image(app: App, picture: Picture, look: Viewer): HTMLElement {
  const { width, height, prompt } = picture.settings;
  const element = h("img", {
    class: "picture",
    src: app.gallery.urlOf(picture),
    alt: prompt,
    width,
    height,
    on: { click: () => look.open(picture) }, // for the mouse; the button beside it is for everybody
  });
  element.style.setProperty("--ratio", `${width} / ${height}`);
  return element;
}

function pictureFacts({ settings, milliseconds }: Picture): HTMLElement {
  const { width, height, steps, guidanceScale, seed, prompt } = settings;
  return h(
    "div",
    { class: "facts" },
    h("p", { class: "prompt-text" }, prompt),
    h("p", { class: "quiet-text" }, texts.picture.facts(width, height, steps, guidanceScale, seed, milliseconds)),
  );
}

function welcome(): HTMLElement {
  return h("div", { class: "message" }, icon("image"), h("h2", {}, t.welcome), h("p", {}, t.privacy));
}

const waiting = (): HTMLElement => h("div", { class: "message waiting" }, icon("sparkle"));

function stopped(app: App, job: Job): HTMLElement {
  const { progress, kind } = job;
  const text =
    kind === "download" || progress?.stage === "download"
      ? t.paused
      : progress?.stage === "denoise"
        ? t.stopped(progress)
        : t.stoppedEarly;
  return h(
    "div",
    { class: "row between" },
    h("p", { class: "quiet-text" }, text),
    button(t.retry, () => app.queue.add(job.kind, job.settings), { icon: "again" }),
  );
}

function failure(app: App, job: Job, error: ScanvasError): HTMLElement {
  return h(
    "div",
    { class: "message failure", role: "alert" },
    icon("warning"),
    h("h2", {}, texts.errors.titles[error.name] ?? texts.errors.other),
    h("p", {}, texts.errors.todo[error.name] ?? error.advice),
    h("p", { class: "quiet-text" }, error.message),
    button(t.retry, () => app.queue.add(job.kind, job.settings), { icon: "again", look: "primary" }),
  );
}
