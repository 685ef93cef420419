/** JSON as Python writes it. */
import { ScanvasError } from "../../src/errors.ts";
import type { Json } from "../../src/weights/manifest.ts";

/**
 * Parses JSON in which Infinity, -Infinity and NaN may stand for numbers (Python's json.dump, e.g. `lambda_min_clipped` in
 * scheduler_config.json). They become the strings "Infinity", "-Infinity", "NaN".
 * @throws FormatError naming `where` when the rest is not JSON
 */
export function parsePythonJson(text: string, where: string): Json {
  // strings are matched first, so that a word inside one is left alone
  const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (match) =>
    match[0] === '"' ? match : `"${match}"`,
  );
  try {
    return JSON.parse(quoted) as Json;
  } catch (cause) {
    throw new ScanvasError("FormatError", `${where} is not JSON`, { cause });
  }
}
