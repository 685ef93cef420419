// y[rows, columns] = x[rows, depth] w[columns, depth]^T for few rows (adaLN vectors: 1 or 2; short prompts), with the epilogue of
// lib/gemm_epilogue. A workgroup owns one row and 8 columns; 8 threads share a column's depth and add up through workgroup
// memory. Bound: reading w once a row, so memory bandwidth. Same bindings and Params as gemm_tile.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<x_type>>;        // [rows, depth4]
@group(0) @binding(2) var<storage, read> w: array<Weight>;           // [columns, depth4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // [columns]
@group(0) @binding(4) var<storage, read> gate: array<f32>;           // [batches, gate_stride]
@group(0) @binding(5) var<storage, read> residual: array<f32>;       // [rows, columns]
@group(0) @binding(6) var<storage, read_write> y0: array<y0_type>;       // [rows, split0]
@group(0) @binding(7) var<storage, read_write> y1: array<y1_type>;       // [rows, split1 - split0]
@group(0) @binding(8) var<storage, read_write> y2: array<y2_type>;       // [rows, columns - split1]

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
  let column = group.x * 8u + id.y;
  let row = group.y;
  var sum = 0.0;
  if (column < params.columns) {
    let weights = weight_row(column, params.depth4);
    for (var k = id.x; k < params.depth4; k += 8u) {
      sum += dot(vec4<f32>(x[row * params.depth4 + k]), weight4(weights, k, weight_scale(weights, k)));
    }
  }
  partial[id.y * 8u + id.x] = sum;
  workgroupBarrier();
  if (id.x == 0u) {
    var total = 0.0;
    for (var i = 0u; i < 8u; i++) { total += partial[id.y * 8u + i]; }
    store(row, column, total);
  }
}
