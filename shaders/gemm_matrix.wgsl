// y[rows, columns] = x[rows, depth] w[columns, depth]^T with the epilogue of lib/gemm_epilogue, on subgroup matrices: f16 operands, f32 sums,
// the 128x64 tile of lib/matrix_tile, 32 of depth a round. Both operands are rounded to f16 while they are staged, so every weight type
// and any edge (read as zero) will do. Bound: the matrix units; each staged value is used 64 or 128 times. Same bindings and
// Params as gemm_tile.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<x_type>>;     // [rows, depth4]
@group(0) @binding(2) var<storage, read> w: array<Weight>;           // [columns, depth4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // [columns]
@group(0) @binding(4) var<storage, read> gate: array<f32>;           // [batches, gate_stride]
@group(0) @binding(5) var<storage, read> residual: array<f32>;       // [rows, columns]
@group(0) @binding(6) var<storage, read_write> y0: array<y0_type>;   // [rows, split0]
@group(0) @binding(7) var<storage, read_write> y1: array<y1_type>;   // [rows, split1 - split0]
@group(0) @binding(8) var<storage, read_write> y2: array<y2_type>;   // [rows, columns - split1]

const A_DEPTH_FIRST = false;
const B_DEPTH_FIRST = false;
var<private> row0: u32;
var<private> column0: u32;

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
fn put4(row: u32, column: u32, sum: vec4<f32>) {
  for (var j = 0u; j < 4u; j++) { store(row0 + row, column0 + column + j, sum[j]); }
}

@compute @workgroup_size(THREADS) @subgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  row0 = group.y * TILE_ROWS;
  column0 = group.x * TILE_COLUMNS;
  var sums: TileSums;
  for (var k = 0u; k < params.depth4; k += TILE_DEPTH / 4u) {
    for (var u = thread; u < TILE_ROWS * TILE_DEPTH / 4u; u += THREADS) {
      stage_a(u >> 3u, (u & 7u) * 4u, load_x(row0 + (u >> 3u), k + (u & 7u)));
    }
    for (var u = thread; u < TILE_COLUMNS * TILE_DEPTH / 4u; u += THREADS) {
      stage_b(u >> 3u, (u & 7u) * 4u, load_w(column0 + (u >> 3u), k + (u & 7u)));
    }
    workgroupBarrier();
    multiply_tiles(&sums, subgroup);
    workgroupBarrier();
  }
  put_tiles(&sums, subgroup, lane);
}
