// The arithmetic ceiling of a device, for benchmarks only: 64 independent multiply-adds a round on values in registers, nothing read
// but two numbers and nothing written unless a sum has an impossible value, which the compiler cannot know. 128 floating-point
// operations a thread and round, in `real`. A matrix kernel's share of this rate is what its row in the bench report shows.
struct Params { rounds: u32, seed: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let a = real4(vec4<f32>(params.seed) + f32(id.x) * 1e-9);
  var s0 = a; var s1 = a * real(1.1); var s2 = a * real(1.2); var s3 = a * real(1.3);
  var s4 = a * real(1.4); var s5 = a * real(1.5); var s6 = a * real(1.6); var s7 = a * real(1.7);
  let m = real4(0.999);
  for (var i = 0u; i < params.rounds; i++) {
    s0 = s0 * m + a; s1 = s1 * m + a; s2 = s2 * m + a; s3 = s3 * m + a;
    s4 = s4 * m + a; s5 = s5 * m + a; s6 = s6 * m + a; s7 = s7 * m + a;
    s0 = s0 * m + a; s1 = s1 * m + a; s2 = s2 * m + a; s3 = s3 * m + a;
    s4 = s4 * m + a; s5 = s5 * m + a; s6 = s6 * m + a; s7 = s7 * m + a;
  }
  let sum = vec4<f32>(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7);
  if (sum.x + sum.y + sum.z + sum.w == -1.0) { out[0] = sum.x; }
}
