/** What this device is, what is slow on it and why, and whether its kernels calculate right. */
import type { App } from "../app.ts";
import { h, replaceChildren, setText } from "../dom.ts";
import { deviceReport, slowReasons, type DeviceFacts } from "../device.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";
import { dialog } from "./dialog.ts";
import { checkPanel } from "./check_panel.ts";
import { toast } from "./toast.ts";

const t = texts.device;

export function deviceDialog({ store }: App): HTMLDialogElement {
  const facts = h("dl", { class: "facts-list" });
  const everything = h("div");
  const slow = h("ul", { class: "plain-list" });
  const check = checkPanel();
  const copy = button(
    t.copy,
    async () => {
      const { device } = store.state;
      if (!device) return;
      await navigator.clipboard.writeText(deviceReport(device, check.results()));
      toast(t.copied);
    },
    { icon: "copy" },
  );
  store.watch(
    ({ device }) => [device],
    (device) => {
      if (!device) return;
      replaceChildren(facts, ...rows(device));
      replaceChildren(everything, ...all(device));
      const reasons = slowReasons(device);
      replaceChildren(slow, ...(reasons.length > 0 ? reasons : [t.slow.none]).map((reason) => h("li", {}, reason)));
      setText(copy.querySelector("span")!, t.copy);
    },
  );
  return dialog(
    t.title,
    facts,
    slow,
    h("details", { class: "everything" }, h("summary", {}, t.everything), everything),
    check.element,
    h("div", { class: "row end" }, copy),
  );
}

function rows({ vendor, architecture, description, features, limits, tier }: DeviceFacts): HTMLElement[] {
  const pairs: [string, string][] = [
    [t.adapter, [description, vendor, architecture].filter(Boolean).join(" · ") || "?"],
    [t.tier, t.tiers[tier]],
    [t.buffers, t.bufferSizes(limits.maxBufferSize!, limits.maxStorageBufferBindingSize!)],
    [t.f16, features.includes("shader-f16") ? t.yes : t.no],
  ];
  return pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}

function all({ features, limits }: DeviceFacts): HTMLElement[] {
  return [
    h("p", { class: "quiet-text" }, features.join(", ")),
    ...Object.entries(limits).map(([name, value]) => h("p", { class: "quiet-text" }, `${name}: ${value}`)),
  ];
}
