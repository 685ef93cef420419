// Weights in 8 bits (src/numbers/quant.ts): a row is depth4 words of four signed bytes, then an f16 scale for every 32 elements, two to a
// word. See weights_f32. Shifts, not unpack4xI8: that needs a language feature that browsers may lack.
alias Weight = u32;
struct WeightRow { quants: u32, scales: u32 }
const WEIGHT_BLOCK = 8u;
fn weight_row(row: u32, depth4: u32) -> WeightRow {
  let quants = row * (depth4 + ((depth4 + 8u) >> 4u));
  return WeightRow(quants, quants + depth4);
}
fn weight_scale(row: WeightRow, k: u32) -> f32 {
  return unpack2x16float(w[row.scales + (k >> 4u)] >> ((k << 1u) & 16u)).x;
}
fn weight4(row: WeightRow, k: u32, scale: f32) -> vec4<f32> {
  let bytes = vec4<i32>(vec4<u32>(w[row.quants + k]) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
  return scale * vec4<f32>(bytes);
}
