// ssd_chunk_state without workgroup memory: S[n, p] = sum_s B[s, n] w_s x[s, p] per (chunk, lane), a lane being one head of one
// sequence. Each thread owns 8 of N and 8 of P and reads straight from memory: 4 vec4 and 16 vec4 products per position. For
// devices where a barrier costs more than a cached load (see gemm_register). Same bindings and Params as ssd_chunk_state.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<b_type>>;              // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> x: array<vec4<x_type>>;              // [S, T, M, P / 4]
@group(0) @binding(3) var<storage, read> weight: array<f32>;               // w [S * M, chunks, Q]
@group(0) @binding(4) var<storage, read_write> states: array<vec4<f32>>;   // [lanes, chunks - 1, N, P / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tiles_p = (params.head_dim4 + 1u) / 2u;
  let unit = group.x * 64u + thread;
  let p0 = (unit % tiles_p) * 2u;
  let n0 = (unit / tiles_p) * 2u;
  if (n0 >= params.state4) { return; }
  let p1 = min(p0 + 1u, params.head_dim4 - 1u); // past the edge the last vec4 is repeated, and not stored
  let n1 = min(n0 + 1u, params.state4 - 1u);
  let lane = params.lane0 + group.z;
  let head = lane % params.heads;
  let row0 = lane / params.heads * params.tokens;
  let first = group.y * params.chunk;
  var s00 = vec4<f32>(); var s01 = vec4<f32>(); var s10 = vec4<f32>(); var s11 = vec4<f32>();
  var s20 = vec4<f32>(); var s21 = vec4<f32>(); var s30 = vec4<f32>(); var s31 = vec4<f32>();
  var s40 = vec4<f32>(); var s41 = vec4<f32>(); var s50 = vec4<f32>(); var s51 = vec4<f32>();
  var s60 = vec4<f32>(); var s61 = vec4<f32>(); var s70 = vec4<f32>(); var s71 = vec4<f32>();
  for (var k = first; k < first + params.chunk; k++) {
    let row = row0 + min(k, params.tokens - 1u);
    let w = weight[lane * params.chunks * params.chunk + k];
    let x_row = (row * params.heads + head) * params.head_dim4;
    let x0 = w * vec4<f32>(x[x_row + p0]);
    let x1 = w * vec4<f32>(x[x_row + p1]);
    let b0 = vec4<f32>(b[row * params.state4 + n0]);
    let b1 = vec4<f32>(b[row * params.state4 + n1]);
    s00 += b0.x * x0; s01 += b0.x * x1; s10 += b0.y * x0; s11 += b0.y * x1;
    s20 += b0.z * x0; s21 += b0.z * x1; s30 += b0.w * x0; s31 += b0.w * x1;
    s40 += b1.x * x0; s41 += b1.x * x1; s50 += b1.y * x0; s51 += b1.y * x1;
    s60 += b1.z * x0; s61 += b1.z * x1; s70 += b1.w * x0; s71 += b1.w * x1;
  }
  let at = ((group.z * (params.chunks - 1u) + group.y) * params.state4 + n0) * 4u;
  let wide = p0 + 1u < params.head_dim4;
  let p = p0;
  put(at, p, wide, s00, s01);
  put(at + 1u, p, wide, s10, s11);
  put(at + 2u, p, wide, s20, s21);
  put(at + 3u, p, wide, s30, s31);
  if (n0 + 1u < params.state4) {
    put(at + 4u, p, wide, s40, s41);
    put(at + 5u, p, wide, s50, s51);
    put(at + 6u, p, wide, s60, s61);
    put(at + 7u, p, wide, s70, s71);
  }
}

fn put(row: u32, p: u32, wide: bool, left: vec4<f32>, right: vec4<f32>) {
  states[row * params.head_dim4 + p] = left;
  if (wide) { states[row * params.head_dim4 + p + 1u] = right; }
}
