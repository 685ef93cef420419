import { h, icon, type IconName, type Props } from "../dom.ts";

export type Look = "primary" | "quiet" | "plain" | "danger";

export interface ButtonOptions extends Props {
  icon?: IconName;
  look?: Look;
  /** Only the icon is seen; the label is for screen readers and the tooltip. */
  bare?: boolean;
}

export function button(label: string, onClick: () => unknown, options: ButtonOptions = {}): HTMLButtonElement {
  const { icon: name, look = "quiet", bare = false, class: extra, ...props } = options;
  return h(
    "button",
    {
      type: "button",
      class: ["button", look, bare && "bare", extra].filter(Boolean).join(" "),
      ...(bare && { "aria-label": label, title: label }),
      ...props,
      on: { click: () => void onClick() },
    },
    name && icon(name),
    !bare && h("span", {}, label),
  );
}
