import { random, randomArray, type KernelCase, type KernelCases } from "./case.ts";
import { addPosition, checkFinite, guideAndStep, modulation, patchify, silu, unpatchify } from "./elementwise.ts";

const ROUNDING = 3e-7; // a few f32 operations

function patchifyCase(
  latentBatch: number,
  batch: number,
  channels: number,
  h: number,
  w: number,
  depth: number,
): KernelCase {
  const tokens = (h * w) / 4;
  return {
    name: `patchify ${latentBatch}->${batch} x ${channels}x${h}x${w}`,
    inputs: () => ({
      latents: random([latentBatch, channels, h, w], 1),
      step: { shape: [1], data: Float32Array.of(0.7) },
    }),
    outputs: { tokens: [batch, tokens, depth] },
    record: (rec, t) => patchify(rec, t.latents!, t.step!, t.tokens!, 2),
    reference: ({ latents }) => {
      const out = new Float32Array(batch * tokens * depth);
      for (let b = 0; b < batch; b++)
        for (let c = 0; c < channels; c++)
          for (let y = 0; y < h; y++)
            for (let x = 0; x < w; x++) {
              const token = b * tokens + (y >> 1) * (w / 2) + (x >> 1);
              const value = latents![(((b % latentBatch) * channels + c) * h + y) * w + x]!;
              out[token * depth + ((y & 1) * 2 + (x & 1)) * channels + c] = Math.fround(0.7) * value;
            }
      return { tokens: out };
    },
    tolerance: ROUNDING,
  };
}

function unpatchifyCase(batch: number, channels: number, tokenChannels: number, h: number, w: number): KernelCase {
  return {
    name: `unpatchify ${batch}x${channels} of ${tokenChannels}, ${h}x${w}`,
    inputs: () => ({ tokens: random([batch, (h * w) / 4, 4 * tokenChannels], 1) }),
    outputs: { y: [batch, channels, h, w] },
    record: (rec, t) => unpatchify(rec, t.tokens!, t.y!, 2),
    reference: ({ tokens }) => {
      const out = new Float32Array(batch * channels * h * w);
      for (let b = 0; b < batch; b++)
        for (let c = 0; c < channels; c++)
          for (let y = 0; y < h; y++)
            for (let x = 0; x < w; x++) {
              const token = (b * h * w) / 4 + (y >> 1) * (w / 2) + (x >> 1);
              const cell = (y & 1) * 2 + (x & 1);
              out[((b * channels + c) * h + y) * w + x] = tokens![(token * 4 + cell) * tokenChannels + c]!;
            }
      return { y: out };
    },
    tolerance: 0, // a copy
  };
}

function finiteCase(name: string, values: Float32Array, expected: number): KernelCase {
  const asFloat = (bits: number): Float32Array => new Float32Array(Uint32Array.of(bits).buffer);
  return {
    name: `check_finite ${name}`,
    inputs: () => ({
      x: { shape: [values.length], data: values },
      flag: { shape: [1], data: asFloat(0x7f000000) }, // a large finite number as float, a large integer as bits
    }),
    outputs: { flag: [1] },
    record: (rec, t) => {
      checkFinite(rec, t.x!, t.flag!, 0x3f800000); // the bits of 1.0f
      checkFinite(rec, t.x!, t.flag!, 0x40000000); // a later stage must not win
    },
    reference: () => ({ flag: asFloat(expected) }),
    tolerance: 0,
  };
}

function withValue(count: number, at: number, value: number): Float32Array {
  const out = randomArray(count, 3);
  out[at] = value;
  return out;
}

