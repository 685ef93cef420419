// ssd_output on subgroup matrices: y_t = exp(F_t) C_t . h + sum_(s <= t) G[t, s] exp(F_t - F_s) dt'_s x_s + D x_t per (chunk, lane), one
// product of concatenated depth on lib/matrix_tile: f16 operands, f32 sums. All decays are applied in f32 while A is staged; they are at
// most 1, so the rounding that follows loses no more than any. Bound: the matrix units, 2 Q P (N + Q / 2). Same bindings and
// Params as ssd_output.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32, first_head: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> c: array<vec4<c_type>>;               // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> product: array<vec4<product_type>>;   // G   [S, chunks, Q, Q / 4]
@group(0) @binding(3) var<storage, read> decay: array<f32>;                    // F   [S * M, chunks, Q]
@group(0) @binding(4) var<storage, read> step: array<vec4<f32>>;               // dt' [S * M, chunks, Q / 4]
@group(0) @binding(5) var<storage, read> x: array<vec4<x_type>>;               // [S, T, M, P / 4]
@group(0) @binding(6) var<storage, read> states: array<vec4<f32>>;             // [lanes, chunks - 1, N, P / 4]
@group(0) @binding(7) var<storage, read> skip: array<f32>;                     // D, of head m at first_head + m
@group(0) @binding(8) var<storage, read_write> y: array<vec4<y_type>>;         // [S, T, M, P / 4]

const A_DEPTH_FIRST = false;
const B_DEPTH_FIRST = true;
var<private> row0: u32;
var<private> column0: u32;
var<private> first: u32;    // position of the chunk's first token
var<private> token0: u32;   // row of the sequence's first token
var<private> head: u32;

fn put4(row: u32, column: u32, sum: vec4<f32>) {
  let t = row0 + row;
  let p = (column0 + column) / 4u;
  if (t < params.chunk && first + t < params.tokens && p < params.head_dim4) {
    let at = ((token0 + first + t) * params.heads + head) * params.head_dim4 + p;
    y[at] = vec4<y_type>(sum + skip[params.first_head + head] * vec4<f32>(x[at]));
  }
}

@compute @workgroup_size(THREADS) @subgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
  let tiles_p = (params.head_dim4 + 15u) / 16u;
  let t0 = (group.x / tiles_p) * TILE_ROWS;
  let p0 = (group.x % tiles_p) * (TILE_COLUMNS / 4u);
  let lane = params.lane0 + group.z;
  let sequence = lane / params.heads;
  row0 = t0;
  column0 = p0 * 4u;
  head = lane % params.heads;
  first = group.y * params.chunk;
  token0 = sequence * params.tokens;
  let steps0 = (lane * params.chunks + group.y) * params.chunk;
  let product0 = (sequence * params.chunks + group.y) * params.chunk;
  let chunk4 = params.chunk / 4u;
  var sums: TileSums;

  if (group.y > 0u) {
    let state0 = (group.z * (params.chunks - 1u) + group.y - 1u) * params.state4 * 4u;
    for (var k = 0u; k < params.state4; k += TILE_DEPTH / 4u) {
      for (var u = thread; u < TILE_ROWS * TILE_DEPTH / 4u; u += THREADS) {
        let t = min(t0 + (u >> 3u), params.chunk - 1u);
        let at = k + (u & 7u);
        var value = vec4<f32>();
        if (at < params.state4) {
          value = exp(min(decay[steps0 + t], 0.0)) * vec4<f32>(c[(token0 + min(first + t, params.tokens - 1u)) * params.state4 + at]);
        }
        stage_a(u >> 3u, (u & 7u) * 4u, value);
      }
      for (var u = thread; u < TILE_DEPTH * TILE_COLUMNS / 4u; u += THREADS) {
        let n = k * 4u + (u >> 4u);
        let p = p0 + (u & 15u);
        var value = vec4<f32>();
        if (n < params.state4 * 4u && p < params.head_dim4) { value = states[(state0 + n) * params.head_dim4 + p]; }
        stage_b((u & 15u) * 4u, u >> 4u, value);
      }
      workgroupBarrier();
      multiply_tiles(&sums, subgroup);
      workgroupBarrier();
    }
  }

  for (var k = 0u; k < min(t0 + TILE_ROWS, params.chunk); k += TILE_DEPTH) {
    for (var u = thread; u < TILE_ROWS * TILE_DEPTH / 4u; u += THREADS) {
      let t = min(t0 + (u >> 3u), params.chunk - 1u);
      let s4 = k / 4u + (u & 7u);
      var value = vec4<f32>();
      if (s4 < chunk4) {
        let s = vec4<u32>(s4 * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
        let at = steps0 + s4 * 4u;
        let decay_s = vec4<f32>(decay[at], decay[at + 1u], decay[at + 2u], decay[at + 3u]);
        value = vec4<f32>(product[(product0 + t) * chunk4 + s4]) * exp(min(vec4<f32>(decay[steps0 + t]) - decay_s, vec4<f32>())) * step[at / 4u];
        value = select(vec4<f32>(), value, s <= vec4<u32>(t));
      }
      stage_a(u >> 3u, (u & 7u) * 4u, value);
    }
    for (var u = thread; u < TILE_DEPTH * TILE_COLUMNS / 4u; u += THREADS) {
      let s = k + (u >> 4u);
      let p = p0 + (u & 15u);
      var value = vec4<f32>();
      if (s < params.chunk && p < params.head_dim4) {
        value = vec4<f32>(x[((token0 + min(first + s, params.tokens - 1u)) * params.heads + head) * params.head_dim4 + p]);
      }
      stage_b((u & 15u) * 4u, u >> 4u, value);
    }
    workgroupBarrier();
    multiply_tiles(&sums, subgroup);
    workgroupBarrier();
  }
  put_tiles(&sums, subgroup, subgroup_lane);
}
