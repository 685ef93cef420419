// Four f16 values in two words: half the traffic of f32, and no shader-f16 needed to read them.
alias Weight4 = vec2<u32>;
fn weight4(w: Weight4) -> vec4<f32> { return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }
