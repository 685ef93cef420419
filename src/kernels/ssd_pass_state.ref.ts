import { random, randomArray, type KernelCase, type KernelCases } from "./case.ts";
import { ssdPassState } from "./ssd_pass_state.ts";
import { chunksOf, type SsdShape } from "./ssd_shape.ts";

function passStateCase(shape: SsdShape, first: number, count: number, rate: number): KernelCase {
  const { sequences, heads, headDim, state, chunk } = shape;
  const chunks = chunksOf(shape);
  const size = state * headDim;
  return {
    name: `${chunks} chunks, lanes ${first}+${count}, state ${state}x${headDim}, log decay ${rate} a chunk`,
    inputs: () => ({
      decay: {
        shape: [sequences, heads, chunks, chunk],
        data: randomArray(sequences * heads * chunks * chunk, 1).map((v) => rate * Math.abs(v)),
      },
      states: random([count, chunks - 1, state, headDim], 2),
    }),
    outputs: { states: [count, chunks - 1, state, headDim] },
    record: (rec, t) => ssdPassState(rec, { decay: t.decay!, states: t.states! }, shape, { first, count }),
    reference: ({ decay, states }) => {
      const out = states!.slice();
      for (let lane = 0; lane < count; lane++) {
        for (let i = 0; i < size; i++) {
          let h = 0;
          for (let c = 0; c < chunks - 1; c++) {
            const at = (lane * (chunks - 1) + c) * size + i;
            h = Math.exp(decay![((first + lane) * chunks + c) * chunk + chunk - 1]!) * h + states![at]!;
            out[at] = h;
          }
        }
      }
      return { states: out };
    },
    tolerance: 1e-6, // exp 3 + 2|x| ulp and one rounding a chunk
  };
}

export default {
  kernel: "ssd_pass_state",
  cases: [
    passStateCase({ sequences: 2, tokens: 77, heads: 3, headDim: 16, state: 24, chunk: 16 }, 1, 4, -0.5),
    passStateCase({ sequences: 1, tokens: 400, heads: 2, headDim: 64, state: 8, chunk: 4 }, 1, 1, -0.01),
    passStateCase({ sequences: 1, tokens: 10, heads: 1, headDim: 4, state: 4, chunk: 4 }, 0, 1, -200),
  ],
} satisfies KernelCases;
