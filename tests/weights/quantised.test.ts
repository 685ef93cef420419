/** The shipped model converted to q8 and q4, and what is stored as what. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { dequantizeRows } from "../../src/numbers/quant.ts";
import { decodeFloats } from "../../src/numbers/half.ts";
import { streamWeights } from "../../src/weights/load.ts";
import type { ComponentName, TensorEntry } from "../../src/weights/manifest.ts";
import { COMPONENTS } from "../../src/weights/manifest.ts";
import { convert } from "../../tools/convert/convert.ts";
import { parseDtypes, storedDtype } from "../../tools/convert/dtypes.ts";
import { blockOf, componentLayout } from "../../tools/convert/layout.ts";
import { planShards } from "../../tools/convert/shards.ts";
import { serveDirectory } from "../../tools/serve.ts";
import { CONFIGS } from "../../tools/synth/configs.ts";
import { readConverted, readManifest, scratch, size } from "./fixtures.ts";

const MODEL = new URL("../../models/shapes-and-things", import.meta.url).pathname;

/** All tensors as numbers, by the way the engine takes: streamed, verified, rows unpacked. */
async function load(directory: string, component: ComponentName): Promise<Map<string, Float32Array>> {
  const stored = new Map<string, { entry: TensorEntry; bytes: Uint8Array<ArrayBuffer> }>();
  const server = await serveDirectory(directory);
  try {
    await streamWeights(server.url, await readManifest(directory), component, {
      tensor(name, entry, bytes, begin) {
        if (begin === 0) stored.set(name, { entry, bytes: new Uint8Array(entry.bytes) });
        stored.get(name)!.bytes.set(bytes, begin);
      },
    });
  } finally {
    await server.close();
  }
  return new Map([...stored].map(([name, { entry, bytes }]) => [name, unpack(entry, bytes)]));
}

function unpack({ dtype, shape }: TensorEntry, bytes: Uint8Array<ArrayBuffer>): Float32Array {
  if (dtype === "Q8" || dtype === "Q4") {
    return dequantizeRows(new Uint32Array(bytes.buffer), shape[1], dtype === "Q8" ? "q8" : "q4");
  }
  const values = new Float32Array(size(shape));
  decodeFloats(bytes, dtype, values);
  return values;
}

