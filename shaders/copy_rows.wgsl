// y[p, c] = f(x[p, c] scale[c] + shift[c]) for some pixels of x, to some pixels of y: applies a GroupNorm (scale_shift from
// group_norm_finalise) and SiLU while it gathers the rows of a band, or only gathers them.
// It stands before a convolution on purpose: folded into the convolution's loads, SiLU would be computed nine times for every 64
// output channels, which is about a fifth of the arithmetic of a 3x3 convolution, where this costs one read and one write, and
// zero padding after the norm comes for free. Bound: bandwidth.
override NORM: bool = false;
override SILU: bool = false;
struct Params { x_first: u32, y_first: u32, pixels: u32, c4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [pixels, c4]
@group(0) @binding(2) var<storage, read> scale_shift: array<vec4<f32>>;  // [2, c4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;      // [pixels, c4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * groups.x + group.x) * 64u + thread;
  if (i >= params.pixels * params.c4) { return; }
  var value = x[params.x_first * params.c4 + i];
  if (NORM) {
    let c = i % params.c4;
    value = value * scale_shift[c] + scale_shift[params.c4 + c];
  }
  if (SILU) { value = value / (1.0 + exp(-clamp(value, vec4<f32>(-80.0), vec4<f32>(80.0)))); }
  y[params.y_first * params.c4 + i] = value;
}
