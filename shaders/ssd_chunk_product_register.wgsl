// ssd_chunk_product without workgroup memory: G[t, s] = C_t . B_s per (chunk, sequence), for s <= t. Each thread owns 8 positions t
// and 4 positions s and reads straight from memory, a vec4 of depth at a time. For devices where a barrier costs more than a
// cached load (see gemm_register). Same bindings and Params as ssd_chunk_product.
struct Params { tokens: u32, state4: u32, chunk: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;               // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> c: array<vec4<f32>>;               // [S, T, N / 4]
@group(0) @binding(3) var<storage, read_write> product: array<vec4<f32>>;   // G [S, chunks, Q, Q / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let unit = group.x * 64u + thread;
  let tiles_s = params.chunk / 4u;
  let s0 = unit % tiles_s * 4u;
  let t0 = unit / tiles_s * 8u;
  if (t0 >= params.chunk || s0 > t0 + 7u) { return; }
  let first = group.y * params.chunk;
  let row0 = group.z * params.tokens;
  let last = params.tokens - 1u;
  var rows: array<u32, 8>;
  for (var i = 0u; i < 8u; i++) { rows[i] = (row0 + min(first + t0 + i, last)) * params.state4; }
  let column0 = (row0 + min(first + s0, last)) * params.state4;
  let column1 = (row0 + min(first + s0 + 1u, last)) * params.state4;
  let column2 = (row0 + min(first + s0 + 2u, last)) * params.state4;
  let column3 = (row0 + min(first + s0 + 3u, last)) * params.state4;
  var sums: array<vec4<f32>, 8>;
  for (var k = 0u; k < params.state4; k++) {
    let b0 = b[column0 + k];
    let b1 = b[column1 + k];
    let b2 = b[column2 + k];
    let b3 = b[column3 + k];
    for (var i = 0u; i < 8u; i++) {
      let a = c[rows[i] + k];
      sums[i] += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
    }
  }
  for (var i = 0u; i < 8u; i++) {
    let t = t0 + i;
    if (t < params.chunk) { product[(((group.z * groups.y + group.y) * params.chunk + t) * params.chunk + s0) / 4u] = sums[i]; }
  }
}
