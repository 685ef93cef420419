// Causal depthwise convolution and SiLU of the scan's inputs: out[p, c] = silu(bias[c] + sum_k weight[c, k] in[p - (K-1) + k, c]).
// Reads xBC in token order through lib/scan_order and writes x, B and C in scan order, once per direction (the convolution is
// causal in each), so the scan sees contiguous causal sequences and never hears of order or direction. Inputs before the
// start are zero. Mamba-2's conv1d (arXiv 2405.21060, section 6). Bound: memory; a thread owns 4 channels of 4 positions.
// A call may convolve some of the channels only: xBC then holds those alone, and they use the weights from 4 first4 on.
struct Params { height: u32, width: u32, batch: u32, inner4: u32, state4: u32, first4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> xbc: array<vec4<xbc_type>>;       // [B, T, channels / 4], token order
@group(0) @binding(2) var<storage, read> weight: array<f32>;          // [E + 2N, K]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;      // [(E + 2N) / 4]
@group(0) @binding(4) var<storage, read_write> x: array<vec4<x_type>>;   // [S, T, inner4], scan order
@group(0) @binding(5) var<storage, read_write> b: array<vec4<b_type>>;   // [S, T, state4]
@group(0) @binding(6) var<storage, read_write> c: array<vec4<c_type>>;   // [S, T, state4]

override TAPS: u32;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let channel4 = id.x;
  let channels4 = params.inner4 + 2u * params.state4;
  if (channel4 >= channels4) { return; }
  let sequence = id.z;
  let tokens = params.height * params.width;
  let first = id.y * 4u;
  let input0 = (sequence % params.batch) * tokens;
  var sum0 = bias[params.first4 + channel4];
  var sum1 = sum0;
  var sum2 = sum0;
  var sum3 = sum0;
  // Each input is read once and goes into up to four sums; w0..w3 are the taps it has in them, zero where it has none.
  var w0 = vec4<f32>();
  var w1 = vec4<f32>();
  var w2 = vec4<f32>();
  var w3 = vec4<f32>();
  for (var i = 0u; i < TAPS + 3u; i++) {
    w3 = w2;
    w2 = w1;
    w1 = w0;
    w0 = vec4<f32>();
    if (i < TAPS) {
      let at = (params.first4 + channel4) * 4u * TAPS + i;
      w0 = vec4<f32>(weight[at], weight[at + TAPS], weight[at + 2u * TAPS], weight[at + 3u * TAPS]);
    }
    // Before the start the input is zero; past the end it is only in sums that nobody stores.
    let ahead = first + i;
    let position = min(max(ahead, TAPS - 1u) - (TAPS - 1u), tokens - 1u);
    let token = input0 + token_at(position, sequence >= params.batch);
    let value = select(vec4<f32>(), vec4<f32>(xbc[token * channels4 + channel4]), ahead >= TAPS - 1u);
    sum0 += w0 * value;
    sum1 += w1 * value;
    sum2 += w2 * value;
    sum3 += w3 * value;
  }
  let row = sequence * tokens + first;
  let count = tokens - first;
  if (channel4 < params.inner4) {
    let at = row * params.inner4 + channel4;
    x[at] = vec4<x_type>(silu4(sum0));
    if (count > 1u) { x[at + params.inner4] = vec4<x_type>(silu4(sum1)); }
    if (count > 2u) { x[at + 2u * params.inner4] = vec4<x_type>(silu4(sum2)); }
    if (count > 3u) { x[at + 3u * params.inner4] = vec4<x_type>(silu4(sum3)); }
  } else if (channel4 < params.inner4 + params.state4) {
    let at = row * params.state4 + channel4 - params.inner4;
    b[at] = vec4<b_type>(silu4(sum0));
    if (count > 1u) { b[at + params.state4] = vec4<b_type>(silu4(sum1)); }
    if (count > 2u) { b[at + 2u * params.state4] = vec4<b_type>(silu4(sum2)); }
    if (count > 3u) { b[at + 3u * params.state4] = vec4<b_type>(silu4(sum3)); }
  } else {
    let at = row * params.state4 + channel4 - params.inner4 - params.state4;
    c[at] = vec4<c_type>(silu4(sum0));
    if (count > 1u) { c[at + params.state4] = vec4<c_type>(silu4(sum1)); }
    if (count > 2u) { c[at + 2u * params.state4] = vec4<c_type>(silu4(sum2)); }
    if (count > 3u) { c[at + 3u * params.state4] = vec4<c_type>(silu4(sum3)); }
  }
}

fn silu4(v: vec4<f32>) -> vec4<f32> { return v / (1.0 + exp(-clamp(v, vec4<f32>(-80.0), vec4<f32>(80.0)))); }
