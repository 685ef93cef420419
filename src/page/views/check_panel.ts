/** Runs the engine's kernels on this device against their plain twins. */
import { h, replaceChildren, setText } from "../dom.ts";
import { ScanvasError, selfCheck, type CheckResult } from "../../index.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";

const t = texts.device;

export function checkPanel(): { element: HTMLElement; results: () => readonly CheckResult[] } {
  let results: readonly CheckResult[] = [];
  let controller: AbortController | undefined;
  const state = h("p", { class: "quiet-text", "aria-live": "polite" }, t.checkHint);
  const bar = h("progress", { max: 1, hidden: true, "aria-label": t.check });
  const list = h("ul", { class: "checks" });

  const summary = (kernel: string): HTMLElement => {
    const mine = results.filter((result) => result.kernel === kernel && result.passed);
    const worst = Math.max(...mine.map(({ error }) => error));
    return h(
      "li",
      { class: "good" },
      h("span", {}, `✓ ${kernel}`),
      h(
        "span",
        { class: "quiet-text" },
        // What was replaced has a reason, although all is well.
        [t.ofKernel(mine.length), worst.toExponential(1), ...mine.flatMap(({ reason }) => reason ?? [])].join(" · "),
      ),
    );
  };

  const run = async (): Promise<void> => {
    controller = new AbortController();
    start.hidden = true;
    stop.hidden = bar.hidden = false;
    list.replaceChildren();
    try {
      results = await selfCheck({
        signal: controller.signal,
        onProgress: (done, total) => {
          bar.value = done / total;
          setText(state, t.checking(done, total));
        },
      });
      const bad = results.filter(({ passed }) => !passed);
      setText(state, bad.length > 0 ? t.failed(bad.length, results.length) : t.passed(results.length));
      replaceChildren(
        list,
        ...bad.map(failure),
        ...[...new Set(results.filter(({ passed }) => passed).map(({ kernel }) => kernel))].map(summary),
      );
    } catch (error) {
      const isStopped = error instanceof ScanvasError && error.name === "AbortError";
      setText(state, isStopped ? t.checkHint : error instanceof Error ? error.message : String(error));
    } finally {
      start.hidden = false;
      stop.hidden = bar.hidden = true;
    }
  };
  const start = button(t.check, run, { icon: "check" });
  const stop = button(t.stop, () => controller?.abort(), { icon: "stop", hidden: true });
  const element = h(
    "section",
    { class: "self-check" },
    h("div", { class: "row between" }, state, start, stop),
    bar,
    list,
  );
  return { element, results: () => results };
}

const failure = ({ kernel, name, error, reason }: CheckResult): HTMLElement =>
  h(
    "li",
    { class: "bad" },
    h("span", {}, `✗ ${kernel}`),
    h("span", { class: "quiet-text" }, `${name} · ${error.toExponential(1)} · ${reason ?? ""}`),
  );
