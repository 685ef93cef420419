/** The plain page of a browser that cannot run the engine: what is missing and what to do. */
import { h } from "../dom.ts";
import type { Unsupported } from "../device.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";

const t = texts.unsupported;

export function unsupported(reason: Unsupported): HTMLElement {
  const { what, todo } = t.reasons[reason];
  return h(
    "main",
    { class: "unsupported" },
    h("img", { src: "./icon.svg", alt: "", width: 56, height: 56 }),
    h("h1", {}, t.title),
    h("p", { class: "lead" }, what),
    h("ul", {}, ...todo.map((line) => h("li", {}, line))),
    button(t.retry, () => location.reload(), { look: "primary", icon: "again" }),
  );
}
