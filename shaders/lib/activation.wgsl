// Activations by number, as kernels/activation.ts lists them. Arguments of exp and tanh are clamped: they overflow on real drivers.
fn silu(x: f32) -> f32 { return x / (1.0 + exp(-clamp(x, -80.0, 80.0))); }
fn gelu_tanh(x: f32) -> f32 {
  return 0.5 * x * (1.0 + tanh(clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), -15.0, 15.0)));
}
fn activate(kind: u32, x: f32) -> f32 {
  switch kind {
    case 1u: { return gelu_tanh(x); }
    case 2u: { return silu(x); }
    case 3u: { return max(x, 0.0); }
    default: { return x; }
  }
}
