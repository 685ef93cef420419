// y = x / (1 + exp(-x)), element by element. Only for the timestep vector, whose raw value is needed as well; everywhere else the
// activation is part of a matrix product's epilogue. Bound: launch time.
struct Params { count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = linear_index(group, groups, thread);
  if (index < params.count) { y[index] = silu(x[index]); }
}
