import { ForksPoolWorker, type PoolRunnerInitializer } from "vitest/node";
import { defineConfig } from "vitest/config";
import { findBrowser, softwareDriver } from "./tools/setup/browser.ts";
import { ensureLavapipe } from "./tools/setup/lavapipe.ts";

// The dynamic loader reads these when a process starts: forked workers inherit them from here.
const browser = findBrowser();
if (browser) for (const [name, value] of Object.entries(softwareDriver(browser))) process.env[name] ??= value;

/** Workers whose Vulkan driver is lavapipe: the same as forks, started by lavapipe's Node. */
const lavapipe: PoolRunnerInitializer = {
  name: "lavapipe",
  createPoolWorker(options) {
    const { node, env } = ensureLavapipe(console.log);
    return new (class extends ForksPoolWorker {
      override async start(): Promise<void> {
        const own = process.execPath;
        process.execPath = node; // read by `fork`, before the first await
        const started = super.start();
        process.execPath = own;
        await started;
      }
    })({ ...options, env: { ...options.env, ...env } });
  },
};

const shared = {
  testTimeout: 600_000, // a software GPU on a busy machine; a hang still fails
  expect: { poll: { timeout: 60_000 } },
  hookTimeout: 600_000,
};

/** Tests that hold the page to milliseconds of wall time. */
const byTheClock = ["tests/page/responsiveness.test.ts"];

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          ...shared,
          name: "node",
          include: ["tests/**/*.test.ts"],
          exclude: ["tests/lavapipe/**", ...byTheClock],
          pool: "forks",
        },
      },
      // After all others: a busy machine is no measure.
      { test: { ...shared, name: "quiet", include: byTheClock, pool: "forks", sequence: { groupOrder: 1 } } },
      { test: { ...shared, name: "lavapipe", include: ["tests/lavapipe/**/*.test.ts"], pool: lavapipe } },
    ],
  },
});
