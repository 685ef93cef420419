import type { WeightType } from "../gpu/tensor.ts";
import { precision, random, type HostTensor, type KernelCase, type KernelCases } from "./case.ts";
import { conv2d, four, inputRows, type Conv2dVariant } from "./conv2d.ts";

interface Shape {
  height: number;
  width: number;
  channels: number;
  outputs: number;
  side?: 1 | 3;
  variant: Conv2dVariant;
  weights?: WeightType;
  upsample?: boolean;
  residual?: "tensor" | "y";
  noBias?: boolean;
  /** Output rows to compute; x then holds only the rows they need, and `above` more. */
  band?: [number, number];
  above?: number;
  bench?: boolean;
}

/** [rows, width, four(channels)] with zeros in the channels that are not there. */
function activation(rows: number, width: number, channels: number, seed: number): HostTensor {
  const stored = four(channels);
  const made = random([rows, width, stored], seed);
  for (let i = 0; i < made.data.length; i++) if (i % stored >= channels) made.data[i] = 0;
  return made;
}

export function conv2dCase(s: Shape): KernelCase {
  const { height, width, channels, outputs, side = 3, variant, upsample = false, residual, band, above = 0 } = s;
  const [from, to] = band ?? [0, height];
  const [low, high] = inputRows(from, to, height, side, upsample);
  const first = Math.max(0, low - above);
  const xRows = high - first;
  const xWidth = upsample ? width / 2 : width;
  const xHeight = upsample ? height / 2 : height;
  const padded = four(channels);
  const stored = four(outputs);
  const yFirst = band ? Math.max(0, from - 1) : 0; // y holds a row that is not to be touched, where there is one
  const yRows = Math.min(height, to + 1) - yFirst;
  const options = [
    side === 1 && "1x1",
    s.weights,
    upsample && "upsample",
    residual && `residual ${residual}`,
    s.noBias && "no bias",
  ];
  return {
    name: `${variant} ${height}x${width} ${channels}->${outputs} ${options.filter(Boolean).join(" ")} ${band ? `rows ${band}` : ""}`.trim(),
    inputs: () => ({
      x: activation(xRows, xWidth, channels, 1),
      w: random([outputs, side * side * padded], 2, 1 / Math.sqrt(side * side * channels), s.weights ?? "f32"),
      ...(s.noBias ? {} : { bias: random([outputs], 3) }),
      ...(residual === "tensor" ? { residual: activation(to - from, width, outputs, 4) } : {}),
      y: activation(yRows, width, outputs, 5),
    }),
    outputs: { y: [yRows, width, stored] },
    record: (rec, t) =>
      conv2d(
        rec,
        { tensor: t.x!, first },
        t.w!,
        { tensor: t.y!, first: yFirst },
        {
          side,
          height,
          from,
          to,
          bias: t.bias,
          upsample,
          residual: residual === "tensor" ? { tensor: t.residual!, first: from } : residual,
          variant,
        },
      ),
    reference: ({ x, w, bias, residual: added, y: old }) => {
      const y = old!.slice();
      const pixel = (row: number, column: number, c: number): number => {
        if (row < 0 || row >= height || column < 0 || column >= width) return 0;
        const [sourceRow, sourceColumn] = upsample ? [row >> 1, column >> 1] : [row, column];
        if (sourceRow < first || sourceRow >= Math.min(xHeight, first + xRows)) throw new Error("x lacks a row");
        return x![((sourceRow - first) * xWidth + sourceColumn) * padded + c]!;
      };
      const margin = side >> 1;
      for (let row = from; row < to; row++) {
        for (let column = 0; column < width; column++) {
          for (let o = 0; o < outputs; o++) {
            let sum = bias?.[o] ?? 0;
            for (let dy = 0; dy < side; dy++) {
              for (let dx = 0; dx < side; dx++) {
                for (let c = 0; c < channels; c++) {
                  sum +=
                    w![(o * side * side + dy * side + dx) * padded + c]! *
                    pixel(row + dy - margin, column + dx - margin, c);
                }
              }
            }
            const at = ((row - yFirst) * width + column) * stored + o;
            if (residual === "y") sum += old![at]!;
            if (residual === "tensor") sum += added![((row - from) * width + column) * stored + o]!;
            y[at] = sum;
          }
        }
      }
      return { y };
    },
    // f32 sums of up to 864 products in another order. f16: operands rounded to 11 bits, products summed 16 at a time.
    ...precision(variant, 1e-6, { f16: 2e-3, halves: [] }),
    ...(s.bench ? { bench: {}, benchOnly: true } : {}),
  };
}

const variants: Conv2dVariant[] = ["register", "tile", "tile_f16"];

export default {
  kernel: "conv2d",
  cases: [
    ...variants.flatMap((variant) => [
      conv2dCase({ variant, height: 9, width: 11, channels: 16, outputs: 20 }),
      conv2dCase({ variant, height: 13, width: 12, channels: 64, outputs: 70, weights: "f16", residual: "tensor" }),
      conv2dCase({ variant, height: 1, width: 1, channels: 4, outputs: 32 }),
      conv2dCase({ variant, height: 6, width: 5, channels: 3, outputs: 3, noBias: true }), // padded channels
      conv2dCase({ variant, height: 7, width: 9, channels: 32, outputs: 16, side: 1, residual: "y" }),
      conv2dCase({ variant, height: 10, width: 14, channels: 8, outputs: 12, upsample: true }),
      conv2dCase({
        variant,
        height: 12,
        width: 7,
        channels: 8,
        outputs: 9,
        band: [4, 9],
        above: 1,
        residual: "tensor",
      }),
      conv2dCase({
        variant,
        height: 12,
        width: 6,
        channels: 8,
        outputs: 8,
        band: [9, 12],
        upsample: true,
        residual: "y",
      }),
      conv2dCase({
        variant,
        height: 12,
        width: 6,
        channels: 4,
        outputs: 8,
        band: [0, 3],
        upsample: true,
        weights: "f16",
      }),
    ]),
    ...(["register", "tile"] as const).flatMap((variant) =>
      (["q8", "q4"] as const).flatMap((weights) => [
        conv2dCase({ variant, weights, height: 5, width: 7, channels: 32, outputs: 9 }), // nine blocks: an odd number
        conv2dCase({ variant, weights, height: 3, width: 6, channels: 96, outputs: 70, residual: "tensor" }),
        conv2dCase({ variant, weights, height: 9, width: 5, channels: 64, outputs: 16, side: 1, residual: "y" }),
        conv2dCase({ variant, weights, height: 12, width: 6, channels: 32, outputs: 8, band: [3, 8], upsample: true }),
      ]),
    ),
    ...variants.flatMap((variant) => [
      conv2dCase({ variant, height: 256, width: 256, channels: 128, outputs: 128, bench: true }),
      conv2dCase({ variant, height: 64, width: 64, channels: 64, outputs: 64, bench: true }),
    ]),
    conv2dCase({ variant: "tile", height: 256, width: 256, channels: 128, outputs: 128, weights: "f16", bench: true }),
    ...variants.flatMap((variant) =>
      (["f16", "q8", "q4"] as const).map((weights) =>
        conv2dCase({ variant, height: 64, width: 64, channels: 64, outputs: 64, weights, bench: true }),
      ),
    ),
  ],
} satisfies KernelCases;
