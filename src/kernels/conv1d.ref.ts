import { inHalf, random, randomArray, type KernelCase, type KernelCases } from "./case.ts";
import { conv1d } from "./conv1d.ts";
import type { ScanGrid } from "./ssd_shape.ts";

/** The token at position p of a scan: the contract's orders, written out as lists. */
export function scanTokens({ height, width, order }: ScanGrid, backward: boolean): number[] {
  const tokens: number[] = [];
  if (order === "mamba_w") for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) tokens.push(r * width + c);
  else for (let c = 0; c < width; c++) for (let r = 0; r < height; r++) tokens.push(r * width + c);
  return backward ? tokens.reverse() : tokens;
}

interface Shape {
  grid: ScanGrid;
  inner: number;
  state: number;
  taps: number;
  bench?: boolean;
}

/** One of the calls that make up a whole: `first` of all channels, those of x alone or of B and C alone. */
function partCase(
  part: { x: number; state: number; first: number; all: number },
  g: ScanGrid,
  taps: number,
): KernelCase {
  const whole = conv1dCase({ grid: g, inner: part.x, state: part.state, taps });
  const { first, all } = part;
  return {
    ...whole,
    name: `channels ${first} to ${first + part.x + 2 * part.state} of ${all}, ${whole.name}`,
    inputs: () => ({ ...whole.inputs(), weight: random([all, taps], 2, 0.6), bias: random([all], 3, 0.3) }),
    outputs: Object.fromEntries(Object.entries(whole.outputs).filter(([, shape]) => shape[2]! > 0)),
    record: (rec, t) =>
      conv1d(
        rec,
        {
          xbc: t.xbc!,
          weight: t.weight!,
          bias: t.bias!,
          ...(t.x && { x: t.x }),
          ...(t.b && { b: t.b }),
          ...(t.c && { c: t.c }),
        },
        g,
        first,
      ),
    reference: ({ xbc, weight, bias }) =>
      whole.reference({ xbc: xbc!, weight: weight!.subarray(first * taps), bias: bias!.subarray(first) }),
  };
}

function conv1dCase({ grid, inner, state, taps, bench }: Shape): KernelCase {
  const { batch, height, width, order, directions } = grid;
  const tokens = height * width;
  const sequences = directions * batch;
  const channels = inner + 2 * state;
  return {
    name: `${order} ${batch}x${height}x${width} ${directions} direction(s), ${inner}+2*${state} channels, ${taps} taps`,
    inputs: () => {
      const xbc = random([batch, tokens, channels], 1);
      xbc.data[0] = 300; // silu must neither overflow
      xbc.data[channels] = -300; // nor become NaN
      return {
        xbc,
        weight: { shape: [channels, taps], data: randomArray(channels * taps, 2, 0.6) },
        bias: random([channels], 3, 0.3),
      };
    },
    outputs: { x: [sequences, tokens, inner], b: [sequences, tokens, state], c: [sequences, tokens, state] },
    record: (rec, t) => conv1d(rec, { xbc: t.xbc!, weight: t.weight!, bias: t.bias!, x: t.x!, b: t.b!, c: t.c! }, grid),
    reference: ({ xbc, weight, bias }) => {
      const x = new Float32Array(sequences * tokens * inner);
      const b = new Float32Array(sequences * tokens * state);
      const c = new Float32Array(sequences * tokens * state);
      for (let s = 0; s < sequences; s++) {
        const order = scanTokens(grid, s >= batch);
        for (let p = 0; p < tokens; p++) {
          for (let channel = 0; channel < channels; channel++) {
            let sum = bias![channel]!;
            for (let k = 0; k < taps; k++) {
              const from = p - (taps - 1) + k;
              if (from >= 0)
                sum += weight![channel * taps + k]! * xbc![((s % batch) * tokens + order[from]!) * channels + channel]!;
            }
            const value = sum / (1 + Math.exp(-sum));
            const row = s * tokens + p;
            if (channel < inner) x[row * inner + channel] = value;
            else if (channel < inner + state) b[row * state + channel - inner] = value;
            else c[row * state + channel - inner - state] = value;
          }
        }
      }
      return { x, b, c };
    },
    tolerance: 1e-6, // a few f32 products; WGSL allows exp 3 + 2|x| ulp
    ...(bench ? { bench: { bytes: 4 * tokens * channels * (batch + sequences) }, benchOnly: true } : {}),
  };
}

const grid = (height: number, width: number, order: ScanGrid["order"], directions: 1 | 2, batch = 1): ScanGrid => ({
  batch,
  height,
  width,
  order,
  directions,
});

export default {
  kernel: "conv1d",
  cases: [
    conv1dCase({ grid: grid(5, 13, "mamba_w", 2), inner: 144, state: 24, taps: 4 }),
    conv1dCase({ grid: grid(5, 13, "mamba_h", 2, 2), inner: 144, state: 24, taps: 4 }),
    conv1dCase({ grid: grid(13, 5, "mamba_h", 1), inner: 64, state: 8, taps: 3 }),
    conv1dCase({ grid: grid(1, 1, "mamba_h", 2), inner: 16, state: 4, taps: 4 }),
    conv1dCase({ grid: grid(1, 7, "mamba_w", 1, 3), inner: 260, state: 4, taps: 1 }),
    partCase({ x: 48, state: 0, first: 32, all: 128 }, grid(5, 13, "mamba_h", 2, 2), 4),
    partCase({ x: 0, state: 24, first: 80, all: 128 }, grid(5, 13, "mamba_w", 2), 4),
    inHalf(conv1dCase({ grid: grid(5, 13, "mamba_h", 2), inner: 36, state: 8, taps: 4 }), ["xbc", "x", "b"], 4e-4),
    conv1dCase({ grid: grid(64, 64, "mamba_h", 2), inner: 2304, state: 256, taps: 4, bench: true }),
    conv1dCase({ grid: grid(64, 64, "mamba_w", 2), inner: 2304, state: 256, taps: 4, bench: true }),
  ],
} satisfies KernelCases;
