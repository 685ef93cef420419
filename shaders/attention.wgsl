// y[b, t, h] = softmax_over_keys(scale q[b, t, h] . k[b, s, h] + bias[h, s - t]) v[b, s, h] for head sizes that are multiples of 4,
// up to 128 (TX 8, TY 16: 64 queries x 32 keys a step) or 512 (TX 32, TY 8: 32 queries x 64 keys).
// q, y [batch, queries, heads * head size]; k, v [batch or 1, keys, heads * head size]; one workgroup per (query block, head, batch).
// The queries of a dispatch may be some rows or some heads of all: then y_row is the width of all heads, y_column where these begin.
// The algorithm is lib/flash_attention. Bound: arithmetic, 4 queries keys (head size) operations a head; K and V are read
// once per 64 (32) queries, 16 KiB of workgroup memory and about 100 registers a thread suffice for any number of keys.
struct Params { first: u32, queries: u32, keys: u32, row: u32, y_row: u32, y_column: u32, kv_batch: u32, mask_stride: u32, scale_log2e: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<q_type>>;        // [batch, queries, row], row = heads * D4
@group(0) @binding(2) var<storage, read> k: array<vec4<k_type>>;        // [batch or 1, keys, row]; kv_batch is keys, or 0 when shared
@group(0) @binding(3) var<storage, read> v: array<vec4<v_type>>;        // [batch or 1, keys, row]
@group(0) @binding(4) var<storage, read> mask: array<f32>;           // [batch or 1, keys]
@group(0) @binding(5) var<storage, read> bias: array<f32>;           // [heads, 2 keys - 1]
@group(0) @binding(6) var<storage, read_write> y: array<vec4<y_type>>;  // [batch, queries, y_row], from y_column on

var<private> q_base: u32;
var<private> y_base: u32;
var<private> kv_base: u32;
fn load_q(token: u32, c: u32) -> vec4<f32> { return vec4<f32>(q[q_base + token * params.row + c]); }
fn load_k(token: u32, c: u32) -> vec4<f32> { return vec4<f32>(k[kv_base + token * params.row + c]); }
fn load_v(token: u32, c: u32) -> vec4<f32> { return vec4<f32>(v[kv_base + token * params.row + c]); }
fn store_y(token: u32, c: u32, value: vec4<f32>) { y[y_base + token * params.y_row + c] = vec4<y_type>(value); }

@compute @workgroup_size(TX * TY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  q_base = group.z * params.queries * params.row + group.y * D4;
  y_base = group.z * params.queries * params.y_row + params.y_column + group.y * D4;
  kv_base = group.z * params.kv_batch * params.row + group.y * D4;
  flash(params.first + group.x * 4u * TY, group.y, group.z, thread);
}
