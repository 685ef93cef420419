// ssd_output without workgroup memory: y_t = exp(F_t) C_t . h + sum_(s <= t) G[t, s] exp(F_t - F_s) dt'_s x_s + D x_t per (chunk, lane), a lane
// being one head of one sequence. Each thread owns 8 positions t0.. and 8 of P and reads straight from memory. So that it takes
// one exp per s and not one per (t, s), the decays before its first position are split in two factors that are both <= 1:
//   exp(F_t - F_s) = exp(F_t - F_t0) exp(F_t0 - F_s), s < t0
// the first of which scales the finished sums; only the 8x8 block on the diagonal takes its own. For devices where a barrier
// costs more than a cached load (see gemm_register). Same bindings and Params as ssd_output.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> c: array<vec4<f32>>;         // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> product: array<vec4<f32>>;   // G   [S, chunks, Q, Q / 4]
@group(0) @binding(3) var<storage, read> decay: array<vec4<f32>>;     // F   [S * M, chunks, Q / 4]
@group(0) @binding(4) var<storage, read> step: array<vec4<f32>>;      // dt' [S * M, chunks, Q / 4]
@group(0) @binding(5) var<storage, read> x: array<vec4<f32>>;         // [S, T, M, P / 4]
@group(0) @binding(6) var<storage, read> states: array<vec4<f32>>;    // [lanes, chunks - 1, N, P / 4]
@group(0) @binding(7) var<storage, read> skip: array<f32>;            // D   [M]
@group(0) @binding(8) var<storage, read_write> y: array<vec4<f32>>;   // [S, T, M, P / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tiles_p = (params.head_dim4 + 1u) / 2u;
  let unit = group.x * 64u + thread;
  let p0 = (unit % tiles_p) * 2u;
  let p1 = min(p0 + 1u, params.head_dim4 - 1u); // past the edge the last vec4 is repeated, and not stored
  let t0 = (unit / tiles_p) * 8u;
  let first = group.y * params.chunk;
  if (t0 >= params.chunk || first + t0 >= params.tokens) { return; }
  let chunk4 = params.chunk / 4u;
  let lane = params.lane0 + group.z;
  let sequence = lane / params.heads;
  let head = lane % params.heads;
  let row0 = sequence * params.tokens + first;
  let last = min(params.tokens - first, params.chunk) - 1u; // of this chunk
  let steps0 = (lane * params.chunks + group.y) * chunk4;
  let product0 = (sequence * params.chunks + group.y) * params.chunk * chunk4;
  let decay_t0 = decay[steps0 + t0 / 4u].x;
  var left: array<vec4<f32>, 8>;
  var right: array<vec4<f32>, 8>;
  var at: array<u32, 8>;

  if (group.y > 0u) {
    for (var i = 0u; i < 8u; i++) { at[i] = (row0 + min(t0 + i, last)) * params.state4; }
    var h = (group.z * (params.chunks - 1u) + group.y - 1u) * params.state4 * 4u * params.head_dim4;
    for (var k = 0u; k < params.state4; k++) {
      let l0 = states[h + p0]; let r0 = states[h + p1]; h += params.head_dim4;
      let l1 = states[h + p0]; let r1 = states[h + p1]; h += params.head_dim4;
      let l2 = states[h + p0]; let r2 = states[h + p1]; h += params.head_dim4;
      let l3 = states[h + p0]; let r3 = states[h + p1]; h += params.head_dim4;
      for (var i = 0u; i < 8u; i++) {
        let a = c[at[i] + k];
        left[i] += a.x * l0 + a.y * l1 + a.z * l2 + a.w * l3;
        right[i] += a.x * r0 + a.y * r1 + a.z * r2 + a.w * r3;
      }
    }
    let scale = exp(min(decay_t0, 0.0));
    for (var i = 0u; i < 8u; i++) { left[i] *= scale; right[i] *= scale; }
  }

  for (var i = 0u; i < 8u; i++) { at[i] = product0 + min(t0 + i, params.chunk - 1u) * chunk4; }
  for (var s4 = 0u; s4 < t0 / 4u; s4++) {
    let w = exp(min(vec4<f32>(decay_t0) - decay[steps0 + s4], vec4<f32>())) * step[steps0 + s4];
    let x0 = ((row0 + s4 * 4u) * params.heads + head) * params.head_dim4;
    let next = params.heads * params.head_dim4;
    let l0 = x[x0 + p0] * w.x; let r0 = x[x0 + p1] * w.x;
    let l1 = x[x0 + next + p0] * w.y; let r1 = x[x0 + next + p1] * w.y;
    let l2 = x[x0 + 2u * next + p0] * w.z; let r2 = x[x0 + 2u * next + p1] * w.z;
    let l3 = x[x0 + 3u * next + p0] * w.w; let r3 = x[x0 + 3u * next + p1] * w.w;
    for (var i = 0u; i < 8u; i++) {
      let g = product[at[i] + s4];
      left[i] += g.x * l0 + g.y * l1 + g.z * l2 + g.w * l3;
      right[i] += g.x * r0 + g.y * r1 + g.z * r2 + g.w * r3;
    }
  }

  // The block on the diagonal, s = t0 .. t, with the decays it needs; then D x and the way out.
  let wide = p0 + 1u < params.head_dim4;
  for (var i = 0u; i <= min(last - t0, 7u); i++) {
    let t = t0 + i;
    let decay_t = decay[steps0 + t / 4u][t & 3u];
    let scale = exp(min(decay_t - decay_t0, 0.0));
    var l = left[i] * scale;
    var r = right[i] * scale;
    for (var s = t0; s <= t; s++) {
      let weight = product[at[i] + s / 4u][s & 3u] * exp(min(decay_t - decay[steps0 + s / 4u][s & 3u], 0.0)) * step[steps0 + s / 4u][s & 3u];
      let x0 = ((row0 + s) * params.heads + head) * params.head_dim4;
      l += weight * x[x0 + p0];
      r += weight * x[x0 + p1];
    }
    let out = ((row0 + t) * params.heads + head) * params.head_dim4;
    y[out + p0] = l + skip[head] * x[out + p0];
    if (wide) { y[out + p1] = r + skip[head] * x[out + p1]; }
  }
}
