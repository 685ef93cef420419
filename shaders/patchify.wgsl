// tokens[b, t, (row in patch, column in patch, channel)] = scale * latents[b, channel, row, column]: the patch embedding's input rows,
// so that its convolution is one matrix product. The scale is the sampler's model input scale of this step (step[0]).
// A batch larger than the latents' repeats them (both halves of guidance see the same latents). Bound: memory bandwidth.
struct Params { count: u32, latent_batch: u32, channels: u32, height: u32, width: u32, patch_size: u32, depth: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> latents: array<f32>;       // [latent_batch, channels, height, width]
@group(0) @binding(2) var<storage, read> step: array<f32>;          // step[0]: input scale
@group(0) @binding(3) var<storage, read_write> tokens: array<f32>;  // [batch, height/patch * width/patch, depth]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = linear_index(group, groups, thread);
  if (index >= params.count) { return; }
  let channel = index % params.depth % params.channels;
  let cell = index % params.depth / params.channels;
  if (cell >= params.patch_size * params.patch_size) { tokens[index] = 0.0; return; } // depth may be padded to a multiple of 4
  let token = index / params.depth;
  let columns = params.width / params.patch_size;
  let rows = params.height / params.patch_size;
  let row = token / columns % rows * params.patch_size + cell / params.patch_size;
  let column = token % columns * params.patch_size + cell % params.patch_size;
  let batch = token / (columns * rows) % params.latent_batch;
  tokens[index] = step[0] * latents[((batch * params.channels + channel) * params.height + row) * params.width + column];
}
