alias Weight4 = vec4<f32>;
fn weight4(w: Weight4) -> vec4<f32> { return w; }
