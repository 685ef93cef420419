// attention for head sizes that are not multiples of 4: the same algorithm (lib/flash_attention) and the same Params, but rows do not
// start at a vec4, so vec4s are put together from single values and the last one of a head is filled with zeros.
// Small test models have such heads; the real ones (64, 72, 512) do not, so nothing here is tuned.
struct Params { first: u32, queries: u32, keys: u32, row: u32, y_row: u32, y_column: u32, kv_batch: u32, mask_stride: u32, scale_log2e: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<q_type>;        // [batch, queries, row], row = heads * HEAD_DIM
@group(0) @binding(2) var<storage, read> k: array<k_type>;        // [batch or 1, keys, row]; kv_batch is keys, or 0 when shared
@group(0) @binding(3) var<storage, read> v: array<v_type>;        // [batch or 1, keys, row]
@group(0) @binding(4) var<storage, read> mask: array<f32>;     // [batch or 1, keys]
@group(0) @binding(5) var<storage, read> bias: array<f32>;     // [heads, 2 keys - 1]
@group(0) @binding(6) var<storage, read_write> y: array<y_type>;  // [batch, queries, y_row], from y_column on

var<private> q_base: u32;
var<private> y_base: u32;
var<private> kv_base: u32;
fn load_q(token: u32, c: u32) -> vec4<f32> {
  var value = vec4<f32>(0.0);
  for (var e = 0u; e < min(4u, HEAD_DIM - 4u * c); e++) { value[e] = f32(q[q_base + token * params.row + 4u * c + e]); }
  return value;
}
fn load_k(token: u32, c: u32) -> vec4<f32> {
  var value = vec4<f32>(0.0);
  for (var e = 0u; e < min(4u, HEAD_DIM - 4u * c); e++) { value[e] = f32(k[kv_base + token * params.row + 4u * c + e]); }
  return value;
}
fn load_v(token: u32, c: u32) -> vec4<f32> {
  var value = vec4<f32>(0.0);
  for (var e = 0u; e < min(4u, HEAD_DIM - 4u * c); e++) { value[e] = f32(v[kv_base + token * params.row + 4u * c + e]); }
  return value;
}
fn store_y(token: u32, c: u32, value: vec4<f32>) {
  for (var e = 0u; e < min(4u, HEAD_DIM - 4u * c); e++) { y[y_base + token * params.y_row + 4u * c + e] = y_type(value[e]); }
}

@compute @workgroup_size(TX * TY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  q_base = group.z * params.queries * params.row + group.y * HEAD_DIM;
  y_base = group.z * params.queries * params.y_row + params.y_column + group.y * HEAD_DIM;
  kv_base = group.z * params.kv_batch * params.row + group.y * HEAD_DIM;
  flash(params.first + group.x * 4u * TY, group.y, group.z, thread);
}
