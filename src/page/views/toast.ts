/** A short message at the lower edge, read out by screen readers, gone after a while. */
import { h, replaceChildren } from "../dom.ts";
import { button } from "./button.ts";

const SHOWN_FOR = 6000; // milliseconds

const region = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
let timer: ReturnType<typeof setTimeout> | undefined;

export function toastRegion(): HTMLElement {
  return region;
}

export function toast(message: string, action?: { label: string; run: () => unknown }): void {
  const hide = (): void => region.replaceChildren();
  const act = action && (() => (hide(), action.run()));
  replaceChildren(region, h("div", { class: "toast" }, h("span", {}, message), act && button(action.label, act)));
  clearTimeout(timer);
  timer = setTimeout(hide, SHOWN_FOR);
}
