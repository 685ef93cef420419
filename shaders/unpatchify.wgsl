// y[b, c, row, column] = tokens[b, t, (row in patch, column in patch, channel)] for the first `channels` of the model's output channels:
// a model with learned sigma has twice as many, and the second half is not used by any sampler here. Bound: memory bandwidth.
struct Params { count: u32, channels: u32, token_channels: u32, height: u32, width: u32, patch_size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<f32>;        // [batch, tokens, patch * patch * token_channels]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // [batch, channels, height, width]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = linear_index(group, groups, thread);
  if (index >= params.count) { return; }
  let column = index % params.width;
  let row = index / params.width % params.height;
  let channel = index / (params.width * params.height) % params.channels;
  let batch = index / (params.width * params.height * params.channels);
  let columns = params.width / params.patch_size;
  let token = (batch * (params.height / params.patch_size) + row / params.patch_size) * columns + column / params.patch_size;
  let cell = row % params.patch_size * params.patch_size + column % params.patch_size;
  y[index] = tokens[(token * params.patch_size * params.patch_size + cell) * params.token_channels + channel];
}
