// One sampler update, whatever the sampler: guidance, then x0, then the next latents, with coefficients made on the CPU:
//   output = unconditional + guidance * (conditional - unconditional)                                     guidance: step[8]
//   x0     = clamp(step[1] * latents + step[2] * output, -step[3], step[3])
//   next   = step[4] * latents + step[5] * output + step[6] * x0 + step[7] * previous_x0
// In place, and nothing but `step` changes from step to step; src/sampler/step.ts names the numbers. Source of the first line:
// classifier-free guidance (arXiv 2207.12598). Bound: memory bandwidth.
struct Params { count: u32, conditional_offset: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<f32>;                  // [9], see src/sampler/step.ts
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
  let output = base + step[8] * (conditional[params.conditional_offset + i] - base);
  let x = latents[i];
  let x0 = clamp(step[1] * x + step[2] * output, -step[3], step[3]);
  latents[i] = step[4] * x + step[5] * output + step[6] * x0 + step[7] * previous_x0[i];
  previous_x0[i] = x0;
}
