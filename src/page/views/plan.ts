/** What a picture will need, in one line: the memory, whether that fits, and what would if it does not. */
import type { Plan } from "../../index.ts";
import { h, icon, replaceChildren } from "../dom.ts";
import { bytes } from "../format.ts";
import { texts } from "../texts.ts";

const t = texts.plan;

export function planLine(): { element: HTMLElement; show(plan: Plan | "unknown" | undefined): void } {
  const element = h("p", { class: "plan", role: "status" });
  return {
    element,
    show(plan) {
      const isBad = typeof plan === "object" && plan.verdict === "does not fit";
      element.classList.toggle("bad", isBad);
      if (!plan) replaceChildren(element, h("span", {}, t.working));
      else if (plan === "unknown") replaceChildren(element, h("span", {}, t.unknown));
      else if (isBad) replaceChildren(element, icon("warning"), h("span", {}, refusal(plan)));
      else
        replaceChildren(
          element,
          icon("check"),
          h("span", {}, h("strong", {}, t.verdicts[plan.verdict]), ` ${t.need(bytes(plan.peak))}`),
        );
    },
  };
}

/** Why it does not fit and what would, a sentence of the engine's: it names sizes exactly, people do not want that. */
export function refusal({ peak, memory, advice }: Plan): string {
  const wayOut = advice?.slice(advice.lastIndexOf("; ") + 2);
  return peak > memory
    ? t.tooLarge(bytes(peak), bytes(memory), wayOut)
    : `${t.verdicts["does not fit"]}: ${advice ?? ""}`;
}
