import { random, randomArray, type KernelCase, type KernelCases } from "./case.ts";
import { four } from "./conv2d.ts";
import { copyRows, groupNormFinalise, groupNormPartial, groupStatistics } from "./group_norm.ts";

interface Shape {
  height: number;
  width: number;
  channels: number;
  groups: number;
  /** Heights of the bands the image is seen in. */
  bands: number[];
  silu?: boolean;
  /** Added to every value, to try the accuracy of the variance. */
  mean?: number;
  benchOnly?: boolean;
}

const EPS = 1e-6;

/** Whole GroupNorm: statistics from bands, then applied to the image in two pieces. */
function groupNormCase(s: Shape): KernelCase {
  const { height, width, channels, groups, bands, silu = false, mean = 0 } = s;
  const stored = four(channels);
  return {
    name: `${height}x${width}x${channels}/${groups} bands ${bands}${silu ? " silu" : ""}${mean ? ` mean ${mean}` : ""}`,
    inputs: () => {
      const x = { shape: [height, width, stored], data: randomArray(height * width * stored, 1, 1, mean) };
      for (let i = 0; i < x.data.length; i++) {
        if (i % stored >= channels) x.data[i] = 0;
        else x.data[i] = x.data[i]! + (i % 7) * 0.1 * (i % stored); // channels and rows that differ
      }
      return { x, weight: random([channels], 2), bias: random([channels], 3) };
    },
    outputs: { y: [height, width, stored] },
    record: (rec, t) => {
      const statistics = groupStatistics(rec, "norm", width, channels, bands);
      let row = 0;
      for (const rows of bands) {
        const band = rec.temp(`band ${row}`, [rows, width, stored]);
        copyRows(rec, { tensor: t.x!, first: 0 }, { tensor: band, first: row }, { from: row, to: row + rows });
        groupNormPartial(rec, { tensor: band, first: row }, statistics, row, row + rows);
        row += rows;
      }
      const scaleShift = rec.temp("scale_shift", [2, stored]);
      groupNormFinalise(rec, statistics, { weight: t.weight!, bias: t.bias!, groups, eps: EPS }, scaleShift);
      const middle = Math.ceil(height / 2);
      const x = { tensor: t.x!, first: 0 };
      const y = { tensor: t.y!, first: 0 };
      copyRows(rec, x, y, { from: 0, to: middle, scaleShift, silu });
      if (middle < height) copyRows(rec, x, y, { from: middle, to: height, scaleShift, silu });
    },
    reference: ({ x, weight, bias }) => {
      const y = new Float32Array(x!.length);
      const size = channels / groups;
      for (let g = 0; g < groups; g++) {
        const indices: number[] = [];
        for (let p = 0; p < height * width; p++) for (let c = 0; c < size; c++) indices.push(p * stored + g * size + c);
        const average = indices.reduce((sum, i) => sum + x![i]!, 0) / indices.length;
        const variance = indices.reduce((sum, i) => sum + (x![i]! - average) ** 2, 0) / indices.length;
        for (const i of indices) {
          const value = ((x![i]! - average) / Math.sqrt(variance + EPS)) * weight![i % stored]! + bias![i % stored]!;
          y[i] = silu ? value / (1 + Math.exp(-value)) : value;
        }
      }
      return { y };
    },
    // x scale + shift cancels about mean / deviation of f32's digits when the mean is large; the statistics themselves do not.
    tolerance: mean ? 1e-6 * Math.abs(mean) : 1e-6,
    ...(s.benchOnly ? { bench: { bytes: 12 * height * width * stored }, benchOnly: true } : {}),
  };
}

export default {
  kernel: "group_norm",
  cases: [
    groupNormCase({ height: 12, width: 20, channels: 32, groups: 8, bands: [12] }),
    groupNormCase({ height: 13, width: 21, channels: 32, groups: 32, bands: [5, 1, 7], silu: true }),
    groupNormCase({ height: 1, width: 1, channels: 16, groups: 8, bands: [1], silu: true }), // two values a group
    groupNormCase({ height: 5, width: 3, channels: 6, groups: 2, bands: [2, 3] }), // groups across vec4s, padded channels
    groupNormCase({ height: 40, width: 33, channels: 12, groups: 3, bands: [39, 1], mean: 100 }),
    groupNormCase({ height: 300, width: 256, channels: 4, groups: 2, bands: [199, 101], mean: 10 }), // chunks of two blocks
    groupNormCase({ height: 9, width: 8, channels: 320, groups: 32, bands: [4, 5] }),
    groupNormCase({
      height: 256,
      width: 256,
      channels: 128,
      groups: 32,
      bands: [128, 128],
      silu: true,
      benchOnly: true,
    }),
  ],
} satisfies KernelCases;
