// y[h, i] = table[buckets[i], h]: T5's relative attention bias (Raffel et al. 2020, section 2.1) by distance instead of by pair.
// table [number of buckets, heads], buckets [distances] u32, y [heads, distances]; distances = 2 n - 1, from -(n-1) to n-1.
// The n x n x heads bias of the usual implementation is never made; attention looks its value up in y. One thread a value.
struct Params { heads: u32, distances: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> buckets: array<u32>;     // [distances]
@group(0) @binding(2) var<storage, read> table: array<f32>;       // [number of buckets, heads]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;     // [heads, distances]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.distances) { return; }
  y[id.y * params.distances + id.x] = table[buckets[id.x] * params.heads + id.y];
}
