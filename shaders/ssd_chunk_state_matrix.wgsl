// ssd_chunk_state on subgroup matrices: S[n, p] = sum_s B[s, n] w_s x[s, p] per (chunk, lane); f16 operands, f32 sums, lib/matrix_tile, both
// operands staged as they lie, depth first. w is at most the step size and goes into x in f32, before the rounding. Bound: the matrix
// units, 2 Q N P. Same bindings and Params as ssd_chunk_state.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<b_type>>;           // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> x: array<vec4<x_type>>;           // [S, T, M, P / 4]
@group(0) @binding(3) var<storage, read> weight: array<f32>;               // w [S * M, chunks, Q]
@group(0) @binding(4) var<storage, read_write> states: array<vec4<f32>>;   // [lanes, chunks - 1, N, P / 4]

const A_DEPTH_FIRST = true;
const B_DEPTH_FIRST = true;
var<private> row0: u32;
var<private> column0: u32;
var<private> state0: u32;

fn put4(row: u32, column: u32, sum: vec4<f32>) {
  let n = row0 + row;
  let p = (column0 + column) / 4u;
  if (n < params.state4 * 4u && p < params.head_dim4) { states[(state0 + n) * params.head_dim4 + p] = sum; }
}

@compute @workgroup_size(THREADS) @subgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
  let tiles_p = (params.head_dim4 + 15u) / 16u;
  column0 = (group.x % tiles_p) * TILE_COLUMNS;
  row0 = (group.x / tiles_p) * TILE_ROWS;
  state0 = (group.z * (params.chunks - 1u) + group.y) * params.state4 * 4u;
  let lane = params.lane0 + group.z;
  let head = lane % params.heads;
  let token0 = lane / params.heads * params.tokens;
  let first = group.y * params.chunk;
  var sums: TileSums;
  for (var k = 0u; k < params.chunk; k += TILE_DEPTH) {
    for (var u = thread; u < TILE_DEPTH * TILE_ROWS / 4u; u += THREADS) {
      let depth = u >> 5u;
      let n4 = row0 / 4u + (u & 31u);
      var value = vec4<f32>();
      if (k + depth < params.chunk && n4 < params.state4) {
        value = vec4<f32>(b[(token0 + min(first + k + depth, params.tokens - 1u)) * params.state4 + n4]);
      }
      stage_a((u & 31u) * 4u, depth, value);
    }
    for (var u = thread; u < TILE_DEPTH * TILE_COLUMNS / 4u; u += THREADS) {
      let depth = u >> 4u;
      let p = column0 / 4u + (u & 15u);
      var value = vec4<f32>();
      if (k + depth < params.chunk && p < params.head_dim4) {
        let row = token0 + min(first + k + depth, params.tokens - 1u);
        value = weight[lane * params.chunks * params.chunk + first + k + depth] * vec4<f32>(x[(row * params.heads + head) * params.head_dim4 + p]);
      }
      stage_b((u & 15u) * 4u, depth, value);
    }
    workgroupBarrier();
    multiply_tiles(&sums, subgroup);
    workgroupBarrier();
  }
  put_tiles(&sums, subgroup, subgroup_lane);
}
