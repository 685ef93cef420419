import { ScanvasError } from "../errors.ts";
import { fixSubgroupSize, matrixDirectives, matrixPrelude, type MatrixShape } from "./subgroup_matrix.ts";
import type { WeightType } from "./tensor.ts";

/**
 * What a WGSL file declares: bindings, the fields of `struct Params`, overrides. They are written once, in the shader, and read
 * from it here, so TypeScript never repeats an order or an offset.
 */
export interface Kernel {
  readonly name: string;
  readonly source: string;
  readonly lib: readonly string[];
  readonly bindings: readonly Binding[];
  readonly params: readonly Field[];
  readonly overrides: ReadonlySet<string>;
  /** True when a binding, then called `w`, is of `Weight`: its storage then follows the bound tensor. */
  readonly readsWeights: boolean;
  /** True when it works on subgroup matrices (gpu/subgroup_matrix.ts). */
  readonly matrix: boolean;
}

/** What a kernel's text depends on besides its files. */
export interface ShaderVariant {
  readonly arithmetic: "f32" | "f16";
  /** How the weight it reads is stored; f32 when it reads none. */
  readonly weights: WeightType;
  /** Bindings whose tensors are f16; the others are f32. */
  readonly halves: readonly string[];
  readonly constants: Readonly<Record<string, number>>;
}

export interface Binding {
  readonly name: string;
  readonly index: number;
  readonly access: "read" | "read_write" | "uniform";
  readonly weight: boolean;
  /** Its elements are `<name>_type`: f32 or f16, as the bound tensor is. */
  readonly typed: boolean;
}

interface Field {
  readonly name: string;
  readonly type: "u32" | "i32" | "f32";
}

const preludes = import.meta.glob<string>("../../shaders/prelude/*.wgsl", {
  query: "?raw",
  import: "default",
  eager: true,
});
const libs = import.meta.glob<string>("../../shaders/lib/*.wgsl", { query: "?raw", import: "default", eager: true });

/** Reads one WGSL file of `shaders/`; `lib` names files of `shaders/lib` that are put in front of it. */
export function defineKernel(
  name: string,
  source: string,
  options: { lib?: readonly string[]; matrix?: boolean } = {},
): Kernel {
  const bindings: Binding[] = [];
  const bindingPattern =
    /@group\(0\)\s*@binding\((\d+)\)\s*var<(uniform|storage,\s*(read_write|read))>\s*(\w+)\s*:\s*([^;]+);/g;
  for (const [, index, space, access, binding, type] of source.matchAll(bindingPattern)) {
    bindings.push({
      name: binding!,
      index: Number(index),
      access: space === "uniform" ? "uniform" : (access as "read" | "read_write"),
      weight: /\bWeight\b/.test(type!),
      typed: type!.includes(`${binding!}_type`),
    });
  }
  const params: Field[] = [];
  const texts = [...(options.lib ?? []).map(libSource), source]; // a library may declare Params for several kernels
  const struct = texts.map((text) => /struct Params\s*\{([^}]*)\}/.exec(text)?.[1]).find(Boolean) ?? "";
  for (const [, field, type] of struct.replace(/\/\/.*$/gm, "").matchAll(/(\w+)\s*:\s*(u32|i32|f32)/g)) {
    params.push({ name: field!, type: type as Field["type"] });
  }
  const overrides = new Set([...source.matchAll(/^\s*override\s+(\w+)/gm)].map((match) => match[1]!));
  for (const lib of options.lib ?? []) {
    for (const match of libSource(lib).matchAll(/^\s*override\s+(\w+)/gm)) overrides.add(match[1]!);
  }
  return {
    name,
    source,
    lib: options.lib ?? [],
    bindings: bindings.sort((a, b) => a.index - b.index),
    params,
    overrides,
    readsWeights: bindings.some((b) => b.weight),
    matrix: options.matrix ?? false,
  };
}

const libSource = (name: string): string => {
  const source = libs[`../../shaders/lib/${name}.wgsl`];
  if (source === undefined) throw new Error(`shaders/lib/${name}.wgsl does not exist`);
  return source;
};

/**
 * The whole text of one variant: element types of the bindings, prelude (`real`), weight storage, libraries, kernel. Byte-stable, so driver
 * caches hit. A kernel with matrices needs their `shape`, and has its overrides written in: the length of an array of matrices must
 * be a constant.
 */
export function composeShader(
  kernel: Kernel,
  { arithmetic, weights, halves, constants }: ShaderVariant,
  shape?: MatrixShape,
): string {
  if (kernel.matrix && !shape) throw new Error(`${kernel.name}: this device has no subgroup matrices`);
  const body = [
    ...kernel.bindings
      .filter(({ typed }) => typed)
      .map(({ name }) => `alias ${name}_type = ${halves.includes(name) ? "f16" : "f32"};`),
    preludes[`../../shaders/prelude/${arithmetic}.wgsl`]!,
    ...(kernel.readsWeights ? [preludes[`../../shaders/prelude/weights_${weights}.wgsl`]!] : []),
    ...(shape && kernel.matrix ? [matrixPrelude(shape)] : []),
    ...kernel.lib.map(libSource),
    kernel.source,
  ].join("\n");
  if (shape && kernel.matrix) {
    return [matrixDirectives(shape), fixSubgroupSize(writeConstants(body, constants), shape)].join("\n");
  }
  return arithmetic === "f16" || halves.length > 0 ? `enable f16;\n${body}` : body;
}

/** Turns overrides into constants: those given, and the others with their defaults. */
function writeConstants(source: string, constants: Readonly<Record<string, number>>): string {
  return source.replace(
    /^override (\w+): (\w+)(?: = ([^;]+))?;/gm,
    (_, name: string, type: string, standard?: string) => {
      const given = constants[name];
      return `const ${name}: ${type} = ${given === undefined ? standard! : `${type}(${given})`};`;
    },
  );
}

/** Lays the values of `struct Params` out as its shader declares them (4 bytes a field). */
export function packParams(kernel: Kernel, values: Readonly<Record<string, number>>): Uint8Array {
  const view = new DataView(new ArrayBuffer(Math.max(16, Math.ceil(kernel.params.length / 4) * 16)));
  kernel.params.forEach(({ name, type }, i) => {
    const value = values[name];
    if (value === undefined) throw new ScanvasError("TensorError", `${kernel.name}: Params.${name} was not given`);
    if (type === "f32") view.setFloat32(4 * i, value, true);
    else if (type === "i32") view.setInt32(4 * i, value, true);
    else view.setUint32(4 * i, value, true);
  });
  return new Uint8Array(view.buffer);
}
