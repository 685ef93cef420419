// The scan's output: per (chunk, lane) one product with concatenated depth,
//   y_t = exp(F_t) C_t . h  +  sum_(s <= t) G[t, s] exp(F_t - F_s) dt'_s x_s  +  D x_t
// where a lane is one head of one sequence, h [N, P] the state before the chunk (none before the first), G = C B^T from
// ssd_chunk_product. Fifth kernel of Mamba-2's SSD (arXiv 2405.21060, section 6). 128x64 tile (lib/tile): a workgroup owns 128
// positions and 64 of P; exp(F_t) scales the sums between the two products, the other decays are applied while G is staged,
// and depth past the last position of the tile is not visited. Exponents are never positive; the triangle is masked after
// exp. Bound: arithmetic, 2 Q P (N + Q / 2). Q, N and P are multiples of 4.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32, first_head: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> c: array<vec4<c_type>>;         // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> product: array<vec4<product_type>>;   // G   [S, chunks, Q, Q / 4]
@group(0) @binding(3) var<storage, read> decay: array<vec4<f32>>;     // F   [S * M, chunks, Q / 4]
@group(0) @binding(4) var<storage, read> step: array<vec4<f32>>;      // dt' [S * M, chunks, Q / 4]
@group(0) @binding(5) var<storage, read> x: array<vec4<x_type>>;         // [S, T, M, P / 4]
@group(0) @binding(6) var<storage, read> states: array<vec4<f32>>;    // [lanes, chunks - 1, N, P / 4]
@group(0) @binding(7) var<storage, read> skip: array<f32>;            // D, of head m at first_head + m
@group(0) @binding(8) var<storage, read_write> y: array<vec4<y_type>>;   // [S, T, M, P / 4]

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let tiles_p = (params.head_dim4 + 15u) / 16u;
  let p0 = (group.x % tiles_p) * 16u;
  let t0 = (group.x / tiles_p) * 128u;
  let chunk4 = params.chunk / 4u;
  let lane = params.lane0 + group.z;
  let sequence = lane / params.heads;
  let head = lane % params.heads;
  let first = group.y * params.chunk;
  let row0 = sequence * params.tokens;
  let steps0 = (lane * params.chunks + group.y) * chunk4;
  let product0 = (sequence * params.chunks + group.y) * params.chunk * chunk4;
  // Threads below 128 stage C or G, a thread 4 rows x 4 of depth; the others h or x, as it lies.
  let stage_a = thread < 128u;
  let quad = (thread >> 2u) & 31u;
  let unit_k = thread & 3u;
  let t = min(t0 + quad * 4u, params.chunk - 4u);
  var sums: array<vec4<f32>, 8>;
  var v: array<vec4<f32>, 4>;

  if (group.y > 0u) {
    let state0 = (group.z * (params.chunks - 1u) + group.y - 1u) * params.state4 * 4u;
    for (var k = 0u; k < params.state4; k += 4u) {
      if (stage_a) {
        v = array<vec4<f32>, 4>();
        if (k + unit_k < params.state4) {
          for (var i = 0u; i < 4u; i++) {
            v[i] = vec4<f32>(c[(row0 + min(first + t + i, params.tokens - 1u)) * params.state4 + k + unit_k]);
          }
        }
        stage_a_turned(quad, unit_k * 4u, v);
      } else {
        for (var part = 0u; part < 2u; part++) {
          let depth = ((thread - 128u) >> 4u) + part * 8u;
          let p = p0 + (thread & 15u);
          let n = k * 4u + depth;
          var value = vec4<f32>();
          if (n < params.state4 * 4u && p < params.head_dim4) { value = states[(state0 + n) * params.head_dim4 + p]; }
          tile_b[depth][thread & 15u] = real4(value);
        }
      }
      workgroupBarrier();
      multiply_tiles(&sums, id.x, id.y);
      workgroupBarrier();
    }
    let f0 = exp(min(decay[steps0 + min((t0 + id.y * 8u) / 4u, chunk4 - 1u)], vec4<f32>()));
    let f1 = exp(min(decay[steps0 + min((t0 + id.y * 8u) / 4u + 1u, chunk4 - 1u)], vec4<f32>()));
    sums[0] *= f0.x; sums[1] *= f0.y; sums[2] *= f0.z; sums[3] *= f0.w;
    sums[4] *= f1.x; sums[5] *= f1.y; sums[6] *= f1.z; sums[7] *= f1.w;
  }

  let decay_t = decay[steps0 + t / 4u];
  for (var k = 0u; k < min(t0 + 128u, params.chunk); k += 16u) {
    if (stage_a) {
      v = array<vec4<f32>, 4>();
      let s4 = k / 4u + unit_k;
      if (s4 < chunk4) {
        let decay_s = decay[steps0 + s4];
        let step_s = step[steps0 + s4];
        let s = vec4<u32>(s4 * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
        for (var i = 0u; i < 4u; i++) {
          let value = vec4<f32>(product[product0 + (t + i) * chunk4 + s4]) * exp(min(vec4<f32>(decay_t[i]) - decay_s, vec4<f32>())) * step_s;
          v[i] = select(vec4<f32>(), value, s <= vec4<u32>(t + i));
        }
      }
      stage_a_turned(quad, unit_k * 4u, v);
    } else {
      for (var part = 0u; part < 2u; part++) {
        let depth = ((thread - 128u) >> 4u) + part * 8u;
        let p = p0 + (thread & 15u);
        var value = vec4<f32>();
        if (k + depth < params.chunk && p < params.head_dim4) {
          value = vec4<f32>(x[((row0 + min(first + k + depth, params.tokens - 1u)) * params.heads + head) * params.head_dim4 + p]);
        }
        tile_b[depth][thread & 15u] = real4(value);
      }
    }
    workgroupBarrier();
    multiply_tiles(&sums, id.x, id.y);
    workgroupBarrier();
  }

  for (var i = 0u; i < 8u; i++) {
    let row = t0 + id.y * 8u + i;
    let p = p0 + id.x;
    if (row < params.chunk && first + row < params.tokens && p < params.head_dim4) {
      let at = ((row0 + first + row) * params.heads + head) * params.head_dim4 + p;
      y[at] = vec4<y_type>(sums[i] + skip[params.first_head + head] * vec4<f32>(x[at]));
    }
  }
}
