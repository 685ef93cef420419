/** How far the work is: a line, a bar, what waits behind it, and the same for screen readers and the title of the tab. */
import type { App } from "../app.ts";
import { h, replaceChildren, setText } from "../dom.ts";
import type { Job, JobProgress } from "../state.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";

const t = texts.progress;
const SPOKEN_STEP = 25; // percent between two announcements

export function progressView({ store, queue }: App): HTMLElement {
  const line = h("p", { class: "progress-line" });
  const bar = h("progress", { max: 1, "aria-label": texts.composer.generate });
  const live = h("p", { class: "hidden", role: "status", "aria-live": "polite" });
  const list = h("ul", { class: "queue" });
  const element = h("div", { class: "progress" }, h("div", { class: "progress-now" }, line, bar), live, list);

  let spoken = "";
  let wasRunning = false;
  const title = document.title;
  const say = (text: string): void => {
    if (text !== spoken) setText(live, (spoken = text));
  };

  store.watch(
    ({ running, outcome }) => [running, outcome],
    (running, outcome) => {
      element.classList.toggle("active", running !== undefined);
      if (running) {
        const text = describe(running);
        setText(line, text);
        const part = fraction(running.progress);
        if (part === undefined) bar.removeAttribute("value");
        else bar.value = part;
        const percent = Math.round((overall(running) ?? 0) * 100);
        document.title = t.title(percent);
        const rounded = Math.floor(((part ?? 0) * 100) / SPOKEN_STEP) * SPOKEN_STEP;
        say(running.progress ? `${t.spoken.started}: ${stageName(running.progress)} ${rounded}%` : t.spoken.started);
      } else if (wasRunning) {
        document.title = title;
        if (outcome?.kind === "picture") say(t.spoken.done);
        else if (outcome) say(outcome.error ? t.spoken.failed : t.spoken.stopped);
      }
      wasRunning = running !== undefined;
    },
  );
  store.watch(
    ({ waiting }) => [waiting],
    (waiting) => {
      list.hidden = waiting.length === 0;
      replaceChildren(
        list,
        ...waiting.map((job) =>
          h(
            "li",
            {},
            h("span", {}, job.settings.prompt || job.settings.model),
            button(`${t.drop}: ${job.settings.prompt}`, () => queue.remove(job.id), {
              icon: "close",
              look: "plain",
              bare: true,
            }),
          ),
        ),
        waiting.length > 1 &&
          h(
            "li",
            {},
            button(t.dropAll, () => queue.clear(), { look: "plain" }),
          ),
      );
    },
  );
  return element;
}

export function describe({ progress, settings, done, kind }: Job): string {
  const what = progress ? stageText(progress) : t.start;
  return kind === "pictures" && settings.count > 1 ? `${t.pictureOf(done + 1, settings.count)} · ${what}` : what;
}

function stageText(progress: JobProgress): string {
  const text = t[progress.stage];
  return typeof text === "string" ? text : text(progress);
}

const stageName = (progress: JobProgress): string => stageText(progress).split(/[:·]| \d/)[0]!;

/** Of this stage; undefined where nobody can know. */
export function fraction(progress: JobProgress | undefined): number | undefined {
  if (!progress || !["download", "denoise"].includes(progress.stage)) return undefined;
  return progress.total > 0 ? progress.step / progress.total : undefined;
}

/** Of all pictures of the job. */
function overall({ progress, settings, done }: Job): number | undefined {
  const part = progress?.stage === "denoise" ? fraction(progress) : progress?.stage === "decode" ? 1 : 0;
  return (done + (part ?? 0)) / settings.count;
}
