// Online-softmax attention for one block of queries of one head (FlashAttention-2, arXiv 2307.08691): no T x T matrix anywhere.
// TX x TY threads own 4 TY queries and walk the keys in tiles of 512 / TY. Per tile: (1) scores: Q and K pass through `stage`
// 20 of depth at a time, a thread does 4 queries x (keys / TX) dot products; (2) the tile's row maximum; accumulators are rescaled only
// when it rises by more than 2^8 (lazy rescale), so exp2 stays below 256; (3) probabilities go through `prob`, and a thread
// adds up 4 queries x COLUMNS vec4 columns of V, read straight from memory since 4 TY queries share every value.
// Thread number = ty + TY tx: neighbours read neighbouring vec4s of `stage` and `prob`, and the same vec4 of V.
// What is staged is `real`: in f16 it takes half the workgroup memory and traffic. All sums are f32, for exp2 makes relative errors of a score's.
// The file that uses this declares `params`, mask, bias and load_q, load_k, load_v, store_y for its memory layout.
override TX: u32;                     // 8, or 32 for wide heads
override TY: u32;                     // 16, or 8: TX and TY are powers of two
override KEYS: u32 = 512u / TY;

const SLICE = 5u;                     // vec4s of depth staged at once
const ROWS = 96u;                     // 4 TY queries + 512 / TY keys: 64 + 32 or 32 + 64

var<workgroup> stage: array<real4, 480>;      // [SLICE, ROWS]                                     7.7 KB in f32
var<workgroup> prob: array<real4, 512>;         // [KEYS, TY], the 4 queries of a thread as one vec4   8 KB

fn stage_slice(thread: u32, query0: u32, key0: u32, c0: u32) {
  for (var u = thread; u < ROWS * SLICE; u += TX * TY) {
    let row = u / SLICE;
    let c = u % SLICE;
    var value = vec4<f32>(0.0);
    if (c0 + c < D4) {
      if (row < 4u * TY) {
        value = load_q(min(query0 + row, params.queries - 1u), c0 + c);
      } else {
        value = load_k(min(key0 + row - 4u * TY, params.keys - 1u), c0 + c);
      }
    }
    stage[c * ROWS + row] = real4(value);
  }
}

// Columns of the result are the thread's queries.
fn staged(i: u32) -> vec4<f32> { return vec4<f32>(stage[i]); }
fn outer(v: vec4<f32>, p: vec4<f32>) -> mat4x4<f32> { return mat4x4<f32>(v * p.x, v * p.y, v * p.z, v * p.w); }
fn scaled(m: mat4x4<f32>, f: vec4<f32>) -> mat4x4<f32> { return mat4x4<f32>(m[0] * f.x, m[1] * f.y, m[2] * f.z, m[3] * f.w); }

fn store_column(o: mat4x4<f32>, column: u32, query0: u32, ty: u32) {
  if (column >= D4) { return; }
  for (var i = 0u; i < 4u; i++) {
    let query = query0 + ty + TY * i;
    if (query < params.queries) { store_y(query, column, o[i]); }
  }
}

