/** Seeded damage to bytes, texts and JSON, for the fuzzers. */
import { random } from "../weights/fixtures.ts";

export const ROUNDS = 10_000;
/** Seeds stay, so that a failure comes again; SCANVAS_FUZZ_SEED tries others. */
export const SEED = Number(process.env.SCANVAS_FUZZ_SEED ?? 20261126);

export type Draw = () => number;
export const draws = (salt: number): Draw => random(SEED + salt);

export const pick = <T>(draw: Draw, list: readonly T[]): T => list[Math.floor(draw() * list.length)];

const BYTES = [0, 1, 0x20, 0x22, 0x2c, 0x5c, 0x7b, 0x7d, 0x7f, 0x80, 0xff];

/** One to four places overwritten, taken out, doubled or put in. */
export function damageBytes(draw: Draw, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  let out = [...bytes];
  for (let n = 1 + Math.floor(draw() * 4); n > 0; n--) {
    const at = Math.floor(draw() * out.length);
    const length = 1 + Math.floor(draw() * 8);
    const value = (): number => (draw() < 0.5 ? pick(draw, BYTES) : Math.floor(draw() * 256));
    const kind = Math.floor(draw() * 5);
    if (kind === 0) out[at] = value();
    else if (kind === 1) out.splice(at, length);
    else if (kind === 2) out.splice(at, 0, ...out.slice(at, at + length));
    else if (kind === 3) out.splice(at, 0, ...Array.from({ length }, value));
    else out = draw() < 0.1 ? out.slice(0, at) : out.map((byte, i) => (i === at ? byte ^ (1 << (draw() * 8)) : byte));
  }
  return Uint8Array.from(out);
}

export const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1,
  0.5,
  -0,
  1e9,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  1e308,
  "",
  "0",
  "-1",
  "NaN",
  "__proto__",
  "constructor",
  "../../etc/passwd",
  "http://example.org/x",
  "javascript:alert(1)",
  "<img src=x onerror=alert(1)>",
  "\0",
  "\ud800",
  "é".repeat(300),
  "x".repeat(70_000),
  [],
  {},
  [[[[[[[[[[]]]]]]]]]],
  { __proto__: null, length: 1e9 },
];

/** A copy of `json` with one to three of its values replaced, removed, moved or renamed. */
export function damageJson(draw: Draw, json: unknown): unknown {
  const copy: unknown = structuredClone(json);
  for (let n = 1 + Math.floor(draw() * 3); n > 0; n--) {
    let holder = copy as Record<string, unknown>;
    // Down to a random depth: what lies deep has many siblings, and must not be all that is hit.
    for (let depth = Math.floor(draw() * 7); depth > 0; depth--) {
      const inner = Object.values(holder).filter((value) => typeof value === "object" && value !== null);
      if (inner.length === 0) break;
      holder = pick(draw, inner) as Record<string, unknown>;
    }
    const keys = Object.keys(holder);
    if (keys.length === 0) continue;
    const key = pick(draw, keys);
    const kind = draw();
    if (kind < 0.5) holder[key] = structuredClone(pick(draw, VALUES));
    else if (kind < 0.6) delete holder[key];
    else if (kind < 0.7) holder[key] = structuredClone(holder[pick(draw, keys)]);
    else if (kind < 0.8 && typeof holder[key] === "number")
      holder[key] = (holder[key] as number) + pick(draw, [-4, -1, 1, 4, 1e6]);
    else if (Array.isArray(holder)) holder.push(structuredClone(holder[Number(key)]));
    else
      holder[draw() < 0.5 ? `${key}x` : "__proto__ constructor toString 0 length".split(" ")[Math.floor(draw() * 5)]] =
        structuredClone(holder[key]);
  }
  return JSON.parse(JSON.stringify(copy)) as unknown; // no holes, nothing undefined
}

/** Texts of one to some hundred characters, of the kind that break things. */
export function wildText(draw: Draw): string {
  const alphabet = [
    "a",
    "7",
    " ",
    "&",
    "=",
    "%",
    "%2",
    "#",
    "+",
    "-",
    "e",
    ".",
    "\0",
    "\n",
    "é",
    "\ud83d",
    "\udc31",
    "\u202e",
    "<",
    '"',
    "\u0301",
  ];
  const length = Math.floor(draw() ** 3 * 300);
  return Array.from({ length }, () => pick(draw, alphabet)).join("");
}
