// Element-wise kernels run 64 threads a workgroup on a grid that may be folded into two dimensions (at most 65535 each).
fn linear_index(group: vec3<u32>, groups: vec3<u32>, thread: u32) -> u32 {
  return (group.y * groups.x + group.x) * 64u + thread;
}
