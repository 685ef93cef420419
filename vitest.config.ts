import { dirname } from "node:path";
import { defineConfig } from "vitest/config";
import { findBrowser } from "./tools/setup/browser.ts";

// Dawn in Node finds the Vulkan loader and the software driver beside the browser's own binary. Both variables must be in the
// environment before the process starts, hence forked workers.
const browser = findBrowser();
if (browser) {
  const folder = dirname(browser.libraries);
  process.env.VK_ICD_FILENAMES ??= `${folder}/vk_swiftshader_icd.json`;
  process.env.LD_LIBRARY_PATH ??= folder;
}

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
