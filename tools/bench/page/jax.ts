/** jax-js' side of the races. Arrays are consumed by what they are given to, unless given as `.ref`. */
import type { Inputs, Work } from "./inputs.ts";
import type { Contender } from "./peers.ts";

interface JaxArray {
  readonly ref: JaxArray;
  reshape(shape: number[]): JaxArray;
  transpose(axes?: number[]): JaxArray;
  mul(other: JaxArray | number): JaxArray;
  add(other: JaxArray | number): JaxArray;
  sub(other: JaxArray | number): JaxArray;
  data(): Promise<Float32Array>;
  blockUntilReady(): Promise<JaxArray>;
  dispose(): void;
}

/** The part of the package that is used here; it is not installed where the types are checked. */
export interface JaxModule {
  init(...devices: string[]): Promise<string[]>;
  defaultDevice(device: string): string;
  jit<F extends (...args: JaxArray[]) => JaxArray>(f: F): F;
  blockUntilReady(x: JaxArray): Promise<JaxArray>;
  numpy: {
    array(data: Float32Array, options: { shape: number[] }): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
    einsum(subscripts: string, ...operands: JaxArray[]): JaxArray;
    exp(x: JaxArray): JaxArray;
    minimum(a: JaxArray, b: number): JaxArray;
    log1p(x: JaxArray): JaxArray;
    negative(x: JaxArray): JaxArray;
  };
  nn: { dotProductAttention(q: JaxArray, k: JaxArray, v: JaxArray): JaxArray };
}

export async function jaxContender(work: Work, data: Inputs, module: Promise<JaxModule>): Promise<Contender> {
  const jax = await module;
  const devices = await jax.init("webgpu");
  if (!devices.includes("webgpu")) throw new Error("jax-js found no WebGPU");
  jax.defaultDevice("webgpu");
  const np = jax.numpy;
  const array = (name: string, shape = data[name]!.shape): JaxArray => np.array(data[name]!.data, { shape });
  const given: JaxArray[] = [];
  let f: (...args: JaxArray[]) => JaxArray;
  switch (work.kind) {
    case "gemm":
      given.push(array("x"), array("w"));
      f = (x, w) => np.matmul(x, w.transpose());
      break;
    case "attention": {
      const { queries, keys, heads, headDim } = work;
      given.push(
        array("q", [1, queries, heads, headDim]),
        array("k", [1, keys, heads, headDim]),
        array("v", [1, keys, heads, headDim]),
      );
      f = (q, k, v) => jax.nn.dotProductAttention(q, k, v);
      break;
    }
    case "scan": {
      const constants = scanConstants(work.tokens);
      given.push(
        array("x", [work.tokens, work.heads, work.headDim]),
        array("b", [work.tokens, work.state]),
        array("c", [work.tokens, work.state]),
        array("dt", [work.tokens, work.heads]),
        array("dtBias"),
        array("aLog"),
        array("skip"),
        ...constants.map(({ shape, values }) => np.array(values, { shape })),
      );
      f = chunkedScan(np, work);
      break;
    }
    default:
      throw new Error(`jax-js takes no part in ${work.kind}`);
  }
  const compiled = jax.jit(f);
  let y: JaxArray | undefined;
  return {
    async run() {
      y?.dispose();
      y = compiled(...given.map((one) => one.ref));
      await y.blockUntilReady();
    },
    read: () => y!.ref.data(),
    dispose() {
      y?.dispose();
      given.forEach((one) => one.dispose());
    },
  };
}

const CHUNK = 64;

/** Triangles that the scan multiplies with or adds: sums along a chunk and over chunks, and what comes too late. */
function scanConstants(tokens: number): { shape: number[]; values: Float32Array }[] {
  const square = (n: number, value: (row: number, column: number) => number) => ({
    shape: [n, n],
    values: Float32Array.from({ length: n * n }, (_, i) => value(Math.floor(i / n), i % n)),
  });
  const chunks = tokens / CHUNK;
  return [
    square(CHUNK, (s, t) => (s <= t ? 1 : 0)), // inclusive sums in a chunk
    square(CHUNK, (t, s) => (s <= t ? 0 : -1e4)), // later positions of a chunk
    square(chunks, (j, c) => (j < c ? 1 : 0)), // exclusive sums over chunks
    square(chunks, (c, j) => (j < c ? 0 : -1e4)), // chunks that are not before
  ];
}

/** Mamba-2's scan as products over chunks (arXiv 2405.21060, listing 1), everything in one jit. */
function chunkedScan(np: JaxModule["numpy"], { tokens, heads, headDim, state }: Extract<Work, { kind: "scan" }>) {
  const chunks = tokens / CHUNK;
  return (...args: JaxArray[]): JaxArray => {
    const [x, b, c, dtRaw, dtBias, aLog, skip, sums, late, before, notBefore] = args as [JaxArray, ...JaxArray[]];
    const step = np.log1p(np.exp(dtRaw!.add(dtBias!))); // [T, M]
    const decay = step.ref.mul(np.negative(np.exp(aLog!)));
    const v = x.ref.mul(step.reshape([tokens, heads, 1])).reshape([chunks, CHUNK, heads, headDim]);
    const keys = b!.reshape([chunks, CHUNK, state]);
    const queries = c!.reshape([chunks, CHUNK, state]);
    const summed = np.einsum("csm,st->cmt", decay.reshape([chunks, CHUNK, heads]), sums!); // [c, M, Q] inclusive
    const last = np.einsum("cmt,t->cm", summed.ref, lastOf(np)); // [c, M]
    const inside = summed.ref
      .reshape([chunks, heads, CHUNK, 1])
      .sub(summed.ref.reshape([chunks, heads, 1, CHUNK]))
      .add(late!.reshape([1, 1, CHUNK, CHUNK]));
    const weights = np.exp(np.minimum(inside, 0));
    const product = np.einsum("ctn,csn->cts", queries.ref, keys.ref).reshape([chunks, 1, CHUNK, CHUNK]);
    const near = np.einsum("cmts,csmp->ctmp", product.mul(weights), v.ref);
    const toEnd = np.exp(last.ref.reshape([chunks, heads, 1]).sub(summed.ref)); // [c, M, Q]
    const states = np.einsum(
      "csn,cmsp->cmnp",
      keys,
      v.transpose([0, 2, 1, 3]).mul(toEnd.reshape([chunks, heads, CHUNK, 1])),
    );
    const offset = np.einsum("jm,jc->cm", last.ref, before!); // exclusive sums of whole chunks
    const between = offset.ref
      .reshape([chunks, 1, heads])
      .sub(offset.add(last).reshape([1, chunks, heads]))
      .add(notBefore!.reshape([chunks, chunks, 1]));
    const entering = np.einsum("cjm,jmnp->cmnp", np.exp(np.minimum(between, 0)), states);
    const far = np
      .einsum("ctn,cmnp->ctmp", queries, entering)
      .mul(np.exp(summed).transpose([0, 2, 1]).reshape([chunks, CHUNK, heads, 1]));
    const y = near.add(far).reshape([tokens, heads, headDim]);
    return y.add(x.mul(skip!.reshape([1, heads, 1])));
  };
}

const lastOf = (np: JaxModule["numpy"]): JaxArray => {
  const values = new Float32Array(CHUNK);
  values[CHUNK - 1] = 1;
  return np.array(values, { shape: [CHUNK] });
};
