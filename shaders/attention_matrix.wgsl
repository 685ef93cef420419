// attention on subgroup matrices, for head sizes that are multiples of 4 up to 128: f16 operands, f32 sums and softmax.
// Four subgroups of MATRIX_M queries each walk the keys 32 at a time. Queries stay in matrices; keys, values and probabilities pass through
// `operands`, scores through `scratch`. Matrices hide their elements, so a row cannot be rescaled where it is: as in
// lib/flash_attention that happens only when a maximum rises by more than 2^8, and then the sums take a walk through
// `scratch`. Heads are padded with zeros to whole matrices (72 to 80 of 16). Bound: the matrix units. Workgroup memory: 22 KB at
// 72 and 28 KB at 128, so this needs more than WebGPU's default limit. Same bindings and Params as attention.
struct Params { first: u32, queries: u32, keys: u32, row: u32, y_row: u32, y_column: u32, kv_batch: u32, mask_stride: u32, scale_log2e: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<q_type>>;        // [batch, queries, row], row = heads * D4
@group(0) @binding(2) var<storage, read> k: array<vec4<k_type>>;        // [batch or 1, keys, row]; kv_batch is keys, or 0 when shared
@group(0) @binding(3) var<storage, read> v: array<vec4<v_type>>;        // [batch or 1, keys, row]
@group(0) @binding(4) var<storage, read> mask: array<f32>;              // [batch or 1, keys]
@group(0) @binding(5) var<storage, read> bias: array<f32>;              // [heads, 2 keys - 1]
@group(0) @binding(6) var<storage, read_write> y: array<vec4<y_type>>;  // [batch, queries, y_row], from y_column on

const KEYS = 32u;
const QUERIES = 4u * MATRIX_M;
const THREADS = 4u * SUBGROUP;
const LANES = SUBGROUP / MATRIX_M;   // threads that share a row of scores
const STEP = max(MATRIX_K, MATRIX_N);
const WIDTH = (HEAD_DIM + STEP - 1u) / STEP * STEP;
const DEPTHS = WIDTH / MATRIX_K;
const COLUMNS = WIDTH / MATRIX_N;
const VALUES = KEYS * WIDTH;         // where they begin in operands, after the keys
const PROBABILITIES = max(2u * KEYS, QUERIES) * WIDTH;
const OPERANDS = PROBABILITIES + QUERIES * KEYS;
const STRIDE = KEYS + 4u;            // of scores: neighbouring rows in different banks
const SCRATCH = QUERIES * STRIDE;

var<workgroup> shared_row: array<f32, THREADS>;
var<workgroup> factors: array<f32, QUERIES>;
var<workgroup> rises: atomic<u32>;

@compute @workgroup_size(THREADS) @subgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let query0 = params.first + group.x * QUERIES;
  let q_base = group.z * params.queries * params.row + group.y * D4;
  let y_base = group.z * params.queries * params.y_row + params.y_column + group.y * D4;
  let kv_base = group.z * params.kv_batch * params.row + group.y * D4;
  let own = subgroup * MATRIX_M * STRIDE;           // this subgroup's part of scratch
  let row = subgroup * MATRIX_M + lane / LANES;     // this thread's query, and the part of its keys
  let part = lane % LANES;
  let query = min(query0 + row, params.queries - 1u);

  for (var u = thread; u < QUERIES * WIDTH / 4u; u += THREADS) {
    let c = u % (WIDTH / 4u);
    var value = vec4<f32>();
    if (c < D4) { value = vec4<f32>(q[q_base + min(query0 + u / (WIDTH / 4u), params.queries - 1u) * params.row + c]); }
    stage(u * 4u, value);
  }
  workgroupBarrier();
  var left: array<Left, DEPTHS>;
  for (var d = 0u; d < DEPTHS; d++) { left[d] = load_left(subgroup * MATRIX_M * WIDTH + d * MATRIX_K, WIDTH); }
  workgroupBarrier();

