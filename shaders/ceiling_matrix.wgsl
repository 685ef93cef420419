// The ceiling of a device's matrix units, for benchmarks only: 8 independent products a round and subgroup on matrices that are loaded once,
// nothing written unless a sum has an impossible value, which the compiler cannot know. 2 M N K operations a product. The share of this rate
// is what a matrix kernel's row in a bench report shows.
struct Params { rounds: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

const RIGHTS = 2u * MATRIX_M * MATRIX_K;   // where they begin in operands
const OPERANDS = RIGHTS + 4u * MATRIX_K * MATRIX_N;
const SCRATCH = 4u * MATRIX_M * MATRIX_N;
const THREADS = 4u * SUBGROUP;

@compute @workgroup_size(THREADS) @subgroup_size(SUBGROUP)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(subgroup_id) subgroup: u32) {
  for (var i = thread; i < OPERANDS; i += THREADS) { operands[i] = f16(0.001 * f32(i % 31u)); }
  workgroupBarrier();
  // Two by four different matrices: equal products would be computed once.
  let a = load_left(0u, MATRIX_K); let b = load_left(MATRIX_M * MATRIX_K, MATRIX_K);
  let w = load_right(RIGHTS, MATRIX_N); let x = load_right(RIGHTS + MATRIX_K * MATRIX_N, MATRIX_N);
  let y = load_right(RIGHTS + 2u * MATRIX_K * MATRIX_N, MATRIX_N); let z = load_right(RIGHTS + 3u * MATRIX_K * MATRIX_N, MATRIX_N);
  var s0 = Sums(); var s1 = Sums(); var s2 = Sums(); var s3 = Sums();
  var s4 = Sums(); var s5 = Sums(); var s6 = Sums(); var s7 = Sums();
  for (var i = 0u; i < params.rounds; i++) {
    s0 = add_product(a, w, s0); s1 = add_product(a, x, s1);
    s2 = add_product(a, y, s2); s3 = add_product(a, z, s3);
    s4 = add_product(b, w, s4); s5 = add_product(b, x, s5);
    s6 = add_product(b, y, s6); s7 = add_product(b, z, s7);
  }
  let own = subgroup * MATRIX_M * MATRIX_N;
  var sum = 0.0;
  store_sums(own, MATRIX_N, s0); workgroupBarrier(); sum += scratch[own]; workgroupBarrier();
  store_sums(own, MATRIX_N, s1); workgroupBarrier(); sum += scratch[own]; workgroupBarrier();
  store_sums(own, MATRIX_N, s2); workgroupBarrier(); sum += scratch[own]; workgroupBarrier();
  store_sums(own, MATRIX_N, s3); workgroupBarrier(); sum += scratch[own]; workgroupBarrier();
  store_sums(own, MATRIX_N, s4); workgroupBarrier(); sum += scratch[own]; workgroupBarrier();
  store_sums(own, MATRIX_N, s5); workgroupBarrier(); sum += scratch[own]; workgroupBarrier();
  store_sums(own, MATRIX_N, s6); workgroupBarrier(); sum += scratch[own]; workgroupBarrier();
  store_sums(own, MATRIX_N, s7); workgroupBarrier(); sum += scratch[own];
  if (sum == -1.0) { out[0] = sum; }
}
