// Weights in f16, four in two words: half the traffic of f32, and no shader-f16 needed to read them. See weights_f32.
alias Weight = vec2<u32>;
alias WeightRow = u32;
const WEIGHT_BLOCK = 0x40000000u;
fn weight_row(row: u32, depth4: u32) -> WeightRow { return row * depth4; }
fn weight_scale(row: WeightRow, k: u32) -> f32 { return 1.0; }
fn weight4(row: WeightRow, k: u32, scale: f32) -> vec4<f32> {
  let words = w[row + k];
  return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
