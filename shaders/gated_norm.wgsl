// out = y silu(z) / sqrt(mean(y^2 silu(z)^2) + 1e-5) * weight over the E channels of a token, for each direction: Mamba-2's RMSNorm with
// the gate before the norm. y is read in scan order, z at the token; the result is in token order, so this pass also puts the
// scan back: both directions side by side, [B, T, forward | backward], or (SUM) added up. One workgroup per token; both sums of
// squares are reduced together, by 8 in two rounds. Bound: memory. Zhang & Sennrich 2019 (RMSNorm), arXiv 2405.21060 section 7.
struct Params { height: u32, width: u32, batch: u32, inner4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<vec4<f32>>;            // [DIRECTIONS * B, T, E / 4], scan order
@group(0) @binding(2) var<storage, read> z: array<vec4<f32>>;            // [B, T, E / 4]
@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;       // [E / 4]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;    // [B, T, DIRECTIONS * E / 4], or [B, T, E / 4] when SUM

override DIRECTIONS: u32 = 1u;
override SUM: bool = false;

const THREADS = 64u;
const EPSILON = 1e-5;
var<workgroup> squares: array<vec2<f32>, THREADS>; // forward, backward
var<workgroup> eighths: array<vec2<f32>, 8>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let tokens = params.height * params.width;
  let row = group.y * groups.x + group.x;
  if (row >= params.batch * tokens) { return; }
  let token = row % tokens;
  let forward = (row - token + position_of(token, false)) * params.inner4;
  let backward = (params.batch * tokens + row - token + position_of(token, true)) * params.inner4;
  var sum = vec2<f32>();
  for (var i = thread; i < params.inner4; i += THREADS) {
    let gate = silu4(z[row * params.inner4 + i]);
    let a = y[forward + i] * gate;
    sum.x += dot(a, a);
    if (DIRECTIONS == 2u) {
      let b = y[backward + i] * gate;
      sum.y += dot(b, b);
    }
  }
  squares[thread] = sum;
  workgroupBarrier();
  if (thread < 8u) {
    sum = vec2<f32>();
    for (var i = thread; i < THREADS; i += 8u) { sum += squares[i]; }
    eighths[thread] = sum;
  }
  workgroupBarrier();
  sum = vec2<f32>();
  for (var i = 0u; i < 8u; i++) { sum += eighths[i]; }
  let scale = inverseSqrt(sum / f32(4u * params.inner4) + EPSILON);
  for (var i = thread; i < params.inner4; i += THREADS) {
    let gate = silu4(z[row * params.inner4 + i]) * weight[i];
    let a = y[forward + i] * gate * scale.x;
    if (DIRECTIONS == 1u) {
      out[row * params.inner4 + i] = a;
    } else {
      let b = y[backward + i] * gate * scale.y;
      if (SUM) {
        out[row * params.inner4 + i] = a + b;
      } else {
        out[2u * row * params.inner4 + i] = a;
        out[(2u * row + 1u) * params.inner4 + i] = b;
      }
    }
  }
}

fn silu4(v: vec4<f32>) -> vec4<f32> { return v / (1.0 + exp(-clamp(v, vec4<f32>(-80.0), vec4<f32>(80.0)))); }
