// ssd_output without workgroup memory: y_t = exp(F_t) C_t . h + sum_(s <= t) G[t, s] exp(F_t - F_s) dt'_s x_s + D x_t per (chunk, lane), a lane
// being one head of one sequence. Each thread owns 8 positions t0.. and 8 of P and reads straight from memory. So that it takes
// one exp per s and not one per (t, s), the decays before its first position are split in two factors that are both <= 1:
//   exp(F_t - F_s) = exp(F_t - F_t0) exp(F_t0 - F_s), s < t0
// the first of which scales the finished sums; only the 8x8 block on the diagonal takes its own. For devices where a barrier
// costs more than a cached load (see gemm_register). Same bindings and Params as ssd_output.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32, first_head: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> c: array<vec4<c_type>>;         // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> product: array<vec4<product_type>>;   // G   [S, chunks, Q, Q / 4]
@group(0) @binding(3) var<storage, read> decay: array<vec4<f32>>;     // F   [S * M, chunks, Q / 4]
@group(0) @binding(4) var<storage, read> step: array<vec4<f32>>;      // dt' [S * M, chunks, Q / 4]
@group(0) @binding(5) var<storage, read> x: array<vec4<x_type>>;         // [S, T, M, P / 4]
@group(0) @binding(6) var<storage, read> states: array<vec4<f32>>;    // [lanes, chunks - 1, N, P / 4]
@group(0) @binding(7) var<storage, read> skip: array<f32>;            // D, of head m at first_head + m
@group(0) @binding(8) var<storage, read_write> y: array<vec4<y_type>>;   // [S, T, M, P / 4]

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
  // Rows past the end of the chunk or of the sequence repeat the last one, and are not stored. One variable a row: arrays with an
  // index that is not a constant are slow where this kernel is meant to run.
  let t = min(vec4<u32>(t0) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
  let u = min(vec4<u32>(t0) + vec4<u32>(4u, 5u, 6u, 7u), vec4<u32>(last));
  var l0 = vec4<f32>(); var l1 = vec4<f32>(); var l2 = vec4<f32>(); var l3 = vec4<f32>();
  var l4 = vec4<f32>(); var l5 = vec4<f32>(); var l6 = vec4<f32>(); var l7 = vec4<f32>();
  var r0 = vec4<f32>(); var r1 = vec4<f32>(); var r2 = vec4<f32>(); var r3 = vec4<f32>();
  var r4 = vec4<f32>(); var r5 = vec4<f32>(); var r6 = vec4<f32>(); var r7 = vec4<f32>();

  if (group.y > 0u) {
    let ct = (row0 + t) * params.state4;
    let cu = (row0 + u) * params.state4;
    let next = params.head_dim4;
    var h = (group.z * (params.chunks - 1u) + group.y - 1u) * params.state4 * 4u * next;
    for (var k = 0u; k < params.state4; k++) {
      let left = mat4x4<f32>(states[h + p0], states[h + next + p0], states[h + 2u * next + p0], states[h + 3u * next + p0]);
      let right = mat4x4<f32>(states[h + p1], states[h + next + p1], states[h + 2u * next + p1], states[h + 3u * next + p1]);
      h += 4u * next;
      let a0 = vec4<f32>(c[ct.x + k]); l0 += left * a0; r0 += right * a0;
      let a1 = vec4<f32>(c[ct.y + k]); l1 += left * a1; r1 += right * a1;
      let a2 = vec4<f32>(c[ct.z + k]); l2 += left * a2; r2 += right * a2;
      let a3 = vec4<f32>(c[ct.w + k]); l3 += left * a3; r3 += right * a3;
      let a4 = vec4<f32>(c[cu.x + k]); l4 += left * a4; r4 += right * a4;
      let a5 = vec4<f32>(c[cu.y + k]); l5 += left * a5; r5 += right * a5;
      let a6 = vec4<f32>(c[cu.z + k]); l6 += left * a6; r6 += right * a6;
      let a7 = vec4<f32>(c[cu.w + k]); l7 += left * a7; r7 += right * a7;
    }
    let scale = exp(min(decay_t0, 0.0));
    l0 *= scale; l1 *= scale; l2 *= scale; l3 *= scale; l4 *= scale; l5 *= scale; l6 *= scale; l7 *= scale;
    r0 *= scale; r1 *= scale; r2 *= scale; r3 *= scale; r4 *= scale; r5 *= scale; r6 *= scale; r7 *= scale;
  }

  let gt = product0 + t * chunk4;
  let gu = product0 + u * chunk4;
  let next = params.heads * params.head_dim4;
  for (var s4 = 0u; s4 < t0 / 4u; s4++) {
    let w = exp(min(vec4<f32>(decay_t0) - decay[steps0 + s4], vec4<f32>())) * step[steps0 + s4];
    let at = ((row0 + s4 * 4u) * params.heads + head) * params.head_dim4;
    let left = mat4x4<f32>(vec4<f32>(x[at + p0]) * w.x, vec4<f32>(x[at + next + p0]) * w.y, vec4<f32>(x[at + 2u * next + p0]) * w.z, vec4<f32>(x[at + 3u * next + p0]) * w.w);
    let right = mat4x4<f32>(vec4<f32>(x[at + p1]) * w.x, vec4<f32>(x[at + next + p1]) * w.y, vec4<f32>(x[at + 2u * next + p1]) * w.z, vec4<f32>(x[at + 3u * next + p1]) * w.w);
    let a0 = vec4<f32>(product[gt.x + s4]); l0 += left * a0; r0 += right * a0;
    let a1 = vec4<f32>(product[gt.y + s4]); l1 += left * a1; r1 += right * a1;
    let a2 = vec4<f32>(product[gt.z + s4]); l2 += left * a2; r2 += right * a2;
    let a3 = vec4<f32>(product[gt.w + s4]); l3 += left * a3; r3 += right * a3;
    let a4 = vec4<f32>(product[gu.x + s4]); l4 += left * a4; r4 += right * a4;
    let a5 = vec4<f32>(product[gu.y + s4]); l5 += left * a5; r5 += right * a5;
    let a6 = vec4<f32>(product[gu.z + s4]); l6 += left * a6; r6 += right * a6;
    let a7 = vec4<f32>(product[gu.w + s4]); l7 += left * a7; r7 += right * a7;
  }

  // The block on the diagonal, s = t0 .. t, with decays of its own.
  let decay_t = decay[steps0 + t0 / 4u];
  let decay_u = decay[steps0 + min(t0 / 4u + 1u, chunk4 - 1u)];
  let scale_t = exp(min(decay_t - decay_t0, vec4<f32>()));
  let scale_u = exp(min(decay_u - decay_t0, vec4<f32>()));
  l0 *= scale_t.x; l1 *= scale_t.y; l2 *= scale_t.z; l3 *= scale_t.w; l4 *= scale_u.x; l5 *= scale_u.y; l6 *= scale_u.z; l7 *= scale_u.w;
  r0 *= scale_t.x; r1 *= scale_t.y; r2 *= scale_t.z; r3 *= scale_t.w; r4 *= scale_u.x; r5 *= scale_u.y; r6 *= scale_u.z; r7 *= scale_u.w;
  for (var s4 = t0 / 4u; s4 <= min(t0 / 4u + 1u, last / 4u); s4++) {
    let s = min(vec4<u32>(s4 * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
    let at = ((row0 + s) * params.heads + head) * params.head_dim4;
    let left = mat4x4<f32>(vec4<f32>(x[at.x + p0]), vec4<f32>(x[at.y + p0]), vec4<f32>(x[at.z + p0]), vec4<f32>(x[at.w + p0]));
    let right = mat4x4<f32>(vec4<f32>(x[at.x + p1]), vec4<f32>(x[at.y + p1]), vec4<f32>(x[at.z + p1]), vec4<f32>(x[at.w + p1]));
    let decay_s = decay[steps0 + s4];
    let step_s = step[steps0 + s4];
    let a0 = weights(s4 * 4u, t.x, vec4<f32>(product[gt.x + s4]) * step_s, decay_t.x, decay_s); l0 += left * a0; r0 += right * a0;
    let a1 = weights(s4 * 4u, t.y, vec4<f32>(product[gt.y + s4]) * step_s, decay_t.y, decay_s); l1 += left * a1; r1 += right * a1;
    let a2 = weights(s4 * 4u, t.z, vec4<f32>(product[gt.z + s4]) * step_s, decay_t.z, decay_s); l2 += left * a2; r2 += right * a2;
    let a3 = weights(s4 * 4u, t.w, vec4<f32>(product[gt.w + s4]) * step_s, decay_t.w, decay_s); l3 += left * a3; r3 += right * a3;
    let a4 = weights(s4 * 4u, u.x, vec4<f32>(product[gu.x + s4]) * step_s, decay_u.x, decay_s); l4 += left * a4; r4 += right * a4;
    let a5 = weights(s4 * 4u, u.y, vec4<f32>(product[gu.y + s4]) * step_s, decay_u.y, decay_s); l5 += left * a5; r5 += right * a5;
    let a6 = weights(s4 * 4u, u.z, vec4<f32>(product[gu.z + s4]) * step_s, decay_u.z, decay_s); l6 += left * a6; r6 += right * a6;
    let a7 = weights(s4 * 4u, u.w, vec4<f32>(product[gu.w + s4]) * step_s, decay_u.w, decay_s); l7 += left * a7; r7 += right * a7;
  }

  let wide = p0 + 1u < params.head_dim4;
  let rows = last + 1u - t0;
  let out = ((row0 + t0) * params.heads + head) * params.head_dim4;
  let d = skip[params.first_head + head];
  put(out, p0, wide, d, l0, r0);
  if (rows > 1u) { put(out + 1u * next, p0, wide, d, l1, r1); }
  if (rows > 2u) { put(out + 2u * next, p0, wide, d, l2, r2); }
  if (rows > 3u) { put(out + 3u * next, p0, wide, d, l3, r3); }
  if (rows > 4u) { put(out + 4u * next, p0, wide, d, l4, r4); }
  if (rows > 5u) { put(out + 5u * next, p0, wide, d, l5, r5); }
  if (rows > 6u) { put(out + 6u * next, p0, wide, d, l6, r6); }
  if (rows > 7u) { put(out + 7u * next, p0, wide, d, l7, r7); }
}

// Of positions s .. s + 3 those up to t: G dt' exp(F_t - F_s).
fn weights(s: u32, t: u32, product_step: vec4<f32>, decay_t: f32, decay_s: vec4<f32>) -> vec4<f32> {
  let value = product_step * exp(min(vec4<f32>(decay_t) - decay_s, vec4<f32>()));
  return select(vec4<f32>(), value, vec4<u32>(s) + vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(t));
}

fn put(row: u32, p: u32, wide: bool, d: f32, left: vec4<f32>, right: vec4<f32>) {
  y[row + p] = vec4<y_type>(left + d * vec4<f32>(x[row + p]));
  if (wide) { y[row + p + 1u] = vec4<y_type>(right + d * vec4<f32>(x[row + p + 1u])); }
}
