/** `scanvas doctor`: what this device is, whether its kernels calculate right, and what to do about what is slow or wrong. */
import { Command } from "commander";
import type * as Diagnosing from "../src/page/diagnosis.ts";
import type { Diagnosis } from "../src/page/diagnosis.ts";
import type * as SelfCheck from "../src/self_check.ts";
import { withEngine } from "./engine.ts";
import { inPage, openPage } from "./headless/session.ts";
import { isRepository } from "./headless/pages.ts";
import { megabytes } from "./inspect.ts";

/** On Dawn, which plays the browser's part: the same code asks it. */
async function inNode(): Promise<Diagnosis> {
  const { dawnGpu } = await import("./setup/dawn.ts");
  const navigator = { gpu: await dawnGpu("doctor"), userAgent: `Node ${process.version}` };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  Object.assign(globalThis, { isSecureContext: true });
  return withEngine("page/diagnosis.ts", ({ diagnose }: typeof Diagnosing) =>
    diagnose(() =>
      withEngine("self_check.ts", ({ checkDevice }: typeof SelfCheck) =>
        checkDevice(() => {}, new AbortController().signal),
      ),
    ),
  );
}

async function inBrowser(say: (line: string) => void): Promise<Diagnosis> {
  const { page, close } = await openPage("tools/headless/page.html", say);
  try {
    await page.waitForFunction(() => "headless" in window);
    return await inPage(() => page.evaluate(() => window.headless.diagnose()));
  } finally {
    await close();
  }
}

/** What a person reads; nothing that `--json` does not hold. */
export function lines({ device, checks, storage, advice }: Diagnosis): string[] {
  if (typeof device === "string") return [`no pictures can be made here: ${device}`];
  const { vendor, architecture, description, features, limits, tier } = device;
  const failed = checks.filter(({ passed }) => !passed);
  const kernels = [...new Set(checks.map(({ kernel }) => kernel))];
  return [
    `adapter   ${[description, vendor, architecture].filter(Boolean).join(", ")}`,
    `tier      ${tier}`,
    `features  ${features.join(", ")}`,
    ...Object.entries(limits).map(([name, value]) => `limit     ${name} ${value}`),
    ...(storage ? [`storage   ${megabytes(storage.usage)} of ${megabytes(storage.quota)} in use`] : []),
    ...kernels.map((kernel) => {
      const mine = checks.filter((check) => check.kernel === kernel);
      const bad = mine.filter(({ passed }) => !passed).length;
      const only = mine.length === 1 ? mine[0] : undefined;
      const detail = only ? [only.name, only.reason].filter(Boolean).join("; ") : `${mine.length} cases`;
      return `${bad ? "FAILED" : "passed"}    ${kernel}: ${bad ? `${bad} of ` : ""}${detail}`;
    }),
    ...failed.map(({ kernel, name, error, reason }) => `          ${kernel}, ${name}: error ${error}, ${reason ?? ""}`),
    ...advice.map((one) => `advice    ${one}`),
    ...(failed.length
      ? ["advice    Update the graphics driver, or use another browser, and please report the above."]
      : []),
  ];
}

export function command(): Command {
  return new Command("doctor")
    .description("Examine this device: its limits, every kernel on it, and what to do about what is slow or wrong")
    .option("--browser", "in a headless Chromium instead of Dawn in Node")
    .option("--json", "as JSON")
    .action(async ({ browser, json }: { browser?: boolean; json?: boolean }) => {
      const say = (line: string): void => void process.stderr.write(`${line}\n`);
      const diagnosis = browser || !isRepository ? await inBrowser(say) : await inNode();
      console.log(json ? JSON.stringify(diagnosis, null, 1) : lines(diagnosis).join("\n"));
      if (typeof diagnosis.device === "string" || diagnosis.checks.some(({ passed }) => !passed)) process.exitCode = 1;
    });
}
