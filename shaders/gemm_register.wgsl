// y[rows, columns] = x[rows, depth] w[columns, depth]^T with the epilogue of lib/gemm_epilogue.
// No workgroup memory and no barriers: each thread owns 8x8 outputs and reads its 8 rows of x and 8 columns of w straight from
// memory, a vec4 of depth at a time, 64 dot products a round. The caches do what staging does elsewhere: this wins on Apple
// GPUs and on CPU implementations, where a barrier costs more than a load. Same bindings and Params as gemm_tile.
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

const TILE = 8u;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row0 = id.y * TILE;
  let column0 = id.x * TILE;
  if (row0 >= params.rows || column0 >= params.columns) { return; }
  // Rows and columns past the edge repeat the last one: no branch inside the loop, and `store` drops them.
  var row: array<u32, TILE>;
  var column: array<u32, TILE>;
  for (var i = 0u; i < TILE; i++) {
    row[i] = min(row0 + i, params.rows - 1u) * params.depth4;
    column[i] = min(column0 + i, params.columns - 1u) * params.depth4;
  }
  var sums: array<array<f32, TILE>, TILE>;
  for (var k = 0u; k < params.depth4; k++) {
    var b: array<vec4<f32>, TILE>;
    for (var j = 0u; j < TILE; j++) { b[j] = weight4(w[column[j] + k]); }
    for (var i = 0u; i < TILE; i++) {
      let a = x[row[i] + k];
      for (var j = 0u; j < TILE; j++) { sums[i][j] += dot(a, b[j]); }
    }
  }
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) { store(row0 + i, column0 + j, sums[i][j]); }
  }
}
