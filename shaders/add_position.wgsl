// x[b, row * columns + column, :] += [column_table[column], row_table[row]]: the 2-D sine-cosine position embedding, whose first half
// depends on the column alone and second half on the row alone. The tables are small and made on the CPU, where sin and cos are
// exact (WGSL allows errors of 2^-11). Source: diffusers get_2d_sincos_pos_embed. Bound: memory bandwidth.
struct Params { count: u32, width: u32, columns: u32, rows: u32, first_token: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> column_table: array<f32>;  // [columns, width / 2]
@group(0) @binding(2) var<storage, read> row_table: array<f32>;     // [rows, width / 2]
@group(0) @binding(3) var<storage, read_write> x: array<f32>;       // [batch, rows * columns, width] from token `first_token` on

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = linear_index(group, groups, thread);
  if (index >= params.count) { return; }
  let channel = index % params.width;
  let token = (params.first_token + index / params.width) % (params.rows * params.columns);
  let half = params.width / 2u;
  if (channel < half) {
    x[index] += column_table[token % params.columns * half + channel];
  } else {
    x[index] += row_table[token / params.columns * half + channel - half];
  }
}
