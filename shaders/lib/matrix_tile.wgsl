// A tile of 128x64 sums by four subgroups, each 64x32 of them in subgroup matrices, for products whose operands are staged by their own rules:
// f16 operands, f32 sums, 32 of depth a round, 12 KiB of operands and 4 KiB for the way out. The kernel declares A_DEPTH_FIRST and
// B_DEPTH_FIRST: whether A lies as [depth, row], else [row, depth]; B as [depth, column], else [column, depth]; and `put4`.
// Stage both, barrier, `multiply_tiles`, barrier; at the end `put_tiles`, which hands out the sums four columns at a time.
const TILE_ROWS = 128u;
const TILE_COLUMNS = 64u;
const TILE_DEPTH = 32u;
const B = TILE_ROWS * TILE_DEPTH;   // where B begins in operands
const OPERANDS = (TILE_ROWS + TILE_COLUMNS) * TILE_DEPTH;
const MATRIX = MATRIX_M * MATRIX_N;
const SCRATCH = 4u * MATRIX;
const THREADS = 4u * SUBGROUP;
const ROW_MATRICES = 64u / MATRIX_M;
const COLUMN_MATRICES = 32u / MATRIX_N;
alias TileSums = array<Sums, ROW_MATRICES * COLUMN_MATRICES>;

fn stage_a(row: u32, depth: u32, value: vec4<f32>) {
  if (A_DEPTH_FIRST) { stage(depth * TILE_ROWS + row, value); } else { stage(row * TILE_DEPTH + depth, value); }
}
fn stage_b(column: u32, depth: u32, value: vec4<f32>) {
  if (B_DEPTH_FIRST) { stage(B + depth * TILE_COLUMNS + column, value); } else { stage(B + column * TILE_DEPTH + depth, value); }
}
fn load_a(row: u32, depth: u32) -> Left {
  if (A_DEPTH_FIRST) { return load_left_turned(depth * TILE_ROWS + row, TILE_ROWS); }
  return load_left(row * TILE_DEPTH + depth, TILE_DEPTH);
}
fn load_b(column: u32, depth: u32) -> Right {
  if (B_DEPTH_FIRST) { return load_right(B + depth * TILE_COLUMNS + column, TILE_COLUMNS); }
  return load_right_turned(B + column * TILE_DEPTH + depth, TILE_DEPTH);
}

fn multiply_tiles(sums: ptr<function, TileSums>, subgroup: u32) {
  let row = (subgroup >> 1u) * 64u;
  let column = (subgroup & 1u) * 32u;
  for (var k = 0u; k < TILE_DEPTH; k += MATRIX_K) {
    var left: array<Left, ROW_MATRICES>;
    for (var i = 0u; i < ROW_MATRICES; i++) { left[i] = load_a(row + i * MATRIX_M, k); }
    for (var j = 0u; j < COLUMN_MATRICES; j++) {
      let right = load_b(column + j * MATRIX_N, k);
      for (var i = 0u; i < ROW_MATRICES; i++) {
        (*sums)[j * ROW_MATRICES + i] = add_product(left[i], right, (*sums)[j * ROW_MATRICES + i]);
      }
    }
  }
}

fn put_tiles(sums: ptr<function, TileSums>, subgroup: u32, lane: u32) {
  let row = (subgroup >> 1u) * 64u;
  let column = (subgroup & 1u) * 32u;
  let own = subgroup * MATRIX;
  for (var j = 0u; j < COLUMN_MATRICES; j++) {
    for (var i = 0u; i < ROW_MATRICES; i++) {
      store_sums(own, MATRIX_N, (*sums)[j * ROW_MATRICES + i]);
      workgroupBarrier();
      for (var e = lane * 4u; e < MATRIX; e += SUBGROUP * 4u) {
        let at = own + e;
        put4(row + i * MATRIX_M + e / MATRIX_N, column + j * MATRIX_N + e % MATRIX_N,
             vec4<f32>(scratch[at], scratch[at + 1u], scratch[at + 2u], scratch[at + 3u]));
      }
      workgroupBarrier();
    }
  }
}
