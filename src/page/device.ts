/** What the page can tell of the GPU without making a device. */
import type { CheckResult } from "../index.ts";
import { texts } from "./texts.ts";

export interface DeviceFacts {
  vendor: string;
  architecture: string;
  description: string;
  isSoftware: boolean;
  features: string[];
  limits: Record<string, number>;
  tier: Tier;
}

/** software: a CPU plays GPU. basic: default limits or no f16. full: large buffers and f16. */
export type Tier = "software" | "basic" | "full";

const SHOWN_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxStorageBuffersPerShaderStage",
] as const;

const DEFAULT_BINDING = 128 * 2 ** 20; // what WebGPU promises everywhere

/** Why pictures cannot be made here. */
export type Unsupported = "insecure" | "no-webgpu" | "no-adapter";

export async function probeDevice(): Promise<DeviceFacts | Unsupported> {
  if (!isSecureContext) return "insecure";
  const gpu = (navigator as { gpu?: GPU }).gpu;
  if (!gpu) return "no-webgpu";
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (!adapter) return "no-adapter";
  const { info } = adapter;
  const isSoftware =
    info.isFallbackAdapter ||
    /swiftshader|llvmpipe|lavapipe|basic render/i.test(`${info.architecture} ${info.description}`);
  const features = [...adapter.features].sort();
  const limits = Object.fromEntries(SHOWN_LIMITS.map((name) => [name, adapter.limits[name]]));
  const large = adapter.limits.maxStorageBufferBindingSize > DEFAULT_BINDING;
  return {
    vendor: info.vendor,
    architecture: info.architecture,
    description: info.description,
    isSoftware,
    features,
    limits,
    tier: isSoftware ? "software" : large && features.includes("shader-f16") ? "full" : "basic",
  };
}

/** Why pictures take longer here than elsewhere. */
export function slowReasons({ isSoftware, features, limits }: DeviceFacts): string[] {
  const t = texts.device.slow;
  return [
    isSoftware && t.software,
    !isSoftware && !features.includes("shader-f16") && t.noF16,
    limits.maxStorageBufferBindingSize! <= DEFAULT_BINDING && t.smallBinding,
  ].filter((reason) => reason !== false);
}

/** For a bug report: plain text, nothing but what the panel shows. */
export function deviceReport(facts: DeviceFacts, checks: readonly CheckResult[]): string {
  const { vendor, architecture, description, features, limits, tier } = facts;
  const lines = [
    `scanvas on ${navigator.userAgent}`,
    `adapter: ${[description, vendor, architecture].filter(Boolean).join(", ")} (${tier})`,
    `features: ${features.join(", ")}`,
    ...Object.entries(limits).map(([name, value]) => `${name}: ${value}`),
    ...checks.map(
      ({ kernel, name, error, tolerance, passed, reason }) =>
        `${passed ? "pass" : "FAIL"} ${kernel}, ${name}: error ${error.toExponential(1)}, allowed ${tolerance}` +
        (reason === undefined ? "" : `; ${reason}`),
    ),
  ];
  return lines.join("\n");
}
