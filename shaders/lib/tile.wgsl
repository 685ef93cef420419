// The 128x64 tile of gemm_tile for products whose operands are staged by their own rules: 256 threads, 8x4 sums a thread, 16 of
// depth a round, 12 KiB in f32. Works in `real`, sums in f32 (f16: 16 of depth at a time). Stage both tiles, barrier, `multiply_tiles`, barrier. Thread (x, y) sums rows 8y.. and columns 4x..
var<workgroup> tile_a: array<array<real4, 32>, 16>; // [depth, 128 rows / 4]
var<workgroup> tile_b: array<array<real4, 16>, 16>; // [depth, 64 columns / 4]

fn multiply_tiles(sums: ptr<function, array<vec4<f32>, 8>>, x: u32, y: u32) {
  var part = array<real4, 8>();
  for (var i = 0u; i < 16u; i++) {
    let b = tile_b[i][x];
    let a0 = tile_a[i][2u * y];
    let a1 = tile_a[i][2u * y + 1u];
    part[0] += a0.x * b; part[1] += a0.y * b; part[2] += a0.z * b; part[3] += a0.w * b;
    part[4] += a1.x * b; part[5] += a1.y * b; part[6] += a1.z * b; part[7] += a1.w * b;
  }
  for (var i = 0u; i < 8u; i++) { (*sums)[i] += vec4<f32>(part[i]); }
}

// A thread brings 4 rows x 4 of depth, read along the depth, and writes whole vec4s of rows: writing single components would race.
fn stage_a_turned(quad: u32, depth: u32, v: array<vec4<f32>, 4>) {
  tile_a[depth][quad] = real4(vec4<f32>(v[0].x, v[1].x, v[2].x, v[3].x));
  tile_a[depth + 1u][quad] = real4(vec4<f32>(v[0].y, v[1].y, v[2].y, v[3].y));
  tile_a[depth + 2u][quad] = real4(vec4<f32>(v[0].z, v[1].z, v[2].z, v[3].z));
  tile_a[depth + 3u][quad] = real4(vec4<f32>(v[0].w, v[1].w, v[2].w, v[3].w));
}

fn stage_b_turned(quad: u32, depth: u32, v: array<vec4<f32>, 4>) {
  tile_b[depth][quad] = real4(vec4<f32>(v[0].x, v[1].x, v[2].x, v[3].x));
  tile_b[depth + 1u][quad] = real4(vec4<f32>(v[0].y, v[1].y, v[2].y, v[3].y));
  tile_b[depth + 2u][quad] = real4(vec4<f32>(v[0].z, v[1].z, v[2].z, v[3].z));
  tile_b[depth + 3u][quad] = real4(vec4<f32>(v[0].w, v[1].w, v[2].w, v[3].w));
}
