/** The models: what they are, what they need, what of them is here; and what this origin keeps. */
import type { App } from "../app.ts";
import { h, icon, replaceChildren, setText } from "../dom.ts";
import { persist, storageEstimate } from "../../index.ts";
import type { Picture } from "../gallery_store.ts";
import { missingBytes } from "../models.ts";
import type { ModelCard } from "../model_card.ts";
import { planKey, type PlanSubject } from "../plans.ts";
import { defaultSettings, type Settings } from "../settings.ts";
import { updateSettings } from "../state.ts";
import { bytes } from "../format.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";
import { dialog } from "./dialog.ts";
import { planLine } from "./plan.ts";
import { describe, fraction } from "./progress.ts";

const t = texts.models;

export function modelsDialog(app: App): HTMLDialogElement {
  const { store } = app;
  const entries = store.state.models.map((card) => modelEntry(app, card));
  const storage = storagePanel(app);
  const element = dialog(t.title, h("ul", { class: "models" }, ...entries), storage.element);
  element.addEventListener("toggle", () => {
    if (!element.open) return;
    for (const card of store.state.models) app.plans.ask(subjectOf(card, store.state.settings));
    void app.models.refresh().then(() => storage.refresh());
  });
  return element;
}

/** The chosen size for the model in use, its own for the others: that is what choosing it would set. */
function subjectOf(card: ModelCard, settings: Settings): PlanSubject {
  return settings.model === card.id ? settings : defaultSettings(card);
}

function modelEntry(app: App, card: ModelCard): HTMLElement {
  const { store, queue, models } = app;
  const state = h("p", { class: "quiet-text" });
  const bar = h("progress", { max: 1, "aria-label": card.title });
  const size = h("span", { class: "quiet-text" });
  const plan = planLine();
  const choose = button(t.choose, () => {
    const { prompt, negativePrompt } = store.state.settings;
    updateSettings(store, { ...defaultSettings(card), prompt, negativePrompt });
  });
  const chosen = h("span", { class: "badge" }, icon("check"), h("span", {}, t.chosen));
  const load = button("", () => queue.add("download", { ...store.state.settings, model: card.id }), {
    icon: "download",
  });
  const pause = button(t.pause, () => queue.stop(), { icon: "pause" });
  const remove = button(t.remove, () => models.remove(card), { icon: "trash", look: "plain" });
  const element = h(
    "li",
    { class: "card model" },
    h("div", { class: "row between" }, h("h3", {}, card.title), chosen, choose),
    h("p", {}, card.about),
    h("p", { class: "quiet-text" }, t.facts(card.size, card.licence)),
    h("div", { class: "plan-line" }, size, plan.element),
    state,
    bar,
    h("div", { class: "row" }, load, pause, remove),
  );

  store.watch(
    ({ plans, settings }) => [plans.get(planKey(subjectOf(card, settings))), settings],
    (found, settings) => {
      const { width, height } = subjectOf(card, settings);
      setText(size, t.memory(width, height));
      plan.show(found);
    },
  );
  store.watch(
    ({ stored, running, waiting, settings }) => [stored.get(card.id), running, waiting, settings],
    (here, running, waiting, settings) => {
      const mine = [running, ...waiting].find((job) => job?.settings.model === card.id && job.kind === "download");
      const isLoading =
        running?.settings.model === card.id && (!running.progress || running.progress.stage === "download");
      const missing = missingBytes(card, here);
      setText(
        state,
        isLoading
          ? describe({ ...running, kind: "download" })
          : here?.complete
            ? t.ready
            : here?.present
              ? t.partial(here.present, here.bytes)
              : t.notHere(card.bytes),
      );
      bar.hidden = !isLoading;
      if (isLoading) bar.value = fraction(running.progress) ?? 0;
      chosen.hidden = settings.model !== card.id;
      choose.hidden = !chosen.hidden;
      pause.hidden = !isLoading;
      load.hidden = missing === 0 || isLoading || mine !== undefined;
      setText(load.querySelector("span")!, here?.present ? t.resume(missing) : t.download(missing));
      remove.hidden = !here || isLoading;
    },
  );
  return element;
}

const sizeOf = (pictures: readonly Picture[]): number => pictures.reduce((sum, { png }) => sum + png.size, 0);

function storagePanel({ store }: App): { element: HTMLElement; refresh: () => Promise<void> } {
  const usage = h("p");
  const kept = h("p", { class: "quiet-text" });
  const pictures = h("p", { class: "quiet-text" });
  const ask = button(t.persist, async () => {
    if (await persist()) await refresh();
    else setText(kept, t.persistRefused);
  });
  const meter = h("meter", { min: 0, max: 1, "aria-label": t.storage });
  const refresh = async (): Promise<void> => {
    const { usage: used, quota, persisted } = await storageEstimate();
    const { stored, pictures: all } = store.state;
    // The browser's own count lags behind.
    const known = [...stored.values()].reduce((sum, { present }) => sum + present, 0) + sizeOf(all);
    setText(usage, t.usage(Math.max(used, known), quota));
    meter.value = quota > 0 ? Math.max(used, known) / quota : 0;
    setText(kept, persisted ? t.persisted : t.notPersisted);
    ask.hidden = persisted;
  };
  store.watch(
    ({ pictures: all }) => [all],
    (all) => setText(pictures, t.pictures(all.length, sizeOf(all))),
  );
  const list = h("ul", { class: "plain-list" });
  store.watch(
    ({ stored }) => [stored],
    (stored) =>
      replaceChildren(
        list,
        ...[...stored.values()].map(({ source, present }) =>
          h("li", { class: "quiet-text" }, `${source}: ${bytes(present)}`),
        ),
      ),
  );
  const element = h(
    "section",
    { class: "storage" },
    h("h3", {}, t.storage),
    usage,
    meter,
    list,
    pictures,
    h("div", { class: "row between" }, kept, ask),
  );
  return { element, refresh };
}
