// G[t, s] = C_t . B_s inside each chunk, once for all heads (they share B and C): a product [Q x N] [N x Q] per (chunk, sequence).
// Fourth kernel of Mamba-2's SSD (arXiv 2405.21060, section 6), without the decays, which differ by head. Only s <= t is asked
// for: tiles wholly above the diagonal are skipped and keep whatever they held. 128x64 tile (lib/tile), both operands turned
// depth-major while staging. Bound: arithmetic, Q^2 N. Positions past the end repeat the last token; their step sizes are 0.
struct Params { tokens: u32, state4: u32, chunk: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<b_type>>;               // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> c: array<vec4<c_type>>;               // [S, T, N / 4]
@group(0) @binding(3) var<storage, read_write> product: array<vec4<product_type>>;   // G [S, chunks, Q, Q / 4]

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tiles_s = (params.chunk + 63u) / 64u;
  let s0 = (group.x % tiles_s) * 64u;
  let t0 = (group.x / tiles_s) * 128u;
  if (s0 > t0 + 127u) { return; }
  let first = group.y * params.chunk;
  let row0 = group.z * params.tokens;
  // A thread turns 4 rows x 4 of depth around in registers: 128 threads for C, 64 for B.
  let stage_b = thread >= 128u;
  let unit = select(thread, thread - 128u, stage_b);
  let quad = unit >> 2u;
  let unit_k = unit & 3u;
  var sums: array<vec4<f32>, 8>;
  for (var k = 0u; k < params.state4; k += 4u) {
    var v = array<vec4<f32>, 4>();
    if ((!stage_b || unit < 64u) && k + unit_k < params.state4) {
      for (var i = 0u; i < 4u; i++) {
        let row = row0 + min(first + select(t0, s0, stage_b) + quad * 4u + i, params.tokens - 1u);
        if (stage_b) { v[i] = vec4<f32>(b[row * params.state4 + k + unit_k]); } else { v[i] = vec4<f32>(c[row * params.state4 + k + unit_k]); }
      }
    }
    if (!stage_b) { stage_a_turned(quad, unit_k * 4u, v); } else if (unit < 64u) { stage_b_turned(quad, unit_k * 4u, v); }
    workgroupBarrier();
    multiply_tiles(&sums, id.x, id.y);
    workgroupBarrier();
  }
  for (var i = 0u; i < 8u; i++) {
    let t = t0 + id.y * 8u + i;
    let s = s0 + id.x * 4u;
    if (t < params.chunk && s < params.chunk) {
      product[(((group.z * groups.y + group.y) * params.chunk + t) * params.chunk + s) / 4u] = vec4<product_type>(sums[i]);
    }
  }
}
