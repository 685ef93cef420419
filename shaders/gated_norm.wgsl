// out = y silu(z) / sqrt(mean(y^2 silu(z)^2) + 1e-5) * weight over the E channels of a token, for each direction: Mamba-2's RMSNorm with
// the gate before the norm. y is read in scan order, z at the token; the result is in token order, so this pass also puts the
// scan back: both directions side by side, [B, T, forward | backward], or (SUM) added up. One workgroup per token; both sums of
// squares are reduced together, by 8 in two rounds. Bound: memory. Zhang & Sennrich 2019 (RMSNorm), arXiv 2405.21060 section 7.
// So that no binding has to hold all of y, its channels may lie in up to five tensors, group4 vec4s in each (what is left in the
// last); and z and out may be a band of rows, the first of which is row `first` of [B, T].
struct Params { height: u32, width: u32, batch: u32, inner4: u32, group4: u32, first: u32, rows: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y0: array<vec4<y0_type>>;           // [DIRECTIONS * B, T, group4], scan order
@group(0) @binding(2) var<storage, read> y1: array<vec4<y1_type>>;
@group(0) @binding(3) var<storage, read> y2: array<vec4<y2_type>>;
@group(0) @binding(4) var<storage, read> y3: array<vec4<y3_type>>;
@group(0) @binding(5) var<storage, read> y4: array<vec4<y4_type>>;
@group(0) @binding(6) var<storage, read> z: array<vec4<z_type>>;            // [rows, E / 4]
@group(0) @binding(7) var<storage, read> weight: array<vec4<f32>>;       // [E / 4]
@group(0) @binding(8) var<storage, read_write> out: array<vec4<out_type>>;    // [rows, DIRECTIONS * E / 4], or [rows, E / 4] when SUM

override DIRECTIONS: u32 = 1u;
override SUM: bool = false;
override GROUPS: u32 = 1u;

const THREADS = 64u;
const EPSILON = 1e-5;
var<workgroup> squares: array<vec2<f32>, THREADS>; // forward, backward
var<workgroup> eighths: array<vec2<f32>, 8>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let tokens = params.height * params.width;
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let token = (params.first + row) % tokens;
  let sequence0 = params.first + row - token;
  let forward = sequence0 + position_of(token, false);
  let backward = params.batch * tokens + sequence0 + position_of(token, true);
  var sum = vec2<f32>();
  for (var i = thread; i < params.inner4; i += THREADS) {
    let gate = silu4(vec4<f32>(z[row * params.inner4 + i]));
    let a = y_at(forward, i) * gate;
    sum.x += dot(a, a);
    if (DIRECTIONS == 2u) {
      let b = y_at(backward, i) * gate;
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
    let gate = silu4(vec4<f32>(z[row * params.inner4 + i])) * weight[i];
    let a = y_at(forward, i) * gate * scale.x;
    if (DIRECTIONS == 1u) {
      out[row * params.inner4 + i] = vec4<out_type>(a);
    } else {
      let b = y_at(backward, i) * gate * scale.y;
      if (SUM) {
        out[row * params.inner4 + i] = vec4<out_type>(a + b);
      } else {
        out[2u * row * params.inner4 + i] = vec4<out_type>(a);
        out[(2u * row + 1u) * params.inner4 + i] = vec4<out_type>(b);
      }
    }
  }
}

fn y_at(position: u32, i: u32) -> vec4<f32> {
  if (GROUPS == 1u) { return vec4<f32>(y0[position * params.inner4 + i]); }
  let group = i / params.group4;
  let first = group * params.group4;
  let at = position * min(params.group4, params.inner4 - first) + i - first;
  switch group {
    case 0u: { return vec4<f32>(y0[at]); }
    case 1u: { return vec4<f32>(y1[at]); }
    case 2u: { return vec4<f32>(y2[at]); }
    case 3u: { return vec4<f32>(y3[at]); }
    default: { return vec4<f32>(y4[at]); }
  }
}

fn silu4(v: vec4<f32>) -> vec4<f32> { return v / (1.0 + exp(-clamp(v, vec4<f32>(-80.0), vec4<f32>(80.0)))); }
