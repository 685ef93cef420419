// image[c, row, column] = clamp(x[row, column, c] / 2 + 0.5, 0, 1) for the rows of one band: from NHWC to planes, and from the
// decoder's -1..1 to 0..1, as diffusers' VaeImageProcessor does. A clamp may hide NaN, so check x, not the image.
struct Params { first: u32, pixels: u32, image_pixels: u32, channels: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;                // [pixels, stored channels]
@group(0) @binding(2) var<storage, read_write> image: array<f32>;      // [channels, image_pixels]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let pixel = (group.y * groups.x + group.x) * 64u + thread;
  if (pixel >= params.pixels) { return; }
  let stored = (params.channels + 3u) & ~3u;
  for (var c = 0u; c < params.channels; c++) {
    image[c * params.image_pixels + params.first + pixel] = clamp(x[pixel * stored + c] * 0.5 + 0.5, 0.0, 1.0);
  }
}
