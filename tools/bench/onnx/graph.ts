/** Writes ONNX files: protobuf by hand, field numbers from onnx.proto3. Enough to export our models for other runtimes. */

export type Attribute = number | string | readonly number[] | { float: number };

interface Value {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: number;
}

const FLOAT = 1;
const INT32 = 6;
const INT64 = 7;

type Bytes = Uint8Array;

const join = (parts: readonly Bytes[]): Bytes => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
};

function varint(value: number): Bytes {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  return Uint8Array.from([...out, Number(rest)]);
}

const integer = (field: number, value: number): Bytes => join([varint(field * 8), varint(value)]);
const bytes = (field: number, content: Bytes): Bytes => join([varint(field * 8 + 2), varint(content.length), content]);
const text = (field: number, value: string): Bytes => bytes(field, new TextEncoder().encode(value));
const float = (field: number, value: number): Bytes =>
  join([varint(field * 8 + 5), new Uint8Array(Float32Array.of(value).buffer)]);

function attribute(name: string, value: Attribute): Bytes {
  const content =
    typeof value === "number"
      ? [integer(3, value), integer(20, 2)]
      : typeof value === "string"
        ? [text(4, value), integer(20, 3)]
        : "float" in value
          ? [float(2, value.float), integer(20, 1)]
          : [...value.map((one) => integer(8, one)), integer(20, 7)];
  return join([text(1, name), ...content]);
}

/** A graph of f32 tensors (and integer inputs and constants), built node by node. Names of values are what its methods return. */
export class OnnxGraph {
  readonly #nodes: Bytes[] = [];
  readonly #initializers: Bytes[] = [];
  readonly #inputs: Value[] = [];
  readonly #outputs: Value[] = [];
  readonly #constants = new Map<string, string>();
  #count = 0;

  input(name: string, shape: readonly number[], type: "f32" | "i32" = "f32"): string {
    this.#inputs.push({ name, shape, type: type === "f32" ? FLOAT : INT32 });
    return name;
  }

  output(value: string, name: string, shape: readonly number[]): void {
    this.#nodes.push(join([text(1, value), text(2, name), text(4, "Identity")]));
    this.#outputs.push({ name, shape, type: FLOAT });
  }

  /** An f32 constant. */
  tensor(shape: readonly number[], data: Float32Array): string {
    return this.#initializer(FLOAT, shape, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  scalar(value: number): string {
    return this.#once(`f ${value}`, () => this.tensor([], Float32Array.of(value)));
  }

  /** An int64 constant, made once however often it is asked for. */
  ints(values: readonly number[]): string {
    return this.#once(`i ${values.join()}`, () =>
      this.#initializer(INT64, [values.length], new Uint8Array(BigInt64Array.from(values, BigInt).buffer)),
    );
  }

  /** Appends a node; operators with a dot are of the domain before the last one, as in "com.microsoft.FastGelu". */
  node(operator: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    return this.nodes(operator, inputs, 1, attributes)[0]!;
  }

  nodes(
    operator: string,
    inputs: readonly string[],
    count: number,
    attributes: Readonly<Record<string, Attribute>> = {},
  ): string[] {
    const dot = operator.lastIndexOf(".");
    const outputs = Array.from({ length: count }, () => `v${this.#count++}`);
    this.#nodes.push(
      join([
        ...inputs.map((name) => text(1, name)),
        ...outputs.map((name) => text(2, name)),
        text(4, operator.slice(dot + 1)),
        ...Object.entries(attributes).map(([name, value]) => bytes(5, attribute(name, value))),
        ...(dot > 0 ? [text(7, operator.slice(0, dot))] : []),
      ]),
    );
    return outputs;
  }

  /** The model file. */
  model(): Bytes {
    const info = ({ name, shape, type }: Value): Bytes => {
      const dims = bytes(2, join(shape.map((size) => bytes(1, integer(1, size)))));
      return join([text(1, name), bytes(2, bytes(1, join([integer(1, type), dims])))]);
    };
    const graph = join([
      ...this.#nodes.map((node) => bytes(1, node)),
      text(2, "scanvas"),
      ...this.#initializers.map((one) => bytes(5, one)),
      ...this.#inputs.map((value) => bytes(11, info(value))),
      ...this.#outputs.map((value) => bytes(12, info(value))),
    ]);
    const opset = (domain: string, version: number): Bytes => bytes(8, join([text(1, domain), integer(2, version)]));
    return join([integer(1, 10), bytes(7, graph), opset("", 21), opset("com.microsoft", 1)]);
  }

  #initializer(type: number, shape: readonly number[], raw: Bytes): string {
    const name = `c${this.#count++}`;
    this.#initializers.push(
      join([...shape.map((size) => integer(1, size)), integer(2, type), text(8, name), bytes(9, raw)]),
    );
    return name;
  }

  #once(key: string, make: () => string): string {
    let name = this.#constants.get(key);
    if (!name) this.#constants.set(key, (name = make()));
    return name;
  }
}
