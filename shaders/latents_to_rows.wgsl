// y[pixel, c] = latents[c, pixel] / scaling_factor + shift_factor: from the sampler's planes [C, h, w] to NHWC with the channels
// padded by zeros to a multiple of four. A thread makes one vec4. Bound: latency, latents are small.
struct Params { pixels: u32, channels: u32, scale: f32, shift: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> latents: array<f32>;           // [channels, pixels]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;     // [pixels, channels / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * groups.x + group.x) * 64u + thread;
  let c4 = (params.channels + 3u) >> 2u;
  if (i >= params.pixels * c4) { return; }
  let pixel = i / c4;
  let channel = (i % c4) * 4u;
  var value = vec4<f32>();
  for (var j = 0u; j < 4u; j++) {
    if (channel + j < params.channels) {
      value[j] = latents[(channel + j) * params.pixels + pixel] * params.scale + params.shift;
    }
  }
  y[i] = value;
}
