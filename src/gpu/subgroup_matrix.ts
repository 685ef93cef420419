/**
 * Subgroup matrices (tensor cores, simdgroup_matrix, XMX): the one place that knows their WGSL, which is still a draft and moves
 * (gpuweb proposals/subgroup-matrix.md). Kernels see only the names of `matrixPrelude`.
 */

/** Features to ask a device for; without the first there are no matrices. */
export const MATRIX_FEATURES = [
  "chromium-experimental-subgroup-matrix",
  "subgroups",
  "subgroup-size-control",
] as const satisfies readonly string[];

/** One product that the hardware has: f16 [M, K] times f16 [K, N] added to f32 [M, N], by a subgroup. */
export interface MatrixShape {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Threads of a subgroup. */
  readonly subgroup: number;
  /** The subgroup's size varies unless a kernel fixes it, which it can. */
  readonly fixSize: boolean;
}

/** The fields of `adapter.info.subgroupMatrixConfigs`, which the types of WebGPU do not have yet. */
interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** The largest f16 product with f32 sums that the kernels can use: its sides divide 32, its rows the subgroup. */
export function matrixShape(info: GPUAdapterInfo, features: ReadonlySet<string>): MatrixShape | undefined {
  const configs = (info as { subgroupMatrixConfigs?: Iterable<MatrixConfig> }).subgroupMatrixConfigs;
  const { subgroupMinSize: least, subgroupMaxSize: most } = info;
  if (!configs || !most || !features.has("shader-f16") || !features.has("subgroups")) return undefined;
  if (!features.has(MATRIX_FEATURES[0])) return undefined;
  if (least !== most && !features.has("subgroup-size-control")) return undefined;
  const [best] = [...configs]
    .filter((config) => config.componentType === "f16" && config.resultComponentType === "f32")
    .filter(({ M, N, K }) => [M, N, K].every((side) => side >= 8 && 32 % side === 0) && M * N <= 256 && most % M === 0)
    .sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K);
  return best && { M: best.M, N: best.N, K: best.K, subgroup: most, fixSize: least !== most };
}

/** What goes before every directive and declaration of a kernel with matrices. */
export const matrixDirectives = ({ fixSize }: MatrixShape): string =>
  [
    "enable f16;",
    "enable subgroups;",
    "enable chromium_experimental_subgroup_matrix;",
    ...(fixSize ? ["enable subgroup_size_control;"] : []),
  ].join("\n");

/**
 * Types and functions of a kernel with matrices. They work on two arrays of workgroup memory, whose lengths the kernel declares as OPERANDS
 * (f16) and SCRATCH (f32); offsets and strides count elements. "turned" reads a matrix that lies column by column. Every thread of a
 * subgroup calls them together, with the same arguments.
 */
export const matrixPrelude = ({ M, N, K, subgroup }: MatrixShape): string => `
const MATRIX_M = ${M}u;
const MATRIX_N = ${N}u;
const MATRIX_K = ${K}u;
const SUBGROUP = ${subgroup}u;
alias Left = subgroup_matrix_left<f16, ${K}, ${M}>;     // M rows of K
alias Right = subgroup_matrix_right<f16, ${N}, ${K}>;   // K rows of N
alias Sums = subgroup_matrix_result<f32, ${N}, ${M}>;   // M rows of N
var<workgroup> operands: array<f16, OPERANDS>;
var<workgroup> scratch: array<f32, SCRATCH>;
fn load_left(offset: u32, stride: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&operands, offset, stride); }
fn load_left_turned(offset: u32, stride: u32) -> Left { return subgroupMatrixLoad<Left, col_major>(&operands, offset, stride); }
fn load_right(offset: u32, stride: u32) -> Right { return subgroupMatrixLoad<Right, row_major>(&operands, offset, stride); }
fn load_right_turned(offset: u32, stride: u32) -> Right { return subgroupMatrixLoad<Right, col_major>(&operands, offset, stride); }
fn load_sums(offset: u32, stride: u32) -> Sums { return subgroupMatrixLoad<Sums, row_major>(&scratch, offset, stride); }
fn store_sums(offset: u32, stride: u32, sums: Sums) { subgroupMatrixStore<row_major>(&scratch, offset, sums, stride); }
fn add_product(left: Left, right: Right, sums: Sums) -> Sums { return subgroupMatrixMultiplyAccumulate(left, right, sums); }
fn stage(offset: u32, value: vec4<f32>) {
  let half = vec4<f16>(value);
  operands[offset] = half.x; operands[offset + 1u] = half.y; operands[offset + 2u] = half.z; operands[offset + 3u] = half.w;
}
`;

/** Kernels write the attribute always; it may only stay where the device has the feature and needs it. */
export const fixSubgroupSize = (source: string, { fixSize }: MatrixShape): string =>
  fixSize ? source : source.replaceAll(" @subgroup_size(SUBGROUP)", "");
