// attention without workgroup memory and barriers, for head sizes that are multiples of 4: same bindings and Params.
// A thread owns 4 queries of one head and walks the keys 8 at a time: 32 dot products, an online softmax with lazy rescale
// (FlashAttention-2, arXiv 2307.08691), then y += probabilities . V, read from and written to its own rows of y, so any head size
// fits in registers. The caches do what staging does in attention.wgsl. This wins where a barrier costs more than a load: on CPU
// implementations of WebGPU (measured on SwiftShader, see kernels/attention.ts); the trial of the matrix kernels decides.
// Bound: arithmetic there; 12 vec4 loads for 32 dot products, 12 loads and 4 stores for 32 multiply-adds of vec4s.
struct Params { first: u32, queries: u32, keys: u32, row: u32, y_row: u32, y_column: u32, kv_batch: u32, mask_stride: u32, scale_log2e: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<q_type>>;        // [batch, queries, row], row = heads * D4
@group(0) @binding(2) var<storage, read> k: array<vec4<k_type>>;        // [batch or 1, keys, row]; kv_batch is keys, or 0 when shared
@group(0) @binding(3) var<storage, read> v: array<vec4<v_type>>;        // [batch or 1, keys, row]
@group(0) @binding(4) var<storage, read> mask: array<f32>;           // [batch or 1, keys]
@group(0) @binding(5) var<storage, read> bias: array<f32>;           // [heads, 2 keys - 1]
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;  // [batch, queries, y_row], from y_column on

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let query0 = params.first + (group.x * 32u + thread) * 4u;
  if (query0 >= params.queries) { return; }
  // Queries past the end repeat the last one; a thread reads all four rows before it writes them, so copies agree.
  let query = min(vec4<u32>(query0, query0 + 1u, query0 + 2u, query0 + 3u), vec4<u32>(params.queries - 1u));
  let rows = (group.z * params.queries + query) * params.row + group.y * D4;
  let into = (group.z * params.queries + query) * params.y_row + params.y_column + group.y * D4;
  let keys_base = group.z * params.kv_batch * params.row + group.y * D4;
  let last = params.keys - 1u;
  for (var c = 0u; c < D4; c++) {
    y[into.x + c] = vec4<f32>(0.0);
    y[into.y + c] = vec4<f32>(0.0);
    y[into.z + c] = vec4<f32>(0.0);
    y[into.w + c] = vec4<f32>(0.0);
  }
  var top = vec4<f32>(LOW);
  var sum = vec4<f32>(0.0);
  for (var key = 0u; key < params.keys; key += 8u) {
    // Keys past the end repeat the last one; `score` gives them none.
    let at = keys_base + params.row * min(vec4<u32>(key, key + 1u, key + 2u, key + 3u), vec4<u32>(last));
    let bt = keys_base + params.row * min(vec4<u32>(key + 4u, key + 5u, key + 6u, key + 7u), vec4<u32>(last));
    var s0 = vec4<f32>(0.0); var s1 = vec4<f32>(0.0); var s2 = vec4<f32>(0.0); var s3 = vec4<f32>(0.0);
    var s4 = vec4<f32>(0.0); var s5 = vec4<f32>(0.0); var s6 = vec4<f32>(0.0); var s7 = vec4<f32>(0.0);
    for (var c = 0u; c < D4; c++) {
      let m = mat4x4<f32>(vec4<f32>(q[rows.x + c]), vec4<f32>(q[rows.y + c]), vec4<f32>(q[rows.z + c]), vec4<f32>(q[rows.w + c]));
      s0 += vec4<f32>(k[at.x + c]) * m; s1 += vec4<f32>(k[at.y + c]) * m; s2 += vec4<f32>(k[at.z + c]) * m; s3 += vec4<f32>(k[at.w + c]) * m;
      s4 += vec4<f32>(k[bt.x + c]) * m; s5 += vec4<f32>(k[bt.y + c]) * m; s6 += vec4<f32>(k[bt.z + c]) * m; s7 += vec4<f32>(k[bt.w + c]) * m;
    }
    s0 = score(s0, key, query, group.y, group.z);
    s1 = score(s1, key + 1u, query, group.y, group.z);
    s2 = score(s2, key + 2u, query, group.y, group.z);
    s3 = score(s3, key + 3u, query, group.y, group.z);
    s4 = score(s4, key + 4u, query, group.y, group.z);
    s5 = score(s5, key + 5u, query, group.y, group.z);
    s6 = score(s6, key + 6u, query, group.y, group.z);
    s7 = score(s7, key + 7u, query, group.y, group.z);
    let highest = max(max(max(s0, s1), max(s2, s3)), max(max(s4, s5), max(s6, s7)));
    let raised = select(top, highest, highest > top + 8.0);
    let factor = exp2(max(top - raised, vec4<f32>(-126.0)));  // 1 unless the maximum rose by more than 2^8
    top = raised;
    s0 = probability(s0, top); s1 = probability(s1, top); s2 = probability(s2, top); s3 = probability(s3, top);
    s4 = probability(s4, top); s5 = probability(s5, top); s6 = probability(s6, top); s7 = probability(s7, top);
    sum = sum * factor + ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
    // Column i of a and b: the probabilities of query i.
    let a = transpose(mat4x4<f32>(s0, s1, s2, s3));
    let b = transpose(mat4x4<f32>(s4, s5, s6, s7));
    for (var c = 0u; c < D4; c++) {
      let va = mat4x4<f32>(vec4<f32>(v[at.x + c]), vec4<f32>(v[at.y + c]), vec4<f32>(v[at.z + c]), vec4<f32>(v[at.w + c]));
      let vb = mat4x4<f32>(vec4<f32>(v[bt.x + c]), vec4<f32>(v[bt.y + c]), vec4<f32>(v[bt.z + c]), vec4<f32>(v[bt.w + c]));
      let y0 = y[into.x + c] * factor.x + va * a[0] + vb * b[0];
      let y1 = y[into.y + c] * factor.y + va * a[1] + vb * b[1];
      let y2 = y[into.z + c] * factor.z + va * a[2] + vb * b[2];
      let y3 = y[into.w + c] * factor.w + va * a[3] + vb * b[3];
      y[into.x + c] = y0; y[into.y + c] = y1; y[into.z + c] = y2; y[into.w + c] = y3;
    }
  }
  let inverse = 1.0 / max(sum, vec4<f32>(1e-30));  // a row with no key left gives zeros
  for (var c = 0u; c < D4; c++) {
    let y0 = y[into.x + c] * inverse.x;
    let y1 = y[into.y + c] * inverse.y;
    let y2 = y[into.z + c] * inverse.z;
    let y3 = y[into.w + c] * inverse.w;
    y[into.x + c] = y0; y[into.y + c] = y1; y[into.z + c] = y2; y[into.w + c] = y3;
  }
}
