/** All settings but the prompt. */
import type { App } from "../app.ts";
import { h, icon, replaceChildren } from "../dom.ts";
import { planKey } from "../plans.ts";
import { defaultSettings, LIMITS, sizePresets, type Settings } from "../settings.ts";
import { cardOf, updateSettings } from "../state.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";
import { labelled, numberField, selectField } from "./fields.ts";
import { planLine } from "./plan.ts";

const t = texts.advanced;

export function advanced(app: App): HTMLElement {
  const { store } = app;
  const change = (patch: Partial<Settings>): void => updateSettings(store, patch);

  const negative = labelled(
    t.negative,
    h("textarea", {
      rows: 1,
      maxlength: LIMITS.text,
      placeholder: t.negativePlaceholder,
      on: { input: () => change({ negativePrompt: negative.input.value }) },
    }),
    undefined,
  );
  negative.element.append(h("span", { class: "hint when-off" }, t.negativeOff));
  const width = numberField(t.width, { ...LIMITS.size, onChange: (value) => change({ width: value }) });
  const height = numberField(t.height, { ...LIMITS.size, onChange: (value) => change({ height: value }) });
  const steps = numberField(t.steps, {
    ...LIMITS.steps,
    hint: t.stepsHint,
    onChange: (value) => change({ steps: value }),
  });
  const guidance = numberField(t.guidance, {
    ...LIMITS.guidanceScale,
    step: 0.1,
    hint: t.guidanceHint,
    onChange: (value) => change({ guidanceScale: value }),
  });
  const count = numberField(t.count, { ...LIMITS.count, onChange: (value) => change({ count: value }) });
  const { default: own, ...samplers } = t.samplers;
  const sampler = selectField(t.sampler, { "": own, ...samplers }, (value) => change({ sampler: value || undefined }));
  const precision = selectField(t.precision, t.precisions, (value) => change({ precision: value }));
  const precisionNote = h("span", { class: "hint" }, t.noF16);
  precision.element.append(precisionNote);

  const plan = planLine();
  const presets = h("div", { class: "segments", role: "group", "aria-label": t.size });
  let side = 0;
  const showPresets = (native: number, settings: Settings): void => {
    const sizes = sizePresets(native);
    if (side !== native) {
      replaceChildren(
        presets,
        ...sizes.map(({ label, width, height }) =>
          h(
            "button",
            { type: "button", class: "segment", on: { click: () => change({ width, height }) } },
            label,
            h("span", { class: "hint" }, `${width} × ${height}`),
          ),
        ),
      );
    }
    side = native;
    sizes.forEach(({ width, height }, i) => {
      const isChosen = width === settings.width && height === settings.height;
      presets.children[i]!.setAttribute("aria-pressed", String(isChosen));
    });
  };
  const isRandom = h("input", {
    type: "checkbox",
    id: "seed-random",
    on: { change: () => change({ seed: isRandom.checked ? undefined : (store.state.lastSeed ?? 0) }) },
  });
  const seed = labelled(
    t.seed,
    h("input", {
      type: "number",
      min: LIMITS.seed.low,
      max: LIMITS.seed.high,
      step: 1,
      inputmode: "numeric",
      on: {
        change: () => {
          const value = Number(seed.input.value);
          const isSeed = seed.input.value !== "" && Number.isSafeInteger(value) && value >= 0;
          change({ seed: isSeed ? value : undefined });
        },
      },
    }),
    undefined,
    h("label", { class: "check", for: isRandom.id }, isRandom, t.seedRandom),
  );

  const element = h(
    "details",
    { class: "advanced" },
    h("summary", {}, icon("sliders"), h("span", {}, texts.composer.advanced)),
    h(
      "div",
      { class: "advanced-grid" },
      h("div", { class: "wide" }, negative.element),
      h(
        "fieldset",
        { class: "wide size" },
        h("legend", {}, t.size),
        presets,
        h("div", { class: "pair" }, width.element, height.element),
        plan.element,
      ),
      steps.element,
      guidance.element,
      sampler.element,
      count.element,
      seed.element,
      precision.element,
      h(
        "div",
        { class: "wide row end" },
        button(
          t.reset,
          () => {
            const { prompt, model } = store.state.settings;
            change({ ...defaultSettings(cardOf(store.state, model)), prompt });
          },
          { icon: "restore", look: "plain" },
        ),
      ),
    ),
  );

  store.watch(
    ({ settings, models }) => [settings, models],
    (settings) => {
      const card = cardOf(store.state, settings.model);
      if (negative.input.value !== settings.negativePrompt) negative.input.value = settings.negativePrompt;
      negative.input.disabled = settings.guidanceScale <= 1;
      negative.element.classList.toggle("off", settings.guidanceScale <= 1);
      width.show(settings.width);
      height.show(settings.height);
      steps.show(settings.steps);
      guidance.show(settings.guidanceScale);
      count.show(settings.count);
      sampler.input.value = settings.sampler ?? "";
      precision.input.value = settings.precision;
      seed.input.value = settings.seed === undefined ? "" : String(settings.seed);
      isRandom.checked = settings.seed === undefined;
      showPresets(card.size, settings);
    },
  );
  store.watch(
    ({ plans, settings }) => [plans.get(planKey(settings))],
    (found) => plan.show(found),
  );
  store.watch(
    ({ device, lastSeed }) => [device, lastSeed],
    (device, lastSeed) => {
      const hasF16 = device?.features.includes("shader-f16") ?? false;
      precision.input.disabled = !hasF16;
      precisionNote.hidden = hasF16;
      seed.input.placeholder = lastSeed === undefined ? "" : String(lastSeed);
    },
  );
  return element;
}
