alias real = f32;
alias real4 = vec4<f32>;
const REAL_MAX = 1e30;
