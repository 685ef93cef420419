// ssd_chunk_product on subgroup matrices: G[t, s] = C_t . B_s inside each chunk, for s <= t; f16 operands, f32 sums, lib/matrix_tile.
// Tiles wholly above the diagonal are skipped. Bound: the matrix units, Q^2 N. Same bindings and Params as ssd_chunk_product.
struct Params { tokens: u32, state4: u32, chunk: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<b_type>>;                        // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> c: array<vec4<c_type>>;                        // [S, T, N / 4]
@group(0) @binding(3) var<storage, read_write> product: array<vec4<product_type>>;      // G [S, chunks, Q, Q / 4]

const A_DEPTH_FIRST = false;
const B_DEPTH_FIRST = false;
var<private> row0: u32;
var<private> column0: u32;
var<private> product0: u32;

fn put4(row: u32, column: u32, sum: vec4<f32>) {
  let t = row0 + row;
  let s = column0 + column;
  if (t < params.chunk && s < params.chunk) { product[(product0 + t * params.chunk + s) / 4u] = vec4<product_type>(sum); }
}

@compute @workgroup_size(THREADS) @subgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32, @builtin(subgroup_id) subgroup: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let tiles_s = (params.chunk + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  column0 = (group.x % tiles_s) * TILE_COLUMNS;
  row0 = (group.x / tiles_s) * TILE_ROWS;
  product0 = (group.z * groups.y + group.y) * params.chunk * params.chunk;
  if ((group.x % tiles_s) * TILE_COLUMNS > (group.x / tiles_s) * TILE_ROWS + TILE_ROWS - 1u) { return; }
  let first = group.y * params.chunk;
  let token0 = group.z * params.tokens;
  var sums: TileSums;
  for (var k = 0u; k < params.state4; k += TILE_DEPTH / 4u) {
    for (var u = thread; u < TILE_ROWS * TILE_DEPTH / 4u; u += THREADS) {
      let at = k + (u & 7u);
      var value = vec4<f32>();
      if (at < params.state4) {
        value = vec4<f32>(c[(token0 + min(first + row0 + (u >> 3u), params.tokens - 1u)) * params.state4 + at]);
      }
      stage_a(u >> 3u, (u & 7u) * 4u, value);
    }
    for (var u = thread; u < TILE_COLUMNS * TILE_DEPTH / 4u; u += THREADS) {
      let at = k + (u & 7u);
      var value = vec4<f32>();
      if (at < params.state4) {
        value = vec4<f32>(b[(token0 + min(first + column0 + (u >> 3u), params.tokens - 1u)) * params.state4 + at]);
      }
      stage_b(u >> 3u, (u & 7u) * 4u, value);
    }
    workgroupBarrier();
    multiply_tiles(&sums, subgroup);
    workgroupBarrier();
  }
  put_tiles(&sums, subgroup, lane);
}
