// y = activation(a) * b, value by value: the middle of a gated feed-forward (Shazeer 2020, GLU variants).
// a, b, y are any three tensors of the same size. Used where a and b come out of one product; otherwise gemm's `multiply` does it.
// One thread a vec4. Bound: bandwidth, 12 bytes a value.
override ACTIVATION: u32;
struct Params { quads: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let i = (group.x + group.y * 65535u) * 64u + thread;
  if (i >= params.quads) { return; }
  let v = a[i];
  y[i] = b[i] * vec4<f32>(activate(ACTIVATION, v.x), activate(ACTIVATION, v.y), activate(ACTIVATION, v.z), activate(ACTIVATION, v.w));
}
