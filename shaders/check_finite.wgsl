// flag = min(flag, stage) when any value of x is NaN or infinite. The smallest stage that failed is the first in order of execution.
// The test looks at the bits: compilers may assume that NaN does not happen and fold `v != v` away (seen on SwiftShader).
// A thread reads 16 values; only a failing one writes. Bound: memory bandwidth.
struct Params { count: u32, stage: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> flag: array<atomic<u32>>;    // [1], 0xffffffff when all is well

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let threads = groups.x * groups.y * 64u;
  var bad = false;
  for (var i = linear_index(group, groups, thread); i < params.count; i += threads) {
    bad = bad || (x[i] & 0x7f800000u) == 0x7f800000u;
  }
  if (bad) { atomicMin(&flag[0], params.stage); }
}
