/** Carries out the recipes of `layout.ts`, a few rows at a time, so that memory does not grow with the model. */
import { ScanvasError } from "../../src/errors.ts";
import type { Output, Recipe, Source } from "./layout.ts";
import type { TensorSource } from "./source.ts";
import { readElements } from "./source.ts";

/** Elements read at once (4 MiB in f32). */
const BLOCK = 2 ** 20;

/** The values of one output in order, in blocks. @throws NumericalError naming the source tensor at the first NaN or Inf */
export async function* produce(output: Output, source: TensorSource): AsyncGenerator<Float32Array> {
  const { recipe } = output;
  if (recipe.kind === "zeros") yield new Float32Array(output.shape.reduce((a, b) => a * b, 1));
  else if (recipe.kind === "rows") yield* rows(recipe, source);
  else yield* fold(recipe, output.shape, source);
}

/** The name under which the input has `wanted`: its own, or an alias. */
export function resolve(source: TensorSource, wanted: Source): string | undefined {
  return [wanted.name, ...(wanted.aliases ?? [])].find((name) => source.tensors.has(name));
}

async function* rows(recipe: Recipe & { kind: "rows" }, source: TensorSource): AsyncGenerator<Float32Array> {
  const { channels, taps, stride, row } = recipe;
  const length = channels * taps;
  const step = Math.max(1, Math.floor(BLOCK / row));
  for (const wanted of recipe.sources) {
    const total = wanted.shape.reduce((a, b) => a * b, 1) / length;
    for (let begin = 0; begin < total; begin += step) {
      const count = Math.min(step, total - begin);
      const values = await read(source, wanted, begin * length, count * length);
      if (row === length && (taps === 1 || channels === 1)) {
        yield values;
        continue;
      }
      const out = new Float32Array(count * row);
      for (let r = 0; r < count; r++) {
        for (let c = 0; c < channels; c++) {
          for (let t = 0; t < taps; t++) out[r * row + t * stride + c] = values[r * length + c * taps + t];
        }
      }
      yield out;
    }
  }
}

/** [ fuse[:, :D] out | fuse[:, D:] out ], sums in f64, four rows at a time. */
async function* fold(
  recipe: Recipe & { kind: "fold" },
  shape: number[],
  source: TensorSource,
): AsyncGenerator<Float32Array> {
  const [d, inner] = recipe.out.shape;
  const row = shape[1];
  const out = await read(source, recipe.out, 0, d * inner);
  const columns = recipe.fuse ? recipe.fuse.shape[1] : d;
  const fuse = recipe.fuse && (await read(source, recipe.fuse, 0, d * columns));
  const step = Math.max(1, Math.floor(BLOCK / row));
  for (let begin = 0; begin < d; begin += step) {
    const count = Math.min(step, d - begin);
    const block = new Float32Array(count * row);
    for (let r = 0; r < count; r++) {
      if (!fuse) {
        block.set(out.subarray((begin + r) * inner, (begin + r + 1) * inner), r * row);
        continue;
      }
      for (let half = 0; half * d < columns; half++) {
        const weights = fuse.subarray((begin + r) * columns + half * d, (begin + r) * columns + (half + 1) * d);
        block.set(combine(weights, out, inner), r * row + half * inner);
      }
    }
    yield block;
  }
}

/** weights [D] . matrix [D, width], sums in f64; four rows of the matrix per pass. */
function combine(weights: Float32Array, matrix: Float32Array, width: number): Float64Array {
  const sums = new Float64Array(width);
  const depth = weights.length;
  let k = 0;
  for (; k + 4 <= depth; k += 4) {
    const [a, b, c, d] = [weights[k], weights[k + 1], weights[k + 2], weights[k + 3]];
    const at = k * width;
    for (let i = 0; i < width; i++) {
      sums[i] +=
        a * matrix[at + i] +
        b * matrix[at + width + i] +
        c * matrix[at + 2 * width + i] +
        d * matrix[at + 3 * width + i];
    }
  }
  for (; k < depth; k++) for (let i = 0; i < width; i++) sums[i] += weights[k] * matrix[k * width + i];
  return sums;
}

async function read(source: TensorSource, wanted: Source, begin: number, count: number): Promise<Float32Array> {
  const name = resolve(source, wanted)!;
  const values = await readElements(source, name, begin, count);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i] & 0x7f800000) === 0x7f800000) {
      throw new ScanvasError(
        "NumericalError",
        `tensor "${name}": element ${begin + i} is ${values[i]}; the model is broken`,
      );
    }
  }
  return values;
}
