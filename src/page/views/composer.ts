/** The prompt, the one button, and below it all the rest. */
import type { App } from "../app.ts";
import { h, icon, replaceChildren, setText } from "../dom.ts";
import { missingBytes } from "../models.ts";
import { planKey } from "../plans.ts";
import { LIMITS } from "../settings.ts";
import { cardOf, updateSettings } from "../state.ts";
import { texts } from "../texts.ts";
import { advanced } from "./advanced.ts";
import { button } from "./button.ts";
import { refusal } from "./plan.ts";

const t = texts.composer;

export function composer(app: App): HTMLElement {
  const { store, queue } = app;
  const generate = (): void => queue.add("pictures", store.state.settings);

  const prompt = h("textarea", {
    id: "prompt",
    rows: 2,
    maxlength: LIMITS.text,
    placeholder: t.placeholder,
    "aria-describedby": "prompt-keys",
    on: { input: () => updateSettings(store, { prompt: prompt.value }) },
  });
  const label = h("span");
  const go = h("button", { type: "submit", class: "button primary go" }, icon("sparkle"), label);
  const stop = button(t.stop, () => queue.stop(), { icon: "stop", class: "stop" });
  const note = h("p", { class: "note", id: "generate-note" });
  go.setAttribute("aria-describedby", note.id);
  const examples = h("div", { class: "examples" });
  const form = h(
    "form",
    {
      class: "composer card",
      on: {
        submit: (event) => {
          event.preventDefault();
          generate();
        },
        keydown: (event) => {
          if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
          event.preventDefault();
          generate();
        },
      },
    },
    h("label", { for: "prompt", class: "hidden" }, t.prompt),
    h("div", { class: "prompt-row" }, prompt, h("div", { class: "prompt-buttons" }, stop, go)),
    h("span", { id: "prompt-keys", class: "hidden" }, t.keys),
    examples,
    h("div", { class: "foot" }, note, advanced(app)),
  );

  store.watch(
    ({ settings }) => [settings.prompt],
    (text) => {
      if (prompt.value !== text) prompt.value = text;
      go.disabled = text.trim() === "";
    },
  );
  store.watch(
    ({ running, waiting }) => [running !== undefined, waiting.length],
    (isRunning) => {
      setText(label, isRunning ? t.enqueue : t.generate);
      stop.hidden = !isRunning;
    },
  );
  store.watch(
    ({ settings, stored, running, plans }) => [
      settings.model,
      stored,
      running !== undefined,
      plans.get(planKey(settings)),
    ],
    (id, stored, isRunning, plan) => {
      const card = cardOf(store.state, id);
      const missing = missingBytes(card, stored.get(id));
      const isPartial = (stored.get(id)?.present ?? 0) > 0;
      const doesNotFit = typeof plan === "object" && plan.verdict === "does not fit";
      note.classList.toggle("bad", doesNotFit);
      note.hidden = !doesNotFit && (missing === 0 || isRunning);
      setText(note, doesNotFit ? refusal(plan) : isPartial ? t.resume(missing) : t.firstTime(missing));
    },
  );
  store.watch(
    ({ models, settings }) => [models, settings.model],
    (_models, id) => {
      const { examples: prompts } = cardOf(store.state, id);
      replaceChildren(
        examples,
        h("span", { class: "quiet-text" }, t.examples),
        ...prompts.map((example) =>
          button(example, () => updateSettings(store, { prompt: example }), { class: "chip", look: "plain" }),
        ),
      );
    },
  );
  return form;
}
