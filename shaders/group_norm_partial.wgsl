// Statistics of some rows of x [rows, width, channels]: for each chunk of `chunk` pixels and each channel the count, the mean and
// the sum of squared deviations M2, to partials [chunks, 3, channels], starting at chunk0. group_norm_finalise joins the chunks
// of all bands, so the statistics are those of the whole image whatever the bands were. Wu & He 2018 (arXiv 1803.08494).
// A thread takes four channels of one chunk, pixel by pixel: neighbours read neighbouring vec4s and there is nothing to
// synchronise. Sums are of differences to the block's first pixel, 64 pixels at a time, and blocks are joined by Chan's formula,
// so f32 loses nothing to a mean that is large beside the deviation. Bound: reading x once.
struct Params { first: u32, pixels: u32, chunk: u32, chunk0: u32, c4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;                // [pixels, c4]
@group(0) @binding(2) var<storage, read_write> partials: array<vec4<f32>>;   // [chunks, 3, c4]

const BLOCK = 64u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let unit = (group.y * groups.x + group.x) * 64u + thread;
  let chunk = unit / params.c4;
  let c = unit % params.c4;
  let begin = chunk * params.chunk;
  if (begin >= params.pixels) { return; }
  let end = min(begin + params.chunk, params.pixels);
  var count = 0.0;
  var mean = vec4<f32>();
  var m2 = vec4<f32>();
  for (var at = begin; at < end; at += BLOCK) {
    let stop = min(at + BLOCK, end);
    let shift = x[(params.first + at) * params.c4 + c];
    var sum = vec4<f32>();
    var squares = vec4<f32>();
    for (var p = at + 1u; p < stop; p++) {
      let d = x[(params.first + p) * params.c4 + c] - shift;
      sum += d;
      squares += d * d;
    }
    let n = f32(stop - at);
    let delta = shift + sum / n - mean;
    m2 += max(squares - sum * sum / n, vec4<f32>()) + delta * delta * (count * n / (count + n));
    mean += delta * (n / (count + n));
    count += n;
  }
  let out = (params.chunk0 + chunk) * 3u * params.c4 + c;
  partials[out] = vec4<f32>(count);
  partials[out + params.c4] = mean;
  partials[out + 2u * params.c4] = m2;
}
