// y[row, column, o] = sum over taps and channels of w[o, tap, c] x[row + dy, column + dx, c] + bias[o], with the epilogue of
// lib/conv2d: 3x3 (zero padding 1) or 1x1, stride 1, NHWC, optionally on the nearest 2x upsampling of x. Rows of a band only.
// No workgroup memory: each thread owns 8 pixels x 8 channels in 16 vec4s and reads a vec4 of channels at a time; a 4x4 matrix of
// weights times a pixel's vec4 is four dot products. Written out, not looped: an array indexed by a loop variable lives in
// memory on CPU implementations (SwiftShader: 0.3 GFLOP/s a core with arrays, 1.5 so). Chosen there, on Apple, and for few outputs.
struct Params {
  row0: u32, pixels: u32, height: u32, width: u32, c4: u32, outputs: u32, side: u32, upsample: u32,
  x_row0: u32, y_row0: u32, residual_row0: u32, residual_kind: u32, has_bias: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // [rows, width >> upsample, c4]
@group(0) @binding(2) var<storage, read> w: array<Weight>;            // [outputs, side * side, c4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;            // [outputs]
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;  // [rows, width, outputs / 4]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;   // [rows, width, outputs / 4]

fn channel_row(channel: u32) -> WeightRow {
  return weight_row(min(channel, params.outputs - 1u), params.side * params.side * params.c4);
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let p = id.y * 8u;
  let o = id.x * 8u;
  if (p >= params.pixels || o >= params.outputs) { return; }
  let q0 = output_pixel(p); let q1 = output_pixel(p + 1u); let q2 = output_pixel(p + 2u); let q3 = output_pixel(p + 3u);
  let q4 = output_pixel(p + 4u); let q5 = output_pixel(p + 5u); let q6 = output_pixel(p + 6u); let q7 = output_pixel(p + 7u);
  let w0 = channel_row(o); let w1 = channel_row(o + 1u); let w2 = channel_row(o + 2u); let w3 = channel_row(o + 3u);
  let w4 = channel_row(o + 4u); let w5 = channel_row(o + 5u); let w6 = channel_row(o + 6u); let w7 = channel_row(o + 7u);
  var s0 = vec4<f32>(); var s1 = vec4<f32>(); var s2 = vec4<f32>(); var s3 = vec4<f32>();
  var s4 = vec4<f32>(); var s5 = vec4<f32>(); var s6 = vec4<f32>(); var s7 = vec4<f32>();
  var t0 = vec4<f32>(); var t1 = vec4<f32>(); var t2 = vec4<f32>(); var t3 = vec4<f32>();
  var t4 = vec4<f32>(); var t5 = vec4<f32>(); var t6 = vec4<f32>(); var t7 = vec4<f32>();
  // Blocks of shared scales never straddle taps: a quantised row is a multiple of 32 and side * side is odd, so channels are one too.
  var tap = 0u;  // where the tap's channels start in a row of w
  for (var dy = 0u; dy < params.side; dy++) {
    for (var dx = 0u; dx < params.side; dx++) {
      let x0 = source(q0, dy, dx); let x1 = source(q1, dy, dx); let x2 = source(q2, dy, dx); let x3 = source(q3, dy, dx);
      let x4 = source(q4, dy, dx); let x5 = source(q5, dy, dx); let x6 = source(q6, dy, dx); let x7 = source(q7, dy, dx);
      for (var block = 0u; block < params.c4; block += WEIGHT_BLOCK) {
        let first = tap + block;
        let e0 = weight_scale(w0, first); let e1 = weight_scale(w1, first); let e2 = weight_scale(w2, first); let e3 = weight_scale(w3, first);
        let e4 = weight_scale(w4, first); let e5 = weight_scale(w5, first); let e6 = weight_scale(w6, first); let e7 = weight_scale(w7, first);
        let end = min(block + WEIGHT_BLOCK, params.c4);
        for (var c = block; c < end; c++) {
          let k = tap + c;
          let b = mat4x4<f32>(weight4(w0, k, e0), weight4(w1, k, e1), weight4(w2, k, e2), weight4(w3, k, e3));
          let d = mat4x4<f32>(weight4(w4, k, e4), weight4(w5, k, e5), weight4(w6, k, e6), weight4(w7, k, e7));
          var a = input(x0, c); s0 += a * b; t0 += a * d;
          a = input(x1, c); s1 += a * b; t1 += a * d;
          a = input(x2, c); s2 += a * b; t2 += a * d;
          a = input(x3, c); s3 += a * b; t3 += a * d;
          a = input(x4, c); s4 += a * b; t4 += a * d;
          a = input(x5, c); s5 += a * b; t5 += a * d;
          a = input(x6, c); s6 += a * b; t6 += a * d;
          a = input(x7, c); s7 += a * b; t7 += a * d;
        }
      }
      tap += params.c4;
    }
  }
  // A loop here keeps the code small, which is most of the compile time on SwiftShader.
  let sums = array<vec4<f32>, 16>(s0, t0, s1, t1, s2, t2, s3, t3, s4, t4, s5, t5, s6, t6, s7, t7);
  for (var i = 0u; i < 8u; i++) {
    let q = output_pixel(p + i);
    store4(p + i, q, o, sums[2u * i]);
    store4(p + i, q, o + 4u, sums[2u * i + 1u]);
  }
}
