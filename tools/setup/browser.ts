import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { homedir } from "node:os";

export interface Browser {
  /** What Playwright starts. */
  executable: string;
  /** A file in the folder that holds `libvulkan.so.1` and `vk_swiftshader_icd.json`. */
  libraries: string;
}

/** Where Chrome and Chromium install themselves, best first. Each entry: the program, and its real folder. */
function candidates(): [string, string][] {
  const own = process.env.SCANVAS_BROWSER;
  return [
    ...(own ? ([[own, dirname(realpathSync(own))]] as [string, string][]) : []),
    ["/usr/bin/google-chrome", "/opt/google/chrome"],
    ["/usr/bin/chromium", "/usr/lib/chromium"],
    ["/usr/bin/chromium-browser", "/usr/lib/chromium-browser"],
    ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Google Chrome.app/Contents/MacOS"],
    ["/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Chromium.app/Contents/MacOS"],
  ];
}

/** An installed Chrome or Chromium, or the one that Playwright downloaded; undefined when there is none. */
export function findBrowser(): Browser | undefined {
  for (const [executable, folder] of candidates()) {
    if (existsSync(executable)) return { executable, libraries: join(folder, "vk_swiftshader_icd.json") };
  }
  const cache = process.env.PLAYWRIGHT_BROWSERS_PATH ?? join(homedir(), ".cache/ms-playwright");
  if (existsSync(cache)) return undefined; // filled in by setup.ts, which asks Playwright itself
  return undefined;
}
