/** Carries out the recipes of `layout.ts`, a few rows at a time, so that memory does not grow with the model. */
import { ScanvasError } from "../../src/errors.ts";
import { decodeFloats } from "../../src/numbers/half.ts";
import type { SafetensorsDtype } from "../../src/weights/safetensors.ts";
import type { Output, Recipe, Source } from "./layout.ts";
import { sourcesOf } from "./layout.ts";
import type { TensorSource } from "./source.ts";

/** Elements read at once (1 MiB in f32: they stay in the cache from one pass to the next). */
const BLOCK = 2 ** 18;

type Rows = Recipe & { kind: "rows" };

/**
 * The values of rows [from, to) of one output in order, in blocks of whole rows. A block may be changed.
 * @throws NumericalError naming the source tensor at the first NaN or Inf
 */
export async function* produce(
  output: Output,
  source: TensorSource,
  from = 0,
  to = output.shape[0],
): AsyncGenerator<Float32Array> {
  const { recipe } = output;
  const row = rowOf(output);
  if (recipe.kind === "zeros") yield new Float32Array((to - from) * row);
  else if (recipe.kind === "fold")
    for await (const all of fold(recipe, row, source)) yield all.subarray(from * row, to * row);
  else for (const span of spans(recipe, row, from, to)) yield permute(recipe, await readValues(source, span));
}

/** Whether the stored bytes of an output are those of its sources, one after the other, when it is stored as `dtype`. */
export function isCopy({ recipe }: Output, dtype: string, source: TensorSource): boolean {
  if (recipe.kind !== "rows" || !isPlain(recipe)) return false;
  return sourcesOf(recipe).every((wanted) => source.tensors.get(resolve(source, wanted)!)?.dtype === dtype);
}

/** The bytes of rows [from, to) of an output that `isCopy`. @throws as produce */
export async function* copy(
  output: Output,
  source: TensorSource,
  from: number,
  to: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (const span of spans(output.recipe as Rows, rowOf(output), from, to)) yield readFinite(source, span);
}

/** The name under which the input has `wanted`: its own, or an alias. */
export function resolve(source: TensorSource, wanted: Source): string | undefined {
  return [wanted.name, ...(wanted.aliases ?? [])].find((name) => source.tensors.has(name));
}

/** Elements of an output per step of its first axis. */
function rowOf({ shape }: Output): number {
  return shape.slice(1).reduce((a, b) => a * b, 1);
}

function isPlain({ channels, taps, row }: Rows): boolean {
  return row === channels * taps && (taps === 1 || channels === 1);
}

/** A run of elements of one source. */
interface Span {
  wanted: Source;
  begin: number;
  count: number;
}

/** What to read for rows [from, to) of an output of `outputRow` elements a row, in spans of whole rows. */
function* spans(recipe: Rows, outputRow: number, from: number, to: number): Generator<Span> {
  const length = recipe.channels * recipe.taps;
  const perRow = outputRow / recipe.row; // rows of the recipe in a row of the output
  const step = Math.max(1, Math.floor(BLOCK / outputRow)) * perRow;
  let first = 0; // row of the recipe at which a source starts
  for (const wanted of recipe.sources) {
    const total = wanted.shape.reduce((a, b) => a * b, 1) / length;
    const end = Math.min(total, to * perRow - first);
    for (let begin = Math.max(0, from * perRow - first); begin < end; begin += step) {
      yield { wanted, begin: begin * length, count: Math.min(step, end - begin) * length };
    }
    first += total;
  }
}

/** Source rows [channels, taps] -> rows of the recipe. */
function permute(recipe: Rows, values: Float32Array): Float32Array {
  if (isPlain(recipe)) return values;
  const { channels, taps, stride, row } = recipe;
  const length = channels * taps;
  const count = values.length / length;
  const out = new Float32Array(count * row);
  for (let r = 0; r < count; r++) {
    for (let c = 0; c < channels; c++) {
      for (let t = 0; t < taps; t++) out[r * row + t * stride + c] = values[r * length + c * taps + t];
    }
  }
  return out;
}

/** [ fuse[:, :D] out | fuse[:, D:] out ], sums in f64. The one recipe that holds its sources whole (32 MB at full size). */
async function* fold(
  recipe: Recipe & { kind: "fold" },
  row: number,
  source: TensorSource,
): AsyncGenerator<Float32Array> {
  const [d, inner] = recipe.out.shape;
  const out = await readValues(source, { wanted: recipe.out, begin: 0, count: d * inner });
  const folded = new Float32Array(d * row);
  if (!recipe.fuse) {
    for (let r = 0; r < d; r++) folded.set(out.subarray(r * inner, (r + 1) * inner), r * row);
  } else {
    const columns = recipe.fuse.shape[1];
    const fuse = Float64Array.from(await readValues(source, { wanted: recipe.fuse, begin: 0, count: d * columns }));
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

async function readValues(source: TensorSource, span: Span): Promise<Float32Array> {
  const bytes = await readFinite(source, span);
  const { dtype } = source.tensors.get(resolve(source, span.wanted)!)!;
  if (dtype === "F32") return new Float32Array(bytes.buffer, bytes.byteOffset, span.count);
  const values = new Float32Array(span.count);
  decodeFloats(bytes, dtype, values, `tensor "${span.wanted.name}"`);
  return values;
}

/** The bits that are all set in NaN and Inf, and only there. */
const EXPONENT: Partial<Record<SafetensorsDtype, number>> = { F32: 0x7f800000, F16: 0x7c00, BF16: 0x7f80 };

async function readFinite(source: TensorSource, { wanted, begin, count }: Span): Promise<Uint8Array<ArrayBuffer>> {
  const name = resolve(source, wanted)!;
  const { dtype } = source.tensors.get(name)!;
  const bytes = await source.read(name, begin, count);
  const mask = EXPONENT[dtype]!;
  const bits = new (dtype === "F32" ? Uint32Array : Uint16Array)(bytes.buffer, bytes.byteOffset, count);
  for (let i = 0; i < count; i++) {
    if ((bits[i] & mask) !== mask) continue;
    const values = new Float32Array(count);
    decodeFloats(bytes, dtype, values);
    const what = `element ${begin + i} is ${values[i]}`;
    throw new ScanvasError("NumericalError", `tensor "${name}": ${what}; the model is broken`);
  }
  return bytes;
}
