/** Settings in the hash of an address: it never leaves the browser with a request. */
import { cleanSettings, type Settings } from "./settings.ts";

const MAX_HASH = 16_000; // characters

export function toHash(settings: Settings): string {
  const entries = Object.entries(settings).filter(([, value]) => value !== undefined && value !== "");
  return `#${new URLSearchParams(entries.map(([key, value]) => [key, String(value)]))}`;
}

/** The settings in a hash, those that make sense; undefined when there are none. */
export function fromHash(hash: string): Partial<Settings> | undefined {
  const found = cleanSettings(Object.fromEntries(new URLSearchParams(hash.slice(1, MAX_HASH))));
  return Object.keys(found).length > 0 ? found : undefined;
}
