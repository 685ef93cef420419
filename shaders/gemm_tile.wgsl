// y[rows, columns] = x[rows, depth] w[columns, depth]^T with the epilogue of lib/gemm_epilogue.
// The 128x64 tile of the best published scalar WGSL kernels: 256 threads, 8x4 sums a thread, 16 of depth a round, both operands
// staged in workgroup memory by vec4 (12.3 KiB of the default 16). Bound: arithmetic; each staged value is used 64 or 128 times.
// Depth is a multiple of 4; rows and columns are anything (edges are read as zero). Works in `real`, sums in f32.
struct Params { rows: u32, columns: u32, depth4: u32, split0: u32, split1: u32, rows_per_batch: u32, gate_offset: u32, gate_stride: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // [rows, depth4]
@group(0) @binding(2) var<storage, read> w: array<Weight4>;          // [columns, depth4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // [columns]
@group(0) @binding(4) var<storage, read> gate: array<f32>;           // [batches, gate_stride]
@group(0) @binding(5) var<storage, read> residual: array<f32>;       // [rows, columns]
@group(0) @binding(6) var<storage, read_write> y0: array<f32>;       // [rows, split0]
@group(0) @binding(7) var<storage, read_write> y1: array<f32>;       // [rows, split1 - split0]
@group(0) @binding(8) var<storage, read_write> y2: array<f32>;       // [rows, columns - split1]

// Depth-major, so that a thread reads its 8 rows and 4 columns of one depth as vec4s.
var<workgroup> tile_x: array<array<real4, 32>, 16>;   // [depth, 128 rows / 4]
var<workgroup> tile_w: array<array<real4, 16>, 16>;   // [depth, 64 columns / 4]

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let row0 = group.y * 128u;
  let column0 = group.x * 64u;
  var sums: array<vec4<f32>, 8>;
  var part: array<real4, 8>;
  // Staging: a thread turns 4 rows x 4 of depth around in registers and writes whole vec4s, because writing one component of a
  // vec4 that other threads write too is a race. 128 threads do so for x, 64 for w.
  let stage_w = thread >= 128u;
  let unit = select(thread, thread - 128u, stage_w);
  let unit_quad = unit >> 2u;
  let unit_k = unit & 3u;
  for (var k = 0u; k < params.depth4; k += 4u) {
    let inside = k + unit_k < params.depth4;
    var v = array<vec4<f32>, 4>();
    if (!stage_w) {
      for (var i = 0u; i < 4u; i++) {
        let row = row0 + unit_quad * 4u + i;
        if (inside && row < params.rows) { v[i] = x[row * params.depth4 + k + unit_k]; }
      }
      for (var i = 0u; i < 4u; i++) {
        tile_x[unit_k * 4u + i][unit_quad] = real4(vec4<f32>(v[0][i], v[1][i], v[2][i], v[3][i]));
      }
    } else if (unit < 64u) {
      for (var i = 0u; i < 4u; i++) {
        let column = column0 + unit_quad * 4u + i;
        if (inside && column < params.columns) { v[i] = weight4(w[column * params.depth4 + k + unit_k]); }
      }
      for (var i = 0u; i < 4u; i++) {
        tile_w[unit_k * 4u + i][unit_quad] = real4(vec4<f32>(v[0][i], v[1][i], v[2][i], v[3][i]));
      }
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
    for (var j = 0u; j < 4u; j++) { store(row0 + id.y * 8u + i, column0 + id.x * 4u + j, sums[i][j]); }
  }
}
