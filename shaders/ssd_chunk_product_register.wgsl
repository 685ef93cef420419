// ssd_chunk_product without workgroup memory: G[t, s] = C_t . B_s per (chunk, sequence), for s <= t. Each thread owns 8 positions t
// and 4 positions s and reads straight from memory, a vec4 of depth at a time. For devices where a barrier costs more than a
// cached load (see gemm_register). Same bindings and Params as ssd_chunk_product.
struct Params { tokens: u32, state4: u32, chunk: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<b_type>>;               // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> c: array<vec4<c_type>>;               // [S, T, N / 4]
@group(0) @binding(3) var<storage, read_write> product: array<vec4<product_type>>;   // G [S, chunks, Q, Q / 4]

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
  let t = vec4<u32>(t0) + vec4<u32>(0u, 1u, 2u, 3u);
  let ct = (row0 + min(first + t, vec4<u32>(last))) * params.state4;
  let cu = (row0 + min(first + t + 4u, vec4<u32>(last))) * params.state4;
  let bs = (row0 + min(first + s0 + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last))) * params.state4;
  var g0 = vec4<f32>(); var g1 = vec4<f32>(); var g2 = vec4<f32>(); var g3 = vec4<f32>();
  var g4 = vec4<f32>(); var g5 = vec4<f32>(); var g6 = vec4<f32>(); var g7 = vec4<f32>();
  for (var k = 0u; k < params.state4; k++) {
    let columns = mat4x4<f32>(vec4<f32>(b[bs.x + k]), vec4<f32>(b[bs.y + k]), vec4<f32>(b[bs.z + k]), vec4<f32>(b[bs.w + k]));
    g0 += vec4<f32>(c[ct.x + k]) * columns;
    g1 += vec4<f32>(c[ct.y + k]) * columns;
    g2 += vec4<f32>(c[ct.z + k]) * columns;
    g3 += vec4<f32>(c[ct.w + k]) * columns;
    g4 += vec4<f32>(c[cu.x + k]) * columns;
    g5 += vec4<f32>(c[cu.y + k]) * columns;
    g6 += vec4<f32>(c[cu.z + k]) * columns;
    g7 += vec4<f32>(c[cu.w + k]) * columns;
  }
  let at = (((group.z * groups.y + group.y) * params.chunk + t0) * params.chunk + s0) / 4u;
  let next = params.chunk / 4u;
  product[at] = vec4<product_type>(g0);
  product[at + next] = vec4<product_type>(g1);
  product[at + 2u * next] = vec4<product_type>(g2);
  product[at + 3u * next] = vec4<product_type>(g3);
  if (t0 + 4u < params.chunk) { // the chunk is a multiple of 4
    product[at + 4u * next] = vec4<product_type>(g4);
    product[at + 5u * next] = vec4<product_type>(g5);
    product[at + 6u * next] = vec4<product_type>(g6);
    product[at + 7u * next] = vec4<product_type>(g7);
  }
}
