import { random, randomArray, type KernelCase, type KernelCases } from "./case.ts";
import { scanTokens } from "./conv1d.ref.ts";
import { ssdPrepare } from "./ssd_prepare.ts";
import type { ScanGrid } from "./ssd_shape.ts";

/** log(1 + exp(x)) in f64, without overflow. */
export const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

function prepareCase(
  name: string,
  grid: ScanGrid,
  heads: number,
  chunk: number,
  scale: number,
  mean: number,
  { firstHead, allHeads } = { firstHead: 0, allHeads: heads },
): KernelCase {
  const { batch, height, width, order, directions } = grid;
  const tokens = height * width;
  const sequences = directions * batch;
  const chunks = Math.ceil(tokens / chunk);
  const steps = [sequences, heads, chunks, chunk];
  return {
    name: `${name}, ${order} ${batch}x${height}x${width} ${directions} direction(s), heads ${firstHead} to ${firstHead + heads} of ${allHeads}, chunk ${chunk}`,
    inputs: () => ({
      dt: { shape: [batch, tokens, allHeads], data: randomArray(batch * tokens * allHeads, 1, scale, mean) },
      dtBias: random([allHeads], 2),
      aLog: { shape: [allHeads], data: randomArray(allHeads, 3, 0.7, 1) },
    }),
    outputs: { step: steps, decay: steps, weight: steps },
    record: (rec, t) =>
      ssdPrepare(
        rec,
        { dt: t.dt!, dtBias: t.dtBias!, aLog: t.aLog!, step: t.step!, decay: t.decay!, weight: t.weight! },
        grid,
        { sequences, tokens, heads, firstHead, headDim: 4, state: 4, chunk },
      ),
    reference: ({ dt, dtBias, aLog }) => {
      const size = sequences * heads * chunks * chunk;
      const out = { step: new Float32Array(size), decay: new Float32Array(size), weight: new Float32Array(size) };
      for (let s = 0; s < sequences; s++) {
        const order = scanTokens(grid, s >= batch);
        for (let m = 0; m < heads; m++) {
          for (let first = 0; first < chunks * chunk; first += chunk) {
            const at = (s * heads + m) * chunks * chunk + first;
            const running: number[] = [];
            let sum = 0;
            for (let q = 0; q < chunk; q++) {
              const token = order[first + q]; // none past the end: step 0, decay 1
              const step =
                token === undefined
                  ? 0
                  : softplus(dt![((s % batch) * tokens + token) * allHeads + firstHead + m]! + dtBias![firstHead + m]!);
              sum += Math.max(-Math.exp(aLog![firstHead + m]!) * step, -32);
              running.push(sum);
              out.step[at + q] = step;
              out.decay[at + q] = sum;
            }
            running.forEach((f, q) => (out.weight[at + q] = Math.exp(sum - f) * out.step[at + q]!));
          }
        }
      }
      return out;
    },
    tolerance: 1e-5, // an f32 running sum of 128 terms, rounded 128 times, then in an exponent of up to 100
  };
}

export default {
  kernel: "ssd_prepare",
  cases: [
    prepareCase("typical", { batch: 1, height: 5, width: 13, order: "mamba_h", directions: 2 }, 9, 32, 1, -4),
    prepareCase("typical", { batch: 2, height: 5, width: 13, order: "mamba_w", directions: 2 }, 3, 16, 1, -4),
    prepareCase("large dt", { batch: 1, height: 3, width: 50, order: "mamba_h", directions: 1 }, 5, 128, 100, 0),
    prepareCase("typical", { batch: 2, height: 5, width: 13, order: "mamba_h", directions: 2 }, 3, 16, 1, -4, {
      firstHead: 5,
      allHeads: 9,
    }),
    prepareCase("tiny dt", { batch: 2, height: 1, width: 1, order: "mamba_w", directions: 2 }, 36, 4, 1, -14),
  ],
} satisfies KernelCases;
