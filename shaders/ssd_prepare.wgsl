// Step sizes and decays of the chunked scan, per head and position p of a chunk of Q:
//   dt' = softplus(dt + dt_bias);  dA = max(-exp(A_log) dt', -32);  F_p = dA_0 + .. + dA_p;  w_p = exp(F_last - F_p) dt'_p
// dt is read in token order through lib/scan_order, everything is written in scan order, all in f32 (an f16 F costs 1 %).
// Positions past the last token get dt' = 0 and dA = 0: decay 1, input 0, so no later kernel needs to know about them.
// -32 is full forgetting (1e-14), and keeps |F| small enough for f32 differences. First kernel of Mamba-2's SSD (arXiv
// 2405.21060, section 6 and listing 1). A thread owns one chunk of one head; neighbours in memory are neighbouring heads.
// M heads from first_head on of all_heads: heads run in groups, dt and what belongs to a head is there once.
struct Params { height: u32, width: u32, batch: u32, sequences: u32, heads: u32, chunk: u32, chunks: u32, first_head: u32, all_heads: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dt: array<f32>;             // [B, T, all_heads], token order
@group(0) @binding(2) var<storage, read> dt_bias: array<f32>;        // [all_heads]
@group(0) @binding(3) var<storage, read> a_log: array<f32>;          // [all_heads]
@group(0) @binding(4) var<storage, read_write> step: array<f32>;     // dt' [S, M, chunks, Q]
@group(0) @binding(5) var<storage, read_write> decay: array<f32>;    // F   [S, M, chunks, Q]
@group(0) @binding(6) var<storage, read_write> weight: array<f32>;   // w   [S, M, chunks, Q]

// log(1 + exp(x)) to 3e-7 relative: WGSL's log may be off by 5e-4 near 1, so 2 atanh(s) with s = e / (2 + e) as a series.
fn softplus(x: f32) -> f32 {
  let e = exp(-min(abs(x), 80.0));
  let s = e / (2.0 + e);
  let s2 = s * s;
  return max(x, 0.0) + 2.0 * s * (1.0 + s2 * (1.0 / 3.0 + s2 * (0.2 + s2 * (1.0 / 7.0 + s2 * (1.0 / 9.0 + s2 / 11.0)))));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = (group.y * groups.x + group.x) * 64u + thread;
  if (index >= params.sequences * params.chunks * params.heads) { return; }
  let head = index % params.heads;
  let chunk = index / params.heads % params.chunks;
  let sequence = index / params.heads / params.chunks;
  let tokens = params.height * params.width;
  let out = ((sequence * params.heads + head) * params.chunks + chunk) * params.chunk;
  let of_all = params.first_head + head;
  let rate = -exp(min(a_log[of_all], 80.0));
  var sum = 0.0;
  for (var i = 0u; i < params.chunk; i++) {
    let position = chunk * params.chunk + i;
    var size = 0.0;
    if (position < tokens) {
      let token = (sequence % params.batch) * tokens + token_at(position, sequence >= params.batch);
      size = softplus(dt[token * params.all_heads + of_all] + dt_bias[of_all]);
    }
    sum += max(rate * size, -32.0);
    step[out + i] = size;
    decay[out + i] = sum;
  }
  for (var i = 0u; i < params.chunk; i++) {
    weight[out + i] = exp(min(sum - decay[out + i], 0.0)) * step[out + i];
  }
}
