// From dot products to probabilities, for four queries and one key at a time. Scores are in base 2 (params.scale_log2e holds the
// factor), so that a probability is one exp2. The file that uses this declares `params`, `mask` and `bias`.
override HEAD_DIM: u32;
override HAS_MASK: bool = false;      // mask[batch, key] is 0 for keys that take no part
override HAS_BIAS: bool = false;      // bias[head, 2 keys - 1], at key - query + keys - 1
override D4: u32 = (HEAD_DIM + 3u) / 4u;

const LOW = -1e30;                    // score of a key that takes no part; infinities are not reliable in WGSL

fn score(dots: vec4<f32>, key: u32, query: vec4<u32>, head: u32, batch: u32) -> vec4<f32> {
  if (key >= params.keys) { return vec4<f32>(LOW); }
  if (HAS_MASK) {
    if (mask[batch * params.mask_stride + key] == 0.0) { return vec4<f32>(LOW); }
  }
  var value = dots * params.scale_log2e;
  if (HAS_BIAS) {
    let at = vec4<u32>(head * (2u * params.keys - 1u) + key + params.keys - 1u) - query;
    value += 1.4426950408889634 * vec4<f32>(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
  }
  return value;
}

fn probability(scores: vec4<f32>, top: vec4<f32>) -> vec4<f32> {
  return select(exp2(max(scores - top, vec4<f32>(-126.0))), vec4<f32>(0.0), scores < vec4<f32>(0.5 * LOW));
}
