/** WebGPU in Node: Dawn (npm `webgpu`) on this machine's driver, else on the software one of the browser. */
import { spawnSync } from "node:child_process";
import { create, globals } from "webgpu";
import { ScanvasError } from "../../src/errors.ts";
import { findBrowser, softwareDriver } from "./browser.ts";

/** What Dawn is started with: it hides f16 on NVIDIA and whatever is not a standard yet. */
export const DAWN_FLAGS = ["enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia"];

/** `who` asks, for messages. Without an adapter the whole command is started again with the software driver, and this does not return. */
export async function dawnGpu(who: string): Promise<GPU> {
  Object.assign(globalThis, globals);
  const gpu = create(DAWN_FLAGS);
  if (await gpu.requestAdapter()) return gpu;
  const browser = findBrowser();
  if (!browser || process.env.VK_ICD_FILENAMES) {
    throw new ScanvasError(
      "WebGPUUnavailableError",
      `${who}: Dawn found no adapter; install a Vulkan driver or a Chromium`,
    );
  }
  // A process must know of its driver when it starts.
  const { status } = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    env: { ...process.env, ...softwareDriver(browser) },
    stdio: "inherit",
  });
  process.exit(status ?? 1);
}
