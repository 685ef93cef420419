// y[i] = table[ids[i]], rows of 4 * DIM4 values; table w [vocabulary, 4 * DIM4] of any weight type, ids [tokens] u32, y f32.
// A table can be larger than one binding (T5-XXL: 263 MB in f16), so a dispatch sees the rows first .. first + count only and leaves
// the other tokens to the dispatches that bind the rest. One thread a vec4. Bound: reading the rows once; a few hundred tokens.
override DIM4: u32;
struct Params { first: u32, count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;             // [tokens]
@group(0) @binding(2) var<storage, read> w: array<Weight>;            // [count, DIM4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;   // [tokens, DIM4]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = ids[id.y] - params.first;  // wraps around to a large number below `first`
  if (id.x >= DIM4 || row >= params.count) { return; }
  let weights = weight_row(row, DIM4);
  y[id.y * DIM4 + id.x] = weight4(weights, id.x, weight_scale(weights, id.x));
}
