/** Carries out the recipes of `layout.ts`, a few rows at a time, so that memory does not grow with the model. */
import { ScanvasError } from "../../src/errors.ts";
import type { Output, Recipe, Source } from "./layout.ts";
import type { TensorSource } from "./source.ts";
import { readElements } from "./source.ts";

/** Elements read at once (4 MiB in f32). */
const BLOCK = 2 ** 20;

/**
 * The values of rows [from, to) of one output in order, in blocks of whole rows.
 * @throws NumericalError naming the source tensor at the first NaN or Inf
 */
export async function* produce(
  output: Output,
  source: TensorSource,
  from = 0,
  to = output.shape[0],
): AsyncGenerator<Float32Array> {
  const { recipe, shape } = output;
  const row = shape.slice(1).reduce((a, b) => a * b, 1);
  if (recipe.kind === "zeros") yield new Float32Array((to - from) * row);
  else if (recipe.kind === "rows") yield* rows(recipe, source, (from * row) / recipe.row, (to * row) / recipe.row);
  else for await (const all of fold(recipe, shape, source)) yield all.subarray(from * row, to * row);
}

/** The name under which the input has `wanted`: its own, or an alias. */
export function resolve(source: TensorSource, wanted: Source): string | undefined {
  return [wanted.name, ...(wanted.aliases ?? [])].find((name) => source.tensors.has(name));
}

/** Rows [from, to) of the recipe, which count through its sources. */
async function* rows(
  recipe: Recipe & { kind: "rows" },
  source: TensorSource,
  from: number,
  to: number,
): AsyncGenerator<Float32Array> {
  const { channels, taps, stride, row } = recipe;
  const length = channels * taps;
  const step = Math.max(1, Math.floor(BLOCK / row));
  let first = 0; // row of the recipe at which a source starts
  for (const wanted of recipe.sources) {
    const total = wanted.shape.reduce((a, b) => a * b, 1) / length;
    const end = Math.min(total, to - first);
    for (let begin = Math.max(0, from - first); begin < end; begin += step) {
      const count = Math.min(step, end - begin);
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
    first += total;
  }
}

/** [ fuse[:, :D] out | fuse[:, D:] out ], sums in f64. The one recipe that holds its sources whole (32 MB at full size). */
async function* fold(
  recipe: Recipe & { kind: "fold" },
  shape: number[],
  source: TensorSource,
): AsyncGenerator<Float32Array> {
  const [d, inner] = recipe.out.shape;
  const row = shape[1];
  const out = await read(source, recipe.out, 0, d * inner);
  const folded = new Float32Array(d * row);
  if (!recipe.fuse) {
    for (let r = 0; r < d; r++) folded.set(out.subarray(r * inner, (r + 1) * inner), r * row);
  } else {
    const columns = recipe.fuse.shape[1];
    const fuse = Float64Array.from(await read(source, recipe.fuse, 0, d * columns));
    for (let half = 0; half * d < columns; half++) {
      multiply(fuse.subarray(half * d), columns, out, inner, folded.subarray(half * inner), row, d);
    }
  }
  yield folded;
}

/**
 * c [d, width] = a [d, d] . b [d, width], rows of `a` and `c` at the given strides. Four columns of b are copied together and
 * meet two rows of a at a time: eight sums in registers, about 1.5 times as fast as row by row.
 */
function multiply(
  a: Float64Array,
  strideA: number,
  b: Float32Array,
  width: number,
  c: Float32Array,
  strideC: number,
  d: number,
): void {
  const panel = new Float64Array(d * 4);
  for (let column = 0; column < width; column += 4) {
    const used = Math.min(4, width - column);
    for (let k = 0; k < d; k++) for (let i = 0; i < used; i++) panel[k * 4 + i] = b[k * width + column + i];
    for (let r = 0; r < d; r += 2) {
      const first = r * strideA;
      const second = Math.min(r + 1, d - 1) * strideA;
      let [s0, s1, s2, s3] = [0, 0, 0, 0];
      let [t0, t1, t2, t3] = [0, 0, 0, 0];
      for (let k = 0, p = 0; k < d; k++, p += 4) {
        const x = a[first + k];
        const y = a[second + k];
        s0 += x * panel[p];
        s1 += x * panel[p + 1];
        s2 += x * panel[p + 2];
        s3 += x * panel[p + 3];
        t0 += y * panel[p];
        t1 += y * panel[p + 1];
        t2 += y * panel[p + 2];
        t3 += y * panel[p + 3];
      }
      c.set([s0, s1, s2, s3].slice(0, used), r * strideC + column);
      if (r + 1 < d) c.set([t0, t1, t2, t3].slice(0, used), (r + 1) * strideC + column);
    }
  }
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
