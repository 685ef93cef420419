// y[rows, columns] = x[rows, depth] w[columns, depth]^T with the epilogue of lib/gemm_epilogue.
// The 128x64 tile of the best published scalar WGSL kernels: 256 threads, 8x4 sums a thread, 16 of depth a round, both operands
// staged in workgroup memory by vec4 (12.3 KiB of the default 16). Bound: arithmetic; each staged value is used 64 or 128 times.
// Depth is a multiple of 4; rows and columns are anything (edges are read as zero). Works in `real`, sums in f32.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<x_type>>;        // [rows, depth4]
@group(0) @binding(2) var<storage, read> w: array<Weight>;           // [columns, depth4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // [columns]
@group(0) @binding(4) var<storage, read> gate: array<f32>;           // [batches, gate_stride]
@group(0) @binding(5) var<storage, read> residual: array<f32>;       // [rows, columns]
@group(0) @binding(6) var<storage, read_write> y0: array<y0_type>;       // [rows, split0]
@group(0) @binding(7) var<storage, read_write> y1: array<y1_type>;       // [rows, split1 - split0]
@group(0) @binding(8) var<storage, read_write> y2: array<y2_type>;       // [rows, columns - split1]

// Depth-major, so that a thread reads its 8 rows and 4 columns of one depth as vec4s.
var<workgroup> tile_x: array<array<real4, 32>, 16>;   // [depth, 128 rows / 4]
var<workgroup> tile_w: array<array<real4, 16>, 16>;   // [depth, 64 columns / 4]

fn load_x(row: u32, k: u32) -> vec4<f32> {
  if (row < params.rows && k < params.depth4) { return vec4<f32>(x[row * params.depth4 + k]); }
  return vec4<f32>();
}
fn load_w(column: u32, k: u32) -> vec4<f32> {
  if (column < params.columns && k < params.depth4) { 
    let row = weight_row(column, params.depth4);
    return weight4(row, k, weight_scale(row, k));
  }
  return vec4<f32>();
}
fn store_row(row: u32, column: u32, sum: vec4<f32>) {
  for (var j = 0u; j < 4u; j++) { store(row, column + j, sum[j]); }
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let row0 = group.y * 128u;
  let column0 = group.x * 64u;
  var s0: vec4<f32>; var s1: vec4<f32>; var s2: vec4<f32>; var s3: vec4<f32>; var s4: vec4<f32>; var s5: vec4<f32>; var s6: vec4<f32>; var s7: vec4<f32>;
  // Staging: a thread turns 4 rows x 4 of depth around in registers and writes whole vec4s, because writing one component of a
  // vec4 that other threads write too is a race. 128 threads do so for x, 64 for w.
  let unit = thread & 127u;
  let quad = unit >> 2u;
  let k4 = unit & 3u;
  for (var k = 0u; k < params.depth4; k += 4u) {
    if (thread < 128u) {
      let r = row0 + quad * 4u;
      let v0 = load_x(r, k + k4); let v1 = load_x(r + 1u, k + k4); let v2 = load_x(r + 2u, k + k4); let v3 = load_x(r + 3u, k + k4);
      tile_x[k4 * 4u][quad] = real4(vec4<f32>(v0.x, v1.x, v2.x, v3.x));
      tile_x[k4 * 4u + 1u][quad] = real4(vec4<f32>(v0.y, v1.y, v2.y, v3.y));
      tile_x[k4 * 4u + 2u][quad] = real4(vec4<f32>(v0.z, v1.z, v2.z, v3.z));
      tile_x[k4 * 4u + 3u][quad] = real4(vec4<f32>(v0.w, v1.w, v2.w, v3.w));
    } else if (unit < 64u) {
      let c = column0 + quad * 4u;
      let v0 = load_w(c, k + k4); let v1 = load_w(c + 1u, k + k4); let v2 = load_w(c + 2u, k + k4); let v3 = load_w(c + 3u, k + k4);
      tile_w[k4 * 4u][quad] = real4(vec4<f32>(v0.x, v1.x, v2.x, v3.x));
      tile_w[k4 * 4u + 1u][quad] = real4(vec4<f32>(v0.y, v1.y, v2.y, v3.y));
      tile_w[k4 * 4u + 2u][quad] = real4(vec4<f32>(v0.z, v1.z, v2.z, v3.z));
      tile_w[k4 * 4u + 3u][quad] = real4(vec4<f32>(v0.w, v1.w, v2.w, v3.w));
    }
    workgroupBarrier();
    var p0 = real4(); var p1 = real4(); var p2 = real4(); var p3 = real4(); var p4 = real4(); var p5 = real4(); var p6 = real4(); var p7 = real4(); // f16 products are summed in f16 over 16 of depth only
    for (var i = 0u; i < 16u; i++) {
      let b = tile_w[i][id.x];
      let a0 = tile_x[i][id.y * 2u];
      let a1 = tile_x[i][id.y * 2u + 1u];
      p0 += a0.x * b; p1 += a0.y * b; p2 += a0.z * b; p3 += a0.w * b;
      p4 += a1.x * b; p5 += a1.y * b; p6 += a1.z * b; p7 += a1.w * b;
    }
    s0 += vec4<f32>(p0); s1 += vec4<f32>(p1); s2 += vec4<f32>(p2); s3 += vec4<f32>(p3); s4 += vec4<f32>(p4); s5 += vec4<f32>(p5); s6 += vec4<f32>(p6); s7 += vec4<f32>(p7);
    workgroupBarrier();
  }
  let row = row0 + id.y * 8u;
  let column = column0 + id.x * 4u;
  store_row(row + 0u, column, s0);
  store_row(row + 1u, column, s1);
  store_row(row + 2u, column, s2);
  store_row(row + 3u, column, s3);
  store_row(row + 4u, column, s4);
  store_row(row + 5u, column, s5);
  store_row(row + 6u, column, s6);
  store_row(row + 7u, column, s7);
}
