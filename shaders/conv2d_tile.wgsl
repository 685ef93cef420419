// y[row, column, o] = sum over taps and channels of w[o, tap, c] x[row + dy, column + dx, c] + bias[o], with the epilogue of
// lib/conv2d: 3x3 (zero padding 1) or 1x1, stride 1, NHWC, optionally on the nearest 2x upsampling of x. Rows of a band only.
// Implicit GEMM on the tile of gemm_tile: 128 pixels x 64 channels by 256 threads, 8x4 sums a thread, 16 of depth (taps x
// channels) a round, staged in 12 KiB of workgroup memory. A thread stages one vec4 of depth for four pixels, so the tap and its
// address are found once a round and no element costs a division. Bound: arithmetic. Same bindings and Params as conv2d_register.
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

// Depth-major, so that a thread reads its 8 pixels and 4 channels of one depth as vec4s.
var<workgroup> tile_x: array<array<real4, 32>, 16>;   // [depth, 128 pixels / 4]
var<workgroup> tile_w: array<array<real4, 16>, 16>;   // [depth, 64 channels / 4]

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let pixel0 = group.y * 128u;
  let channel0 = group.x * 64u;
  let depth4 = params.side * params.side * params.c4;
  // 128 threads stage x, 64 stage w: 4 pixels or channels x 4 of depth each, turned around in registers (see gemm_tile).
  let stage_w = thread >= 128u;
  let unit = select(thread, thread - 128u, stage_w);
  let quad = unit >> 2u;
  let lane = unit & 3u;
  let q0 = output_pixel(pixel0 + quad * 4u);
  let q1 = output_pixel(pixel0 + quad * 4u + 1u);
  let q2 = output_pixel(pixel0 + quad * 4u + 2u);
  let q3 = output_pixel(pixel0 + quad * 4u + 3u);
  let row0 = channel0 + quad * 4u;
  var sums: array<vec4<f32>, 8>;
  var part: array<real4, 8>;
  for (var k = 0u; k < depth4; k += 4u) {
    let depth = k + lane;
    if (!stage_w) {
      var m = mat4x4<f32>();
      if (depth < depth4) {
        let tap = depth / params.c4;
        let c = depth % params.c4;
        let dy = tap / params.side;
        let dx = tap % params.side;
        m = mat4x4<f32>(input(source(q0, dy, dx), c), input(source(q1, dy, dx), c), input(source(q2, dy, dx), c),
                        input(source(q3, dy, dx), c));
      }
      let turned = transpose(m);
      for (var i = 0u; i < 4u; i++) { tile_x[lane * 4u + i][quad] = real4(turned[i]); }
    } else if (unit < 64u) {
      var v = array<vec4<f32>, 4>();
      for (var i = 0u; i < 4u; i++) {
        if (depth < depth4 && row0 + i < params.outputs) {
          let row = weight_row(row0 + i, depth4);
          v[i] = weight4(row, depth, weight_scale(row, depth));
        }
      }
      let turned = transpose(mat4x4<f32>(v[0], v[1], v[2], v[3]));
      for (var i = 0u; i < 4u; i++) { tile_w[lane * 4u + i][quad] = real4(turned[i]); }
    }
    workgroupBarrier();
    part = array<real4, 8>(); // f16 products are summed in f16 over 16 of depth only
    for (var i = 0u; i < 16u; i++) {
      let b = tile_w[i][id.x];
      let a0 = tile_x[i][id.y * 2u];
      let a1 = tile_x[i][id.y * 2u + 1u];
      part[0] += a0.x * b; part[1] += a0.y * b; part[2] += a0.z * b; part[3] += a0.w * b;
      part[4] += a1.x * b; part[5] += a1.y * b; part[6] += a1.z * b; part[7] += a1.w * b;
    }
    for (var i = 0u; i < 8u; i++) { sums[i] += vec4<f32>(part[i]); }
    workgroupBarrier();
  }
  for (var i = 0u; i < 8u; i++) {
    let p = pixel0 + id.y * 8u + i;
    store4(p, output_pixel(p), channel0 + id.x * 4u, sums[i]);
  }
}
