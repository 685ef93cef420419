// Weights in 4 bits (src/numbers/quant.ts): a row is depth4 / 2 words of eight nibbles, then an f16 scale for every 32 elements, two to a
// word. The low nibbles of a word's four bytes are one vec4, the high ones the next; a nibble n is the number n - 8. See weights_f32.
alias Weight = u32;
struct WeightRow { quants: u32, scales: u32 }
const WEIGHT_BLOCK = 8u;
fn weight_row(row: u32, depth4: u32) -> WeightRow {
  let quants = row * ((depth4 >> 1u) + ((depth4 + 8u) >> 4u));
  return WeightRow(quants, quants + (depth4 >> 1u));
}
fn weight_scale(row: WeightRow, k: u32) -> f32 {
  return unpack2x16float(w[row.scales + (k >> 4u)] >> ((k << 1u) & 16u)).x;
}
fn weight4(row: WeightRow, k: u32, scale: f32) -> vec4<f32> {
  let word = w[row.quants + (k >> 1u)] >> ((k & 1u) << 2u);
  let nibbles = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
  return scale * (vec4<f32>(nibbles) - 8.0);
}
