import { defineConfig } from "vitest/config";
import { findBrowser, softwareDriver } from "./tools/setup/browser.ts";

// The dynamic loader reads these when a process starts: forked workers inherit them from here.
const browser = findBrowser();
if (browser) for (const [name, value] of Object.entries(softwareDriver(browser))) process.env[name] ??= value;

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 600_000, // a software GPU on a busy machine; a hang still fails
    expect: { poll: { timeout: 60_000 } },
    hookTimeout: 600_000,
  },
});