fn flash(query0: u32, head: u32, batch: u32, thread: u32) {
  let ty = thread % TY;
  let tx = thread / TY;
  let query = min(vec4<u32>(query0 + ty) + TY * vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.queries - 1u));
  var o0 = mat4x4<f32>();
  var o1 = mat4x4<f32>();
  var o2 = mat4x4<f32>();
  var o3 = mat4x4<f32>();
  var top = vec4<f32>(LOW);
  var sum = vec4<f32>(0.0);  // of this thread's keys only, until the end
  for (var key0 = 0u; key0 < params.keys; key0 += KEYS) {
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    for (var c0 = 0u; c0 < D4; c0 += SLICE) {
      stage_slice(thread, query0, key0, c0);
      workgroupBarrier();
      let depth = min(SLICE, D4 - c0);
      for (var c = 0u; c < depth; c++) {
        let a = c * ROWS + ty;
        let q = mat4x4<f32>(staged(a), staged(a + TY), staged(a + 2u * TY), staged(a + 3u * TY));
        let b = c * ROWS + 4u * TY + tx;
        s0 += staged(b) * q;
        s1 += staged(b + TX) * q;
        if (KEYS > 2u * TX) {
          s2 += staged(b + 2u * TX) * q;
          s3 += staged(b + 3u * TX) * q;
        }
      }
      workgroupBarrier();
    }
    s0 = score(s0, key0 + tx, query, head, batch);
    s1 = score(s1, key0 + tx + TX, query, head, batch);
    if (KEYS > 2u * TX) {
      s2 = score(s2, key0 + tx + 2u * TX, query, head, batch);
      s3 = score(s3, key0 + tx + 3u * TX, query, head, batch);
    } else {
      s2 = vec4<f32>(LOW);
      s3 = s2;
    }
    // All threads of a row read the same rounded maximum, and any will do that is near the true one.
    stage[thread] = real4(clamp(max(max(s0, s1), max(s2, s3)), vec4<f32>(-REAL_MAX), vec4<f32>(REAL_MAX)));
    workgroupBarrier();
    var highest = staged(ty);
    for (var t = 1u; t < TX; t++) { highest = max(highest, staged(t * TY + ty)); }
    let rises = highest > top + 8.0;
    if (any(rises)) {
      let raised = select(top, highest, rises);
      let factor = exp2(max(top - raised, vec4<f32>(-126.0)));
      o0 = scaled(o0, factor);
      o1 = scaled(o1, factor);
      o2 = scaled(o2, factor);
      o3 = scaled(o3, factor);
      sum *= factor;
      top = raised;
    }
    s0 = probability(s0, top);
    s1 = probability(s1, top);
    let p0 = real4(s0);
    let p1 = real4(s1);
    prob[thread] = p0;
    prob[thread + TX * TY] = p1;
    sum += vec4<f32>(p0) + vec4<f32>(p1);
    if (KEYS > 2u * TX) {
      s2 = probability(s2, top);
      s3 = probability(s3, top);
      let p2 = real4(s2);
      let p3 = real4(s3);
      prob[thread + 2u * TX * TY] = p2;
      prob[thread + 3u * TX * TY] = p3;
      sum += vec4<f32>(p2) + vec4<f32>(p3);
    }
    workgroupBarrier();
    let count = min(KEYS, params.keys - key0);
    for (var key = 0u; key < count; key++) {
      let p = vec4<f32>(prob[key * TY + ty]);
      if (tx < D4) { o0 += outer(load_v(key0 + key, tx), p); }
      if (tx + TX < D4) { o1 += outer(load_v(key0 + key, tx + TX), p); }
      if (tx + 2u * TX < D4) { o2 += outer(load_v(key0 + key, tx + 2u * TX), p); }
      if (tx + 3u * TX < D4) { o3 += outer(load_v(key0 + key, tx + 3u * TX), p); }
    }
  }
  // In two halves, so that f16 loses nothing.
  workgroupBarrier();
  stage[thread] = real4(sum);
  prob[thread] = real4(sum - vec4<f32>(real4(sum)));
  workgroupBarrier();
  var total = vec4<f32>(0.0);
  for (var t = 0u; t < TX; t++) { total += staged(t * TY + ty) + vec4<f32>(prob[t * TY + ty]); }
  let inverse = 1.0 / max(total, vec4<f32>(1e-30));  // a row with no key left gives zeros
  store_column(scaled(o0, inverse), tx, query0, ty);
  store_column(scaled(o1, inverse), tx + TX, query0, ty);
  store_column(scaled(o2, inverse), tx + 2u * TX, query0, ty);
  store_column(scaled(o3, inverse), tx + 3u * TX, query0, ty);
}
