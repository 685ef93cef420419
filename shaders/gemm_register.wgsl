// y[rows, columns] = x[rows, depth] w[columns, depth]^T with the epilogue of lib/gemm_epilogue.
// No workgroup memory and no barriers: each thread owns 8x8 outputs and reads its 8 rows of x and 8 columns of w straight from
// memory, a vec4 of depth at a time, 64 dot products a round. The caches do what staging does elsewhere: this wins on Apple
// GPUs and on CPU implementations, where a barrier costs more than a load. Same bindings and Params as gemm_tile.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<x_type>>;        // [rows, depth4]
@group(0) @binding(2) var<storage, read> w: array<Weight>;           // [columns, depth4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // [columns]
@group(0) @binding(4) var<storage, read> gate: array<f32>;           // [batches, gate_stride]
@group(0) @binding(5) var<storage, read> residual: array<f32>;       // [rows, columns]
@group(0) @binding(6) var<storage, read_write> y0: array<y0_type>;       // [rows, split0]
@group(0) @binding(7) var<storage, read_write> y1: array<y1_type>;       // [rows, split1 - split0]
@group(0) @binding(8) var<storage, read_write> y2: array<y2_type>;       // [rows, columns - split1]

const TILE = 8u;

// Everything below is written out, row by row: arrays that a loop indexes live in memory on some implementations.
struct Row { low: vec4<f32>, high: vec4<f32> }

fn store_row(row: u32, column: u32, sums: Row) {
  for (var j = 0u; j < 4u; j++) {
    store(row, column + j, sums.low[j]);
    store(row, column + 4u + j, sums.high[j]);
  }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row0 = id.y * TILE;
  let column0 = id.x * TILE;
  if (row0 >= params.rows || column0 >= params.columns) { return; }
  // Rows and columns past the edge repeat the last one: no branch inside the loop, and `store` drops them.
  let last_row = params.rows - 1u;
  let last_column = params.columns - 1u;
  let r0 = min(row0 + 0u, last_row) * params.depth4;
  let r1 = min(row0 + 1u, last_row) * params.depth4;
  let r2 = min(row0 + 2u, last_row) * params.depth4;
  let r3 = min(row0 + 3u, last_row) * params.depth4;
  let r4 = min(row0 + 4u, last_row) * params.depth4;
  let r5 = min(row0 + 5u, last_row) * params.depth4;
  let r6 = min(row0 + 6u, last_row) * params.depth4;
  let r7 = min(row0 + 7u, last_row) * params.depth4;
  let c0 = weight_row(min(column0 + 0u, last_column), params.depth4);
  let c1 = weight_row(min(column0 + 1u, last_column), params.depth4);
  let c2 = weight_row(min(column0 + 2u, last_column), params.depth4);
  let c3 = weight_row(min(column0 + 3u, last_column), params.depth4);
  let c4 = weight_row(min(column0 + 4u, last_column), params.depth4);
  let c5 = weight_row(min(column0 + 5u, last_column), params.depth4);
  let c6 = weight_row(min(column0 + 6u, last_column), params.depth4);
  let c7 = weight_row(min(column0 + 7u, last_column), params.depth4);
  var s0: Row; var s1: Row; var s2: Row; var s3: Row; var s4: Row; var s5: Row; var s6: Row; var s7: Row;
  for (var block = 0u; block < params.depth4; block += WEIGHT_BLOCK) {
    let e0 = weight_scale(c0, block);
    let e1 = weight_scale(c1, block);
    let e2 = weight_scale(c2, block);
    let e3 = weight_scale(c3, block);
    let e4 = weight_scale(c4, block);
    let e5 = weight_scale(c5, block);
    let e6 = weight_scale(c6, block);
    let e7 = weight_scale(c7, block);
    let end = min(block + WEIGHT_BLOCK, params.depth4);
    for (var k = block; k < end; k++) {
      let b0 = weight4(c0, k, e0);
      let b1 = weight4(c1, k, e1);
      let b2 = weight4(c2, k, e2);
      let b3 = weight4(c3, k, e3);
      let b4 = weight4(c4, k, e4);
      let b5 = weight4(c5, k, e5);
      let b6 = weight4(c6, k, e6);
      let b7 = weight4(c7, k, e7);
      var a = vec4<f32>(x[r0 + k]);
      s0.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
      s0.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
      a = vec4<f32>(x[r1 + k]);
      s1.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
      s1.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
      a = vec4<f32>(x[r2 + k]);
      s2.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
      s2.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
      a = vec4<f32>(x[r3 + k]);
      s3.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
      s3.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
      a = vec4<f32>(x[r4 + k]);
      s4.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
      s4.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
      a = vec4<f32>(x[r5 + k]);
      s5.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
      s5.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
      a = vec4<f32>(x[r6 + k]);
      s6.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
      s6.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
      a = vec4<f32>(x[r7 + k]);
      s7.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
      s7.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
    }
  }
  store_row(row0 + 0u, column0, s0);
  store_row(row0 + 1u, column0, s1);
  store_row(row0 + 2u, column0, s2);
  store_row(row0 + 3u, column0, s3);
  store_row(row0 + 4u, column0, s4);
  store_row(row0 + 5u, column0, s5);
  store_row(row0 + 6u, column0, s6);
  store_row(row0 + 7u, column0, s7);
}
