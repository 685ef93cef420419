// Causal depthwise convolution and SiLU of the scan's inputs: out[p, c] = silu(bias[c] + sum_k weight[c, k] in[p - (K-1) + k, c]).
// Reads xBC in token order through lib/scan_order and writes x, B and C in scan order, once per direction (the convolution is
// causal in each), so the scan sees contiguous causal sequences and never hears of order or direction. Inputs before the
// start are zero. Mamba-2's conv1d (arXiv 2405.21060, section 6). Bound: memory; a thread owns 4 channels of 4 positions.
struct Params { height: u32, width: u32, batch: u32, inner4: u32, state4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> xbc: array<vec4<f32>>;       // [B, T, (E + 2N) / 4], token order
@group(0) @binding(2) var<storage, read> weight: array<f32>;          // [E + 2N, K]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;      // [(E + 2N) / 4]
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;   // [S, T, E / 4], scan order
@group(0) @binding(5) var<storage, read_write> b: array<vec4<f32>>;   // [S, T, N / 4]
@group(0) @binding(6) var<storage, read_write> c: array<vec4<f32>>;   // [S, T, N / 4]

override TAPS: u32;

fn input_at(sequence: u32, position: i32, channel4: u32) -> vec4<f32> {
  let tokens = params.height * params.width;
  if (position < 0 || u32(position) >= tokens) { return vec4<f32>(); }
  let token = (sequence % params.batch) * tokens + token_at(u32(position), sequence >= params.batch);
  return xbc[token * (params.inner4 + 2u * params.state4) + channel4];
}

fn output(sequence: u32, position: u32, channel4: u32, sum: vec4<f32>) {
  let tokens = params.height * params.width;
  if (position >= tokens) { return; }
  let value = sum / (1.0 + exp(-clamp(sum, vec4<f32>(-80.0), vec4<f32>(80.0))));
  let row = sequence * tokens + position;
  if (channel4 < params.inner4) {
    x[row * params.inner4 + channel4] = value;
  } else if (channel4 < params.inner4 + params.state4) {
    b[row * params.state4 + channel4 - params.inner4] = value;
  } else {
    c[row * params.state4 + channel4 - params.inner4 - params.state4] = value;
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let channel4 = id.x;
  if (channel4 >= params.inner4 + 2u * params.state4) { return; }
  let first = id.y * 4u;
  let before = i32(first) - i32(TAPS) + 1;
  var sum0 = bias[channel4];
  var sum1 = sum0;
  var sum2 = sum0;
  var sum3 = sum0;
  for (var k = 0u; k < TAPS; k++) {
    let at = channel4 * 4u * TAPS + k;
    let w = vec4<f32>(weight[at], weight[at + TAPS], weight[at + 2u * TAPS], weight[at + 3u * TAPS]);
    sum0 += w * input_at(id.z, before + i32(k), channel4);
    sum1 += w * input_at(id.z, before + i32(k) + 1, channel4);
    sum2 += w * input_at(id.z, before + i32(k) + 2, channel4);
    sum3 += w * input_at(id.z, before + i32(k) + 3, channel4);
  }
  output(id.z, first, channel4, sum0);
  output(id.z, first + 1u, channel4, sum1);
  output(id.z, first + 2u, channel4, sum2);
  output(id.z, first + 3u, channel4, sum3);
}