function relative(got: Float32Array, want: Float32Array): number {
  let [difference, norm] = [0, 0];
  want.forEach((value, i) => {
    difference += (got[i] - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(difference / norm);
}

/** What a bell-shaped tensor loses: a step of max/127 or max/7 in every 32 values, and half a bit of f16 in the scale. */
const BOUNDS = { F32: [0, 0], F16: [1e-5, 3e-4], Q8: [2e-3, 0.01], Q4: [0.04, 0.14] } as const;

describe("the shipped model", () => {
  it.each(["q8", "q4", "q8,text_encoder=q4,vae=q8"])(
    "in %s loads as what it was, within the type's error",
    async (dtype) => {
      const [full, out] = [await scratch(), await scratch()];
      await convert(MODEL, full, { dtype: "f32" });
      const { errors } = await convert(MODEL, out, { dtype, measure: true });
      const { components } = await readManifest(out);
      const seen = new Set<string>();
      for (const component of COMPONENTS) {
        const want = await readConverted(full, component);
        const got = await load(out, component);
        expect([...got.keys()]).toEqual([...want.keys()]);
        for (const [name, { dtype: stored, shape }] of Object.entries(components[component]!.tensors)) {
          seen.add(stored);
          const error = relative(got.get(name)!, want.get(name)!.values);
          const zeros = want.get(name)!.values.every((value) => value === 0);
          if (zeros) continue;
          const [low, high] = BOUNDS[stored];
          expect(error, `${name} ${stored} [${shape.join()}]`).toBeLessThanOrEqual(high);
          // f16 of an f16 file loses nothing
          if (stored !== "F16") expect(error, `${name} ${stored}`).toBeGreaterThanOrEqual(low);
          if (stored !== "F32" && error > 0) expect(errors.get(`${component}/${name}`)).toBeCloseTo(error, 4);
        }
      }
      expect(seen.has(dtype.startsWith("q4") ? "Q4" : "Q8")).toBe(true);
    },
  );

  it("becomes smaller by what the types promise, and says what it takes on the GPU", async () => {
    const sizes: Record<string, number> = {};
    for (const dtype of ["f16", "q8", "q4"]) {
      const out = await scratch();
      await convert(MODEL, out, { dtype });
      const { shards, tensors, memory, dtype: stored } = (await readManifest(out)).components.text_encoder!;
      expect(stored).toBe(dtype);
      sizes[dtype] = shards.reduce((sum, { bytes }) => sum + bytes, 0);
      expect(memory).toEqual({ weights: Object.values(tensors).reduce((sum, { bytes }) => sum + bytes, 0) });
      expect(tensors["shared.weight"].dtype).toBe({ f16: "F16", q8: "Q8", q4: "Q8" }[dtype]);
    }
    expect(sizes.q8 / sizes.f16).toBeCloseTo(8.5 / 16, 1);
    expect(sizes.q4 / sizes.f16).toBeCloseTo(4.5 / 16, 1);
  });

  it("gives the same bytes from one thread, from several, and after an interruption", async () => {
    const [one, several, broken] = [await scratch(), await scratch(), await scratch()];
    const options = { dtype: "q4,vae=q8" };
    await convert(MODEL, one, { ...options, threads: 1 });
    await convert(MODEL, several, { ...options, threads: 3 });
    const stop = (file: string) => {
      if (file.startsWith("transformer/")) throw new Error("killed");
    };
    await expect(convert(MODEL, broken, { ...options, threads: 2, onShard: stop })).rejects.toThrow("killed");
    await convert(MODEL, broken, { ...options, threads: 2 });
    const files = (await readdir(one, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
    expect(files.length).toBeGreaterThan(5);
    for (const { parentPath, name } of files) {
      const file = join(parentPath, name).slice(one.length);
      const bytes = await readFile(join(one, file));
      expect(bytes.equals(await readFile(join(several, file))), file).toBe(true);
      expect(bytes.equals(await readFile(join(broken, file))), file).toBe(true);
    }
  });
});

describe("what is stored as what", () => {
  it.each([
    ["q8", { text_encoder: "q8", transformer: "q8", vae: "f16" }],
    ["f32", { text_encoder: "f32", transformer: "f32", vae: "f32" }],
    ["q4,vae=q8", { text_encoder: "q4", transformer: "q4", vae: "q8" }],
    ["q8, text_encoder=q4, vae=f32", { text_encoder: "q4", transformer: "q8", vae: "f32" }],
    ["transformer=q4", { text_encoder: "f16", transformer: "q4", vae: "f16" }],
  ])("--dtype %s", (text, expected) => {
    expect(parseDtypes(text)).toEqual(expected);
  });

  it.each(["", "q5", "vae=q4,q8", "unet=q4", "vae=", "vae=bf16", "q4;vae=f16", "q4,"])(
    "--dtype %j is refused",
    (text) => {
      expect(() => parseDtypes(text)).toThrow(expect.objectContaining({ name: "InvalidArgumentError" }) as Error);
      expect(() => parseDtypes(text)).toThrow(/expected f32, f16, q8, q4, then component=type/);
    },
  );

  it("quantises matrices with whole blocks of 32, the table never below q8", () => {
    const recipe = { kind: "zeros" } as const;
    const matrix = { name: "m", shape: [5, 64], dtype: "weight", recipe } as const;
    const stored = (change: object, dtype: "f32" | "f16" | "q8" | "q4") => {
      return storedDtype({ ...matrix, shape: [5, 64], ...change }, dtype);
    };
    expect([stored({}, "f32"), stored({}, "f16"), stored({}, "q8"), stored({}, "q4")]).toEqual([
      "F32",
      "F16",
      "Q8",
      "Q4",
    ]);
    expect(stored({ shape: [5, 36] }, "q4")).toBe("F16");
    expect(stored({ dtype: "precise" }, "q4")).toBe("Q8");
    expect(stored({ dtype: "F32" }, "q4")).toBe("F32");
  });
});

describe("shards", () => {
  it("of a large model hold rows of one block each", () => {
    const config = CONFIGS["t5-xxl"].text_encoder;
    const plans = planShards(componentLayout("text_encoder", config), "text_encoder", "q4");
    const blocks = plans.map(({ pieces }) => {
      const set = new Set(pieces.map(({ output }) => blockOf(output.name)));
      return [...set].filter((block) => block !== undefined);
    });
    expect(new Set(blocks.flat()).size).toBe(24);
    expect(Math.max(...blocks.map((set) => set.length))).toBe(1);
    // the norm after the last block lies with it
    expect(blocks.at(-1)).toEqual(["23"]);
    const bytes = plans.reduce((sum, plan) => sum + plan.bytes, 0);
    expect(bytes / 1e9).toBeGreaterThan(2.6);
    expect(bytes / 1e9).toBeLessThan(2.8);
  });

  it("of a small model are one a component", async () => {
    const out = await scratch();
    await convert(MODEL, out, { dtype: "q8" });
    for (const component of COMPONENTS) {
      expect((await readManifest(out)).components[component]!.shards.length, component).toBe(1);
    }
  });
});
