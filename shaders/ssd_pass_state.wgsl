// Carries the states of the chunks through each sequence: h_c = exp(F_last of chunk c) h_(c-1) + S_c, in place, in f32, with h_-1 = 0.
// Afterwards slot c holds the state that chunk c leaves behind, which is what chunk c + 1 starts from. The last chunk has no
// slot: nobody asks for its state. Third kernel of Mamba-2's SSD (arXiv 2405.21060, section 6). A lane is one head of one
// sequence; a thread owns 4 elements of a lane's state and walks over the chunks. Bound: memory, each state read and written once.
struct Params { state_size4: u32, slots: u32, chunk: u32, lane0: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> decay: array<f32>;                // F [S * M, slots + 1, Q]
@group(0) @binding(2) var<storage, read_write> states: array<vec4<f32>>;   // [lanes, slots, N * P / 4]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.state_size4) { return; }
  var h = vec4<f32>();
  for (var slot = 0u; slot < params.slots; slot++) {
    let last = ((params.lane0 + id.y) * (params.slots + 1u) + slot + 1u) * params.chunk - 1u;
    let at = (id.y * params.slots + slot) * params.state_size4 + id.x;
    h = exp(min(decay[last], 0.0)) * h + states[at];
    states[at] = h;
  }
}
