// One sampler update, whatever the sampler: guidance, then x0, then the next latents, all linear with coefficients made on the CPU:
//   output = unconditional + guidance * (conditional - unconditional)
//   x0     = step[1] * latents + step[2] * output
//   next   = step[3] * latents + step[4] * x0 + step[5] * previous_x0
// In place, and nothing but `step` changes from step to step. Sources: classifier-free guidance (arXiv 2207.12598); the
// coefficients of each sampler are explained in src/sampler. Bound: memory bandwidth.
struct Params { count: u32, conditional_offset: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<f32>;                  // [8]: input scale, 5 coefficients, guidance
@group(0) @binding(2) var<storage, read> unconditional: array<f32>;         // [count]
@group(0) @binding(3) var<storage, read> conditional: array<f32>;           // [.., count], read from conditional_offset on
@group(0) @binding(4) var<storage, read_write> latents: array<f32>;         // [count]
@group(0) @binding(5) var<storage, read_write> previous_x0: array<f32>;     // [count]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let i = linear_index(group, groups, thread);
  if (i >= params.count) { return; }
  let base = unconditional[i];
  let output = base + step[6] * (conditional[params.conditional_offset + i] - base);
  let x = latents[i];
  let x0 = step[1] * x + step[2] * output;
  latents[i] = step[3] * x + step[4] * x0 + step[5] * previous_x0[i];
  previous_x0[i] = x0;
}
