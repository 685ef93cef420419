// What each chunk adds to the state of its head: S[n, p] = sum_s B[s, n] w_s x[s, p], with w_s = exp(F_last - F_s) dt'_s from ssd_prepare.
// Second kernel of Mamba-2's SSD (arXiv 2405.21060, section 6). A product [N x Q] [Q x P] per (chunk, lane), a lane being one
// head of one sequence; both operands have their depth slowest, so they are staged as they lie. 128x64 tile (lib/tile): a
// workgroup owns 128 of N and 64 of P. Bound: arithmetic, 2 Q N P. The last chunk is left out: nobody asks for its state.
// Positions past the end have w = 0, so their rows are clamped rather than masked. N and P are multiples of 4.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<b_type>>;              // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> x: array<vec4<x_type>>;              // [S, T, M, P / 4]
@group(0) @binding(3) var<storage, read> weight: array<f32>;               // w [S * M, chunks, Q]
@group(0) @binding(4) var<storage, read_write> states: array<vec4<f32>>;   // [lanes, chunks - 1, N, P / 4]

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let tiles_p = (params.head_dim4 + 15u) / 16u;
  let p0 = (group.x % tiles_p) * 16u;
  let n0 = (group.x / tiles_p) * 32u;
  let lane = params.lane0 + group.z;
  let head = lane % params.heads;
  let row0 = lane / params.heads * params.tokens;
  let first = group.y * params.chunk;
  var sums: array<vec4<f32>, 8>;
  for (var k = 0u; k < params.chunk; k += 16u) {
    for (var part = 0u; part < 3u; part++) { // 512 vec4 of B, then 256 of x
      let unit = thread + part * 256u;
      let is_x = part == 2u;
      let depth = select(unit >> 5u, (unit - 512u) >> 4u, is_x);
      let column = select(unit & 31u, unit & 15u, is_x);
      let inside = k + depth < params.chunk;
      let row = row0 + min(first + k + depth, params.tokens - 1u);
      var v = vec4<f32>();
      if (is_x) {
        if (inside && p0 + column < params.head_dim4) {
          v = weight[lane * params.chunks * params.chunk + first + k + depth] * vec4<f32>(x[(row * params.heads + head) * params.head_dim4 + p0 + column]);
        }
        tile_b[depth][column] = real4(v);
      } else {
        if (inside && n0 + column < params.state4) { v = vec4<f32>(b[row * params.state4 + n0 + column]); }
        tile_a[depth][column] = real4(v);
      }
    }
    workgroupBarrier();
    multiply_tiles(&sums, id.x, id.y);
    workgroupBarrier();
  }
  let state0 = (group.z * (params.chunks - 1u) + group.y) * params.state4 * 4u;
  for (var i = 0u; i < 8u; i++) {
    let n = n0 * 4u + id.y * 8u + i;
    if (n < params.state4 * 4u && p0 + id.x < params.head_dim4) { states[(state0 + n) * params.head_dim4 + p0 + id.x] = sums[i]; }
  }
}
