// Weights in f32. A kernel binds them as `w: array<Weight>` and reads vec4s along the depth of a row, the last axis. Where a scale is shared
// by WEIGHT_BLOCK vec4s a kernel may read it once for them; here none is, and the loop over blocks runs once.
alias Weight = vec4<f32>;
alias WeightRow = u32;
const WEIGHT_BLOCK = 0x40000000u;
fn weight_row(row: u32, depth4: u32) -> WeightRow { return row * depth4; }
fn weight_scale(row: WeightRow, k: u32) -> f32 { return 1.0; }
fn weight4(row: WeightRow, k: u32, scale: f32) -> vec4<f32> { return w[row + k]; }
