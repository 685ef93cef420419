// y[k, b, j] = tables[k, j] + t[b, j % t_width]: adaLN-single. Every block adds its own table to vectors that depend on the
// timestep alone, so the vectors of all blocks are made in one dispatch a step. For the final layer k is 1 and t (width D) is added to
// both of its two vectors. Source: PixArt-alpha (arXiv 2310.00426). Bound: launch time.
struct Params { count: u32, width: u32, batch: u32, t_width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tables: array<f32>;        // [k, width]
@group(0) @binding(2) var<storage, read> t: array<f32>;             // [batch, t_width]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;       // [k, batch, width]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = linear_index(group, groups, thread);
  if (index >= params.count) { return; }
  let j = index % params.width;
  let b = index / params.width % params.batch;
  y[index] = tables[index / (params.width * params.batch) * params.width + j] + t[b * params.t_width + j % params.t_width];
}
