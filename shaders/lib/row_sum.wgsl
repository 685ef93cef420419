// Sum over the 64 threads of a workgroup, known to all of them afterwards. Two levels of 8, three barriers.
var<workgroup> row_sums: array<f32, 72>;
fn row_sum(thread: u32, value: f32) -> f32 {
  row_sums[thread] = value;
  workgroupBarrier();
  if (thread < 8u) {
    var part = 0.0;
    for (var i = 0u; i < 8u; i++) { part += row_sums[thread * 8u + i]; }
    row_sums[64u + thread] = part;
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 64u; i < 72u; i++) { sum += row_sums[i]; }
  workgroupBarrier();
  return sum;
}
