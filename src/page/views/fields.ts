/** Form fields bound to the settings. */
import { h, type Child } from "../dom.ts";

let nextId = 1;

export interface Field<T extends HTMLElement> {
  readonly element: HTMLElement;
  readonly input: T;
}

/** A label over an input, with a hint under it that screen readers get too. */
export function labelled<T extends HTMLElement>(label: string, input: T, hint?: string, ...beside: Child[]): Field<T> {
  input.id ||= `field-${nextId++}`;
  const note = hint ? h("span", { class: "hint", id: `${input.id}-hint` }, hint) : undefined;
  if (note) input.setAttribute("aria-describedby", note.id);
  const element = h(
    "div",
    { class: "field" },
    h("label", { for: input.id }, label),
    h("div", { class: "field-row" }, input, ...beside),
    note,
  );
  return { element, input };
}

interface NumberOptions {
  low: number;
  high: number;
  step?: number;
  hint?: string;
  /** Called with a number in range. */
  onChange: (value: number) => void;
}

/** A number that becomes part of the settings when it is a possible one, and jumps back when it is not. */
export function numberField(
  label: string,
  options: NumberOptions,
): Field<HTMLInputElement> & { show(value: number): void } {
  const { low, high, step = 1, hint, onChange } = options;
  let current = low;
  const input = h("input", {
    type: "number",
    min: low,
    max: high,
    step,
    inputmode: "decimal",
    on: {
      change: () => {
        const value = Number(input.value);
        if (input.value !== "" && value >= low && value <= high) onChange(Math.round(value / step) * step);
        else input.value = String(current);
      },
    },
  });
  return {
    ...labelled(label, input, hint),
    show(value) {
      current = value;
      input.value = String(Number(value.toFixed(4)));
    },
  };
}

/** One of a few. */
export function selectField<V extends string>(
  label: string,
  choices: Readonly<Record<V, string>>,
  onChange: (value: V) => void,
  hint?: string,
): Field<HTMLSelectElement> {
  const input = h(
    "select",
    { on: { change: () => onChange(input.value as V) } },
    ...Object.entries(choices).map(([value, text]) => h("option", { value }, text as string)),
  );
  return labelled(label, input, hint);
}
