/** The picture: being made, made, or chosen in the gallery. */
import type { App } from "../app.ts";
import { h, icon, replaceChildren } from "../dom.ts";
import type { ScanvasError } from "../../index.ts";
import type { Picture } from "../gallery_store.ts";
import { shown, type Job } from "../state.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";
import { pictureActions } from "./picture_actions.ts";
import { progressView } from "./progress.ts";

const t = texts.stage;

export function stage(app: App): HTMLElement {
  const { store } = app;
  const frame = h("div", { class: "frame" });
  const below = h("div", { class: "below" });
  const progress = progressView(app);
  const canvas = h("canvas", { class: "picture preview", role: "img" });
  const element = h(
    "section",
    { class: "stage", "aria-label": t.label },
    frame,
    h("div", { class: "strip" }, progress, below),
  );

  let view = ""; // what the frame holds, so that it is not built anew for every step
  const frameOnce = (key: string, build: () => Node): void => {
    if (view === key) return;
    view = key;
    frame.replaceChildren(build());
  };
  const showPreview = ({ preview, settings }: Job): void => {
    if (!preview) return frameOnce("wait", () => waiting());
    frameOnce("preview", () => canvas);
    canvas.width = preview.width;
    canvas.height = preview.height;
    canvas.style.setProperty("--ratio", `${preview.width} / ${preview.height}`);
    canvas.setAttribute("aria-label", t.previewOf(settings.prompt));
    canvas.getContext("2d")!.putImageData(new ImageData(preview.data, preview.width, preview.height), 0, 0);
  };

  store.watch(
    (state) => [shown(state), state.running !== undefined && state.selected !== undefined],
    (now, isAside) => {
      element.dataset.state = now?.kind ?? "empty";
      const follow = isAside && button(t.follow, () => store.set({ selected: undefined }), { look: "plain" });
      if (now?.kind === "picture") {
        frameOnce(`picture ${now.picture.id}`, () => image(app, now.picture));
        replaceChildren(below, pictureFacts(now.picture), pictureActions(app, now.picture), follow);
      } else if (now?.kind === "job") {
        showPreview(now.job);
        replaceChildren(below);
      } else if (now) {
        if (now.error) frameOnce(`error ${now.job.id}`, () => failure(app, now.job, now.error!));
        else showPreview(now.job);
        replaceChildren(below, !now.error && stopped(app, now.job));
      } else {
        frameOnce("welcome", () => welcome());
        replaceChildren(below);
      }
    },
  );
  return element;
}

function image(app: App, picture: Picture): HTMLElement {
  const { width, height, prompt } = picture.settings;
  const element = h("img", { class: "picture", src: app.gallery.urlOf(picture), alt: prompt, width, height });
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
    h("p", {}, error.message),
    button(t.retry, () => app.queue.add(job.kind, job.settings), { icon: "again", look: "primary" }),
  );
}
