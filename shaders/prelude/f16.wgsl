alias real = f16;
alias real4 = vec4<f16>;
const REAL_MAX = 65504.0;