export default {
  kernel: "elementwise",
  cases: [
    patchifyCase(1, 2, 4, 16, 16, 16),
    patchifyCase(2, 2, 4, 6, 26, 16),
    patchifyCase(1, 1, 3, 2, 2, 12),
    patchifyCase(1, 1, 1, 4, 2, 8), // depth padded
    unpatchifyCase(2, 4, 8, 6, 26),
    unpatchifyCase(1, 4, 4, 2, 2),
    ...[0, 128].map((first): KernelCase => ({
      name: `add_position 2 x 5x13 x 72 from ${first}`,
      inputs: () => ({ x: random([130 - first, 72], 1), columns: random([13, 36], 2), rows: random([5, 36], 3) }),
      outputs: { x: [130 - first, 72] },
      record: (rec, t) => addPosition(rec, t.x!, t.columns!, t.rows!, first),
      reference: ({ x, columns, rows }) => ({
        x: x!.map((value, i) => {
          const c = i % 72;
          const token = (first + Math.floor(i / 72)) % 65;
          return value + (c < 36 ? columns![(token % 13) * 36 + c]! : rows![Math.floor(token / 13) * 36 + c - 36]!);
        }),
      }),
      tolerance: ROUNDING,
    })),
    ...[
      { k: 28, batch: 2, width: 6912, tWidth: 6912 },
      { k: 1, batch: 3, width: 144, tWidth: 72 },
    ].map(({ k, batch, width, tWidth }): KernelCase => ({
      name: `modulation ${k}x${batch}x${width}`,
      inputs: () => ({ tables: random([k, width], 1), t: random([batch, tWidth], 2) }),
      outputs: { y: [k, batch, width] },
      record: (rec, t) => modulation(rec, t.tables!, t.t!, t.y!),
      reference: ({ tables, t }) => ({
        y: Float32Array.from({ length: k * batch * width }, (_, i) => {
          const j = i % width;
          return (
            tables![Math.floor(i / (width * batch)) * width + j]! +
            t![(Math.floor(i / width) % batch) * tWidth + (j % tWidth)]!
          );
        }),
      }),
      tolerance: ROUNDING,
    })),
    {
      name: "silu, far ends included",
      inputs: () => ({ x: { shape: [7], data: Float32Array.of(-1e4, -90, -3, 0, 2, 90, 1e4) } }),
      outputs: { y: [7] },
      record: (rec, t) => silu(rec, t.x!, t.y!),
      reference: ({ x }) => ({ y: x!.map((v) => v / (1 + Math.exp(-v))) }),
      tolerance: 1e-6, // exp is good to a few units in the last place
    },
    ...[
      { name: "without guidance", offset: 0, limit: 3.4e38 },
      { name: "both halves in one tensor", offset: 240, limit: 3.4e38 },
      { name: "x0 clamped", offset: 240, limit: 0.5 },
    ].map(({ name, offset, limit }): KernelCase => ({
      name: `guide_and_step ${name}`,
      inputs: () => ({
        step: { shape: [9], data: Float32Array.of(0.9, 1.3, -0.4, limit, 0.7, 0.2, -0.6, 0.35, 4.5) },
        output: random([2, 4, 6, 10], 1),
        latents: random([1, 4, 6, 10], 2),
        previousX0: random([1, 4, 6, 10], 3),
      }),
      outputs: { latents: [1, 4, 6, 10], previousX0: [1, 4, 6, 10] },
      record: (rec, t) =>
        guideAndStep(
          rec,
          {
            step: t.step!,
            unconditional: t.output!,
            conditional: t.output!,
            latents: t.latents!,
            previousX0: t.previousX0!,
          },
          offset,
        ),
      reference: ({ step: s, output, latents, previousX0 }) => {
        const guided = latents!.map((_, i) => output![i]! + s![8]! * (output![offset + i]! - output![i]!));
        const x0 = latents!.map((x, i) => Math.min(Math.max(s![1]! * x + s![2]! * guided[i]!, -limit), limit));
        return {
          latents: latents!.map(
            (x, i) => s![4]! * x + s![5]! * guided[i]! + s![6]! * x0[i]! + s![7]! * previousX0![i]!,
          ),
          previousX0: x0,
        };
      },
      tolerance: ROUNDING,
    })),
    finiteCase("all well", randomArray(5000, 1, 1e30), 0x7f000000),
    finiteCase("NaN", withValue(5000, 4999, NaN), 0x3f800000),
    finiteCase("infinity", withValue(70000, 66000, -Infinity), 0x3f800000),
    finiteCase("one value", Float32Array.of(Infinity), 0x3f800000),
  ],
} satisfies KernelCases;
