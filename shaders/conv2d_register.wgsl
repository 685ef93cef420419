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
@group(0) @binding(2) var<storage, read> w: array<Weight4>;           // [outputs, side * side, c4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;            // [outputs]
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;  // [rows, width, outputs / 4]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;   // [rows, width, outputs / 4]

fn weight_row(channel: u32) -> u32 { return min(channel, params.outputs - 1u) * params.side * params.side * params.c4; }

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let p = id.y * 8u;
  let o = id.x * 8u;
  if (p >= params.pixels || o >= params.outputs) { return; }
  let q0 = output_pixel(p); let q1 = output_pixel(p + 1u); let q2 = output_pixel(p + 2u); let q3 = output_pixel(p + 3u);
  let q4 = output_pixel(p + 4u); let q5 = output_pixel(p + 5u); let q6 = output_pixel(p + 6u); let q7 = output_pixel(p + 7u);
  var w0 = weight_row(o); var w1 = weight_row(o + 1u); var w2 = weight_row(o + 2u); var w3 = weight_row(o + 3u);
  var w4 = weight_row(o + 4u); var w5 = weight_row(o + 5u); var w6 = weight_row(o + 6u); var w7 = weight_row(o + 7u);
  var s0 = vec4<f32>(); var s1 = vec4<f32>(); var s2 = vec4<f32>(); var s3 = vec4<f32>();
  var s4 = vec4<f32>(); var s5 = vec4<f32>(); var s6 = vec4<f32>(); var s7 = vec4<f32>();
  var t0 = vec4<f32>(); var t1 = vec4<f32>(); var t2 = vec4<f32>(); var t3 = vec4<f32>();
  var t4 = vec4<f32>(); var t5 = vec4<f32>(); var t6 = vec4<f32>(); var t7 = vec4<f32>();
  for (var dy = 0u; dy < params.side; dy++) {
    for (var dx = 0u; dx < params.side; dx++) {
      let x0 = source(q0, dy, dx); let x1 = source(q1, dy, dx); let x2 = source(q2, dy, dx); let x3 = source(q3, dy, dx);
      let x4 = source(q4, dy, dx); let x5 = source(q5, dy, dx); let x6 = source(q6, dy, dx); let x7 = source(q7, dy, dx);
      for (var c = 0u; c < params.c4; c++) {
        let b = mat4x4<f32>(weight4(w[w0 + c]), weight4(w[w1 + c]), weight4(w[w2 + c]), weight4(w[w3 + c]));
        let d = mat4x4<f32>(weight4(w[w4 + c]), weight4(w[w5 + c]), weight4(w[w6 + c]), weight4(w[w7 + c]));
        var a = input(x0, c); s0 += a * b; t0 += a * d;
        a = input(x1, c); s1 += a * b; t1 += a * d;
        a = input(x2, c); s2 += a * b; t2 += a * d;
        a = input(x3, c); s3 += a * b; t3 += a * d;
        a = input(x4, c); s4 += a * b; t4 += a * d;
        a = input(x5, c); s5 += a * b; t5 += a * d;
        a = input(x6, c); s6 += a * b; t6 += a * d;
        a = input(x7, c); s7 += a * b; t7 += a * d;
      }
      w0 += params.c4; w1 += params.c4; w2 += params.c4; w3 += params.c4;
      w4 += params.c4; w5 += params.c4; w6 += params.c4; w7 += params.c4;
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
