// Joins the statistics of all chunks (group_norm_partial) and folds them with gamma and beta into what a channel is multiplied
// by and what is added to it: scale = gamma / sqrt(var + eps), shift = beta - mean scale; scale_shift is [2, stride]. Channels
// from `channels` to `stride` (the padding to a multiple of four) become zero.
// One workgroup per group of channels; two passes over its chunks, first the mean, then the deviations about it, both relative
// to the first chunk's mean. Bound: latency; there are at most a few thousand values a group.
struct Params { chunks: u32, channels: u32, stride: u32, groups: u32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;          // [chunks, 3, stride]: count, mean, M2
@group(0) @binding(2) var<storage, read> gamma: array<f32>;             // [channels]
@group(0) @binding(3) var<storage, read> beta: array<f32>;              // [channels]
@group(0) @binding(4) var<storage, read_write> scale_shift: array<f32>; // [2, stride]

const THREADS = 64u;
var<workgroup> shared_sums: array<vec2<f32>, THREADS>;

fn add_up(thread: u32, mine: vec2<f32>) -> vec2<f32> {
  workgroupBarrier();
  shared_sums[thread] = mine;
  workgroupBarrier();
  var total = vec2<f32>();
  for (var i = 0u; i < THREADS; i++) { total += shared_sums[i]; }
  return total;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let width = params.channels / params.groups;
  let c0 = group.x * width;
  let entries = params.chunks * width;
  let origin = partials[params.stride + c0];
  var sum = vec2<f32>(); // count, sum of values about the origin
  for (var e = thread; e < entries; e += THREADS) {
    let at = (e / width) * 3u * params.stride + c0 + e % width;
    sum += vec2<f32>(1.0, partials[at + params.stride] - origin) * vec2<f32>(partials[at]);
  }
  let totals = add_up(thread, sum);
  let offset = totals.y / totals.x;
  var deviations = 0.0;
  for (var e = thread; e < entries; e += THREADS) {
    let at = (e / width) * 3u * params.stride + c0 + e % width;
    let d = partials[at + params.stride] - origin - offset;
    deviations += partials[at + 2u * params.stride] + partials[at] * d * d;
  }
  let variance = add_up(thread, vec2<f32>(deviations, 0.0)).x / totals.x;
  let rstd = inverseSqrt(variance + params.eps);
  let mean = origin + offset;
  for (var c = c0 + thread; c < c0 + width; c += THREADS) {
    let scale = gamma[c] * rstd;
    scale_shift[c] = scale;
    scale_shift[params.stride + c] = beta[c] - mean * scale;
  }
  if (group.x == 0u && thread < params.stride - params.channels) {
    scale_shift[params.channels + thread] = 0.0;
    scale_shift[params.stride + params.channels + thread] = 0.0;
  }
}
