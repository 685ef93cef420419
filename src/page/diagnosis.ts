/** All that can be told of a device at once: `scanvas doctor`, in a page and in Node. */
import { storageEstimate, type CheckResult, type StorageEstimate } from "../index.ts";
import { probeDevice, slowReasons, type DeviceFacts, type Unsupported } from "./device.ts";

export interface Diagnosis {
  device: DeviceFacts | Unsupported;
  /** Every kernel, and what was chosen for each family of them. */
  checks: CheckResult[];
  /** Undefined where there is none. */
  storage: StorageEstimate | undefined;
  /** What makes pictures slow here, and what to do about it. */
  advice: string[];
}

/** `check`: the self-check of the engine that is asked about. */
export async function diagnose(check: () => Promise<CheckResult[]>): Promise<Diagnosis> {
  const device = await probeDevice();
  const usable = typeof device !== "string";
  return {
    device,
    checks: usable ? await check() : [],
    storage: await storageEstimate().then(
      (estimate) => (estimate.quota > 0 ? estimate : undefined),
      () => undefined,
    ),
    advice: usable ? slowReasons(device) : [],
  };
}
