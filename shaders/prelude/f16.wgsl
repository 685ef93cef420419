enable f16;
alias real = f16;
alias real4 = vec4<f16>;