  var sums: array<Sums, COLUMNS>;
  var top = LOW;
  var total = 0.0;   // of this thread's keys only, until the end
  for (var key0 = 0u; key0 < params.keys; key0 += KEYS) {
    if (thread == 0u) { atomicStore(&rises, 0u); }
    for (var u = thread; u < KEYS * WIDTH / 4u; u += THREADS) {
      let c = u % (WIDTH / 4u);
      var key = vec4<f32>();
      var value = vec4<f32>();
      if (c < D4) {
        let at = kv_base + min(key0 + u / (WIDTH / 4u), params.keys - 1u) * params.row + c;
        key = vec4<f32>(k[at]);
        value = vec4<f32>(v[at]);
      }
      stage(u * 4u, key);
      stage(VALUES + u * 4u, value);
    }
    workgroupBarrier();
    for (var n = 0u; n < KEYS; n += MATRIX_N) {
      var dots = Sums();   // written out: a variable of a loop is not zeroed again on some implementations
      for (var d = 0u; d < DEPTHS; d++) { dots = add_product(left[d], load_right_turned(n * WIDTH + d * MATRIX_K, WIDTH), dots); }
      store_sums(own + n, STRIDE, dots);
    }
    workgroupBarrier();

    var highest = LOW;
    for (var j = part; j < KEYS; j += LANES) {
      let at = row * STRIDE + j;
      let value = score(vec4<f32>(scratch[at]), key0 + j, vec4<u32>(query), group.y, group.z).x;
      scratch[at] = value;
      highest = max(highest, value);
    }
    shared_row[row * LANES + part] = highest;
    workgroupBarrier();
    for (var i = 0u; i < LANES; i++) { highest = max(highest, shared_row[row * LANES + i]); }
    var factor = 1.0;
    if (highest > top + 8.0) {
      factor = exp2(max(top - highest, -126.0));
      top = highest;
      atomicStore(&rises, 1u);
    }
    if (part == 0u) { factors[row] = factor; }
    total *= factor;
    for (var j = part; j < KEYS; j += LANES) {
      let p = f16(probability(vec4<f32>(scratch[row * STRIDE + j]), vec4<f32>(top)).x);
      operands[PROBABILITIES + row * KEYS + j] = p;
      total += f32(p);
    }
    if (workgroupUniformLoad(&rises) != 0u && key0 > 0u) {   // also the barrier after all that was written above
      for (var c = 0u; c < COLUMNS; c++) {
        store_sums(own, MATRIX_N, sums[c]);
        workgroupBarrier();
        for (var e = lane; e < MATRIX_M * MATRIX_N; e += SUBGROUP) { scratch[own + e] *= factors[subgroup * MATRIX_M + e / MATRIX_N]; }
        workgroupBarrier();
        sums[c] = load_sums(own, MATRIX_N);
        workgroupBarrier();
      }
    }
    for (var n = 0u; n < KEYS; n += MATRIX_K) {
      let p = load_left(PROBABILITIES + subgroup * MATRIX_M * KEYS + n, KEYS);
      for (var c = 0u; c < COLUMNS; c++) { sums[c] = add_product(p, load_right(VALUES + n * WIDTH + c * MATRIX_N, WIDTH), sums[c]); }
    }
    workgroupBarrier();
  }

  shared_row[row * LANES + part] = total;
  workgroupBarrier();
  total = 0.0;
  for (var i = 0u; i < LANES; i++) { total += shared_row[row * LANES + i]; }
  if (part == 0u) { factors[row] = 1.0 / max(total, 1e-30); }   // a row with no key left gives zeros
  workgroupBarrier();
  for (var c = 0u; c < COLUMNS; c++) {
    store_sums(own, MATRIX_N, sums[c]);
    workgroupBarrier();
    for (var e = lane * 4u; e < MATRIX_M * MATRIX_N; e += SUBGROUP * 4u) {
      let r = subgroup * MATRIX_M + e / MATRIX_N;
      let column = (c * MATRIX_N + e % MATRIX_N) / 4u;
      if (query0 + r < params.queries && column < D4) {
        let value = vec4<f32>(scratch[own + e], scratch[own + e + 1u], scratch[own + e + 2u], scratch[own + e + 3u]);
        y[y_base + (query0 + r) * params.y_row + column] = vec4<y_type>(value * factors[r]);
      }
    }
    workgroupBarrier();
  }
}
