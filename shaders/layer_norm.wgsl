// y = (x - mean) / sqrt(variance + eps) * (1 + scale) + shift along the last axis, x and y [rows, 4 * DIM4].
// LayerNorm without weights of its own (Ba et al. 2016) followed by the modulation of adaLN (Peebles & Xie 2022): row r belongs to
// picture b = r / rows_per_batch, whose shift and scale start at modulation[shift_offset or scale_offset + b * stride], so that
// one tensor can hold the vectors of all blocks. MODULATED false leaves the modulation out.
// One workgroup of 64 threads a row. Two passes, mean first, then the sum of squared differences, both in f32: no cancellation.
// Bound: reading x and writing y once; the second and third look at a row (4.6 KB) are served by the cache.
override DIM4: u32;
override MODULATED: bool = true;
struct Params { rows: u32, shift_offset: u32, scale_offset: u32, stride: u32, rows_per_batch: u32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // [rows, DIM4]
@group(0) @binding(2) var<storage, read> modulation: array<f32>;      // anything; see above
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_type>>;   // [rows, DIM4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = group.x + group.y * 65535u;
  let start = min(row, params.rows - 1u) * DIM4;
  var sum = vec4<f32>(0.0);
  for (var c = thread; c < DIM4; c += 64u) { sum += x[start + c]; }
  let mean = row_sum(thread, dot(sum, vec4<f32>(1.0))) / f32(4u * DIM4);
  var squares = 0.0;
  for (var c = thread; c < DIM4; c += 64u) {
    let d = x[start + c] - mean;
    squares += dot(d, d);
  }
  let factor = inverseSqrt(row_sum(thread, squares) / f32(4u * DIM4) + params.eps);
  if (row >= params.rows) { return; }
  let batch = row / params.rows_per_batch;
  let shift = params.shift_offset + batch * params.stride;
  let scale = params.scale_offset + batch * params.stride;
  for (var c = thread; c < DIM4; c += 64u) {
    var value = (x[start + c] - mean) * factor;
    if (MODULATED) {
      let i = shift + 4u * c;
      let j = scale + 4u * c;
      value = value * (1.0 + vec4<f32>(modulation[j], modulation[j + 1u], modulation[j + 2u], modulation[j + 3u]))
        + vec4<f32>(modulation[i], modulation[i + 1u], modulation[i + 2u], modulation[i + 3u]);
    }
    y[start + c] = vec4<y_type>(value);
  }
}
