/** Finds a browser with WebGPU, and brings one where there is none. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { chromium } from "playwright";

export interface Browser {
  /** What Playwright starts. */
  executable: string;
  /** Holds `libvulkan.so.1` and `vk_swiftshader_icd.json`: Dawn in Node runs on the browser's own software driver. */
  folder: string;
}

/** Programs, and the folders where their packages keep the libraries, best first. */
const INSTALLED: readonly (readonly [executable: string, folder: string])[] = [
  ["/usr/bin/google-chrome", "/opt/google/chrome"],
  ["/usr/bin/chromium", "/usr/lib/chromium"],
  ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Google Chrome.app/Contents/MacOS"],
];

const INSTALL = ["install", "--with-deps", "chromium"];

/** $SCANVAS_BROWSER, an installed Chrome or Chromium, or the one Playwright downloaded earlier. */
export function findBrowser(): Browser | undefined {
  const own = process.env.SCANVAS_BROWSER;
  const candidates = [
    ...(own ? [[own, dirname(own)] as const] : []),
    ...INSTALLED,
    [chromium.executablePath(), dirname(chromium.executablePath())] as const,
  ];
  const found = candidates.find(([executable, folder]) => existsSync(executable) && existsSync(folder));
  return found && { executable: found[0], folder: found[1] };
}

/** Where Dawn finds the software driver; set before the process that loads it starts. */
export const softwareDriver = ({ folder }: Browser): Record<string, string> => ({
  VK_ICD_FILENAMES: join(folder, "vk_swiftshader_icd.json"),
  LD_LIBRARY_PATH: folder,
});

/** A browser, installed if need be: Playwright's download first, then Debian's package. Says what it does; does nothing twice. */
export function ensureBrowser(say: (line: string) => void): Browser {
  const present = findBrowser();
  if (present) return present;
  const attempts: readonly (readonly [string, string, string[]])[] = [
    [
      "Playwright's Chromium",
      process.execPath,
      [join(dirname(createRequire(import.meta.url).resolve("playwright/package.json")), "cli.js"), ...INSTALL],
    ],
    [
      "Debian's chromium",
      "sh",
      ["-c", "apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium"],
    ],
  ];
  const failures: string[] = [];
  for (const [what, program, args] of attempts) {
    say(`no browser found: installing ${what} ...`);
    try {
      execFileSync(program, args, {
        stdio: ["ignore", "ignore", "pipe"],
        timeout: 600_000,
        env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      });
    } catch (error) {
      failures.push(
        `${what}: ${String((error as { stderr?: Buffer }).stderr ?? error)
          .trim()
          .split("\n")
          .at(-1)}`,
      );
    }
    const brought = findBrowser();
    if (brought) return brought;
  }
  throw new Error(
    `no browser with WebGPU could be installed (${failures.join("; ")}); install Chrome, or set SCANVAS_BROWSER to one`,
  );
}
