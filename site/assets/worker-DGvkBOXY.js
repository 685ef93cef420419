/**
* @license
* Copyright 2019 Google LLC
* SPDX-License-Identifier: Apache-2.0
*/
const e=Symbol(`Comlink.proxy`),t=Symbol(`Comlink.endpoint`),n=Symbol(`Comlink.releaseProxy`),r=Symbol(`Comlink.finalizer`),i=Symbol(`Comlink.thrown`),a=e=>typeof e==`object`&&!!e||typeof e==`function`,o=/* @__PURE__ */ new Map([[`proxy`,{canHandle:t=>a(t)&&t[e],serialize(e){let{port1:t,port2:n}=new MessageChannel;return c(e,t),[n,[n]]},deserialize(e){return e.start(),d(e)}}],[`throw`,{canHandle:e=>a(e)&&i in e,serialize({value:e}){let t;return t=e instanceof Error?{isError:!0,value:{message:e.message,name:e.name,stack:e.stack}}:{isError:!1,value:e},[t,[]]},deserialize(e){throw e.isError?Object.assign(Error(e.value.message),e.value):e.value}}]]);function s(e,t){for(let n of e)if(t===n||n===`*`||n instanceof RegExp&&n.test(t))return!0;return!1}function c(e,t=globalThis,n=[`*`]){t.addEventListener(`message`,function a(o){if(!o||!o.data)return;if(!s(n,o.origin)){console.warn(`Invalid origin '${o.origin}' for comlink proxy`);return}let{id:l,type:d,path:f}=Object.assign({path:[]},o.data),p=(o.data.argumentList||[]).map(T),m;try{let t=f.slice(0,-1).reduce((e,t)=>e[t],e),n=f.reduce((e,t)=>e[t],e);switch(d){case`GET`:m=n;break;case`SET`:t[f.slice(-1)[0]]=T(o.data.value),m=!0;break;case`APPLY`:m=n.apply(t,p);break;case`CONSTRUCT`:m=C(new n(...p));break;case`ENDPOINT`:{let{port1:t,port2:n}=new MessageChannel;c(e,n),m=S(t,[t])}break;case`RELEASE`:m=void 0;break;default:return}}catch(e){m={value:e,[i]:0}}Promise.resolve(m).catch(e=>({value:e,[i]:0})).then(n=>{let[i,o]=w(n);t.postMessage(Object.assign(Object.assign({},i),{id:l}),o),d===`RELEASE`&&(t.removeEventListener(`message`,a),u(t),r in e&&typeof e[r]==`function`&&e[r]())}).catch(e=>{let[n,r]=w({value:/* @__PURE__ */ TypeError(`Unserializable return value`),[i]:0});t.postMessage(Object.assign(Object.assign({},n),{id:l}),r)})}),t.start&&t.start()}function l(e){return e.constructor.name===`MessagePort`}function u(e){l(e)&&e.close()}function d(e,t){let n=/* @__PURE__ */ new Map;return e.addEventListener(`message`,function(e){let{data:t}=e;if(!t||!t.id)return;let r=n.get(t.id);if(r)try{r(t)}finally{n.delete(t.id)}}),v(e,n,[],t)}function f(e){if(e)throw Error(`Proxy has been released and is not useable`)}function p(e){return E(e,/* @__PURE__ */ new Map,{type:`RELEASE`}).then(()=>{u(e)})}const m=/* @__PURE__ */ new WeakMap,h=`FinalizationRegistry`in globalThis&&new FinalizationRegistry(e=>{let t=(m.get(e)||0)-1;m.set(e,t),t===0&&p(e)});function g(e,t){let n=(m.get(t)||0)+1;m.set(t,n),h&&h.register(e,t,e)}function _(e){h&&h.unregister(e)}function v(e,r,i=[],a=function(){}){let o=!1,s=new Proxy(a,{get(t,a){if(f(o),a===n)return()=>{_(s),p(e),r.clear(),o=!0};if(a===`then`){if(i.length===0)return{then:()=>s};let t=E(e,r,{type:`GET`,path:i.map(e=>e.toString())}).then(T);return t.then.bind(t)}return v(e,r,[...i,a])},set(t,n,a){f(o);let[s,c]=w(a);return E(e,r,{type:`SET`,path:[...i,n].map(e=>e.toString()),value:s},c).then(T)},apply(n,a,s){f(o);let c=i[i.length-1];if(c===t)return E(e,r,{type:`ENDPOINT`}).then(T);if(c===`bind`)return v(e,r,i.slice(0,-1));let[l,u]=b(s);return E(e,r,{type:`APPLY`,path:i.map(e=>e.toString()),argumentList:l},u).then(T)},construct(t,n){f(o);let[a,s]=b(n);return E(e,r,{type:`CONSTRUCT`,path:i.map(e=>e.toString()),argumentList:a},s).then(T)}});return g(s,e),s}function y(e){return Array.prototype.concat.apply([],e)}function b(e){let t=e.map(w);return[t.map(e=>e[0]),y(t.map(e=>e[1]))]}const x=/* @__PURE__ */ new WeakMap;function S(e,t){return x.set(e,t),e}function C(t){return Object.assign(t,{[e]:!0})}function w(e){for(let[t,n]of o)if(n.canHandle(e)){let[r,i]=n.serialize(e);return[{type:`HANDLER`,name:t,value:r},i]}return[{type:`RAW`,value:e},x.get(e)||[]]}function T(e){switch(e.type){case`HANDLER`:return o.get(e.name).deserialize(e.value);case`RAW`:return e.value}}function E(e,t,n,r){return new Promise(i=>{let a=ee();t.set(a,i),e.start&&e.start(),e.postMessage(Object.assign({id:a},n),r)})}function ee(){return[,,,,].fill(0).map(()=>Math.floor(Math.random()*(2**53-1)).toString(16)).join(`-`)}var D=class extends Error{name;constructor(e,t,n){super(t,n),this.name=e}};function O(e){if(e?.aborted)throw new D(`AbortError`,`scanvas: cancelled by the caller`)}var te=class{device;checkLost;bytes=0;peak=0;#e=/* @__PURE__ */ new Set;constructor(e,t){this.device=e,this.checkLost=t}async allocate(e){await this.#r(()=>e.forEach(e=>e.buffer=this.#t(e.label,e.bytes)),()=>this.release(e),e.reduce((e,t)=>e+t.bytes,0))}async workspace(e){let t=[],n=()=>{t.forEach(e=>this.#n(e)),t=[];for(let t of e.slotOf.keys())t.buffer=void 0};return await this.#r(()=>{t=e.slots.map((e,t)=>this.#t(`workspace ${t}`,e));for(let[n,r]of e.slotOf)n.buffer=t[r]},n,e.bytes),n}release(e){for(let t of e)t.buffer&&=(this.#n(t.buffer),void 0)}dispose(){for(let e of[...this.#e])this.#n(e)}#t(e,t){let n=this.device.createBuffer({label:e,size:t,usage:140});return this.#e.add(n),this.bytes+=t,this.peak=Math.max(this.peak,this.bytes),n}#n(e){this.#e.delete(e)&&(this.bytes-=e.size,e.destroy())}async#r(e,t,n){this.device.pushErrorScope(`out-of-memory`),e();let r=await this.device.popErrorScope().catch(()=>null);if(this.checkLost(),r)throw t(),new D(`OutOfMemoryError`,`scanvas: the GPU had no room for ${n} bytes more (${this.bytes} in use); choose a smaller size or close other tabs`,{cause:r})}},ne=`enable f16;
alias real = f16;
alias real4 = vec4<f16>;
`,re=`alias real = f32;
alias real4 = vec4<f32>;
`,ie=`// Four f16 values in two words: half the traffic of f32, and no shader-f16 needed to read them.
alias Weight4 = vec2<u32>;
fn weight4(w: Weight4) -> vec4<f32> { return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }
`,ae=`alias Weight4 = vec4<f32>;
fn weight4(w: Weight4) -> vec4<f32> { return w; }
`,oe=`// Activations by number, as kernels/activation.ts lists them. Arguments of exp and tanh are clamped: they overflow on real drivers.
fn silu(x: f32) -> f32 { return x / (1.0 + exp(-clamp(x, -80.0, 80.0))); }
fn gelu_tanh(x: f32) -> f32 {
  return 0.5 * x * (1.0 + tanh(clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), -15.0, 15.0)));
}
fn activate(kind: u32, x: f32) -> f32 {
  switch kind {
    case 1u: { return gelu_tanh(x); }
    case 2u: { return silu(x); }
    case 3u: { return max(x, 0.0); }
    default: { return x; }
  }
}
`,se=`// From dot products to probabilities, for four queries and one key at a time. Scores are in base 2 (params.scale_log2e holds the
// factor), so that a probability is one exp2. The file that uses this declares \`params\`, \`mask\` and \`bias\`.
override HEAD_DIM: u32;
override HAS_MASK: bool = false;      // mask[batch, key] is 0 for keys that take no part
override HAS_BIAS: bool = false;      // bias[head, 2 keys - 1], at key - query + keys - 1
override D4: u32 = (HEAD_DIM + 3u) / 4u;

const LOW = -1e30;                    // score of a key that takes no part; infinities are not reliable in WGSL

fn score(dots: vec4<f32>, key: u32, query: vec4<u32>, head: u32, batch: u32) -> vec4<f32> {
  if (key >= params.keys) { return vec4<f32>(LOW); }
  if (HAS_MASK) {
    if (mask[batch * params.mask_stride + key] == 0.0) { return vec4<f32>(LOW); }
  }
  var value = dots * params.scale_log2e;
  if (HAS_BIAS) {
    let at = vec4<u32>(head * (2u * params.keys - 1u) + key + params.keys - 1u) - query;
    value += 1.4426950408889634 * vec4<f32>(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
  }
  return value;
}

fn probability(scores: vec4<f32>, top: vec4<f32>) -> vec4<f32> {
  return select(exp2(max(scores - top, vec4<f32>(-126.0))), vec4<f32>(0.0), scores < vec4<f32>(0.5 * LOW));
}
`,ce=`// Addressing and epilogue shared by the conv2d kernels. Pixels of a dispatch are numbered row by row from image row params.row0.
// x, y and residual hold some rows of their image each: x_row0, y_row0, residual_row0 are the image rows that their row 0 is.
const OUTSIDE = 0xffffffffu;

/// (row, column) of output pixel \`p\`; past the end it repeats the last one, which \`store4\` drops.
fn output_pixel(p: u32) -> vec2<u32> {
  let q = min(p, params.pixels - 1u);
  return vec2<u32>(params.row0 + q / params.width, q % params.width);
}

/// Where in x the channels for tap (dy, dx) of an output pixel start, or OUTSIDE where the zero padding is.
/// Nearest upsampling by two is a shift of the coordinates; the padding belongs to the upsampled image.
fn source(pixel: vec2<u32>, dy: u32, dx: u32) -> u32 {
  let half = params.side >> 1u;
  let row = pixel.x + dy - half; // wraps below zero, so that one comparison tests both ends
  let column = pixel.y + dx - half;
  let at = ((row >> params.upsample) - params.x_row0) * (params.width >> params.upsample) + (column >> params.upsample);
  return select(at * params.c4, OUTSIDE, row >= params.height || column >= params.width);
}

fn input(at: u32, c: u32) -> vec4<f32> {
  return select(x[at + c], vec4<f32>(), at == OUTSIDE);
}

/// y = sum + bias (+ residual, or + y itself) for four channels of pixel number \`p\`. Channels from params.outputs to the next
/// multiple of four are written as zero.
fn store4(p: u32, pixel: vec2<u32>, channel: u32, sum: vec4<f32>) {
  if (p >= params.pixels || channel >= params.outputs) { return; }
  let inside = vec4<u32>(channel, channel + 1u, channel + 2u, channel + 3u) < vec4<u32>(params.outputs);
  var value = sum;
  if (params.has_bias != 0u) { value += vec4<f32>(bias[channel], bias[channel + 1u], bias[channel + 2u], bias[channel + 3u]); }
  value = select(vec4<f32>(), value, inside);
  let out4 = (params.outputs + 3u) >> 2u;
  let index = ((pixel.x - params.y_row0) * params.width + pixel.y) * out4 + (channel >> 2u);
  if (params.residual_kind == 1u) {
    value += residual[((pixel.x - params.residual_row0) * params.width + pixel.y) * out4 + (channel >> 2u)];
  }
  if (params.residual_kind == 2u) { value += y[index]; }
  y[index] = value;
}
`,le=`// Online-softmax attention for one block of queries of one head (FlashAttention-2, arXiv 2307.08691): no T x T matrix anywhere.
// TX x TY threads own 4 TY queries and walk the keys in tiles of 512 / TY. Per tile: (1) scores: Q and K pass through \`stage\`
// 20 of depth at a time, a thread does 4 queries x (keys / TX) dot products; (2) the tile's row maximum; accumulators are rescaled only
// when it rises by more than 2^8 (lazy rescale), so exp2 stays below 256; (3) probabilities go through \`prob\`, and a thread
// adds up 4 queries x COLUMNS vec4 columns of V, read straight from memory since 4 TY queries share every value.
// Thread number = ty + TY tx: neighbours read neighbouring vec4s of \`stage\` and \`prob\`, and the same vec4 of V.
// The file that uses this declares \`params\`, mask, bias and load_q, load_k, load_v, store_y for its memory layout.
override TX: u32;                     // 8, or 32 for wide heads
override TY: u32;                     // 16, or 8: TX and TY are powers of two
override KEYS: u32 = 512u / TY;

const SLICE = 5u;                     // vec4s of depth staged at once
const ROWS = 96u;                     // 4 TY queries + 512 / TY keys: 64 + 32 or 32 + 64

var<workgroup> stage: array<vec4<f32>, 480>;  // [SLICE, ROWS], then row maxima [TX, TY]      7.7 KB
var<workgroup> prob: array<vec4<f32>, 512>;   // [KEYS, TY], the 4 queries of a thread as one vec4   8 KB

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
    stage[c * ROWS + row] = value;
  }
}

// Columns of the result are the thread's queries.
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
        let q = mat4x4<f32>(stage[a], stage[a + TY], stage[a + 2u * TY], stage[a + 3u * TY]);
        let b = c * ROWS + 4u * TY + tx;
        s0 += stage[b] * q;
        s1 += stage[b + TX] * q;
        if (KEYS > 2u * TX) {
          s2 += stage[b + 2u * TX] * q;
          s3 += stage[b + 3u * TX] * q;
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
    stage[thread] = max(max(s0, s1), max(s2, s3));
    workgroupBarrier();
    var highest = stage[ty];
    for (var t = 1u; t < TX; t++) { highest = max(highest, stage[t * TY + ty]); }
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
    prob[thread] = s0;
    prob[thread + TX * TY] = s1;
    sum += s0 + s1;
    if (KEYS > 2u * TX) {
      s2 = probability(s2, top);
      s3 = probability(s3, top);
      prob[thread + 2u * TX * TY] = s2;
      prob[thread + 3u * TX * TY] = s3;
      sum += s2 + s3;
    }
    workgroupBarrier();
    let count = min(KEYS, params.keys - key0);
    for (var key = 0u; key < count; key++) {
      let p = prob[key * TY + ty];
      if (tx < D4) { o0 += outer(load_v(key0 + key, tx), p); }
      if (tx + TX < D4) { o1 += outer(load_v(key0 + key, tx + TX), p); }
      if (tx + 2u * TX < D4) { o2 += outer(load_v(key0 + key, tx + 2u * TX), p); }
      if (tx + 3u * TX < D4) { o3 += outer(load_v(key0 + key, tx + 3u * TX), p); }
    }
  }
  stage[thread] = sum;
  workgroupBarrier();
  var total = stage[ty];
  for (var t = 1u; t < TX; t++) { total += stage[t * TY + ty]; }
  let inverse = 1.0 / max(total, vec4<f32>(1e-30));  // a row with no key left gives zeros
  store_column(scaled(o0, inverse), tx, query0, ty);
  store_column(scaled(o1, inverse), tx + TX, query0, ty);
  store_column(scaled(o2, inverse), tx + 2u * TX, query0, ty);
  store_column(scaled(o3, inverse), tx + 3u * TX, query0, ty);
}
`,ue=`// What every matrix kernel does with a finished sum: y = residual + gate * activation(sum + bias), or y = activation(.) * residual.
// Columns below split0 go to y0, then below split1 to y1, the rest to y2, each a matrix of its own. The choices are uniform values, not
// overrides: a branch on them costs nothing beside a whole row of products, and one compiled pipeline serves every layer.
struct Params {
  rows: u32, columns: u32, depth4: u32, split0: u32, split1: u32,
  rows_per_batch: u32, gate_offset: u32, gate_stride: u32,   // gate[batch, column]: row r belongs to batch r / rows_per_batch
  has_bias: u32, has_gate: u32,
  residual_kind: u32,                                         // 0 none, 1 add, 2 multiply
  activation: u32,
}

fn store(row: u32, column: u32, sum: f32) {
  if (row >= params.rows || column >= params.columns) { return; }
  var value = sum;
  if (params.has_bias != 0u) { value += bias[column]; }
  value = activate(params.activation, value);
  if (params.has_gate != 0u) { value *= gate[params.gate_offset + (row / params.rows_per_batch) * params.gate_stride + column]; }
  let index = row * params.columns + column;
  if (params.residual_kind == 1u) { value += residual[index]; }
  if (params.residual_kind == 2u) { value *= residual[index]; }
  if (column < params.split0) {
    y0[row * params.split0 + column] = value;
  } else if (column < params.split1) {
    y1[row * (params.split1 - params.split0) + column - params.split0] = value;
  } else {
    y2[row * (params.columns - params.split1) + column - params.split1] = value;
  }
}
`,de=`// Element-wise kernels run 64 threads a workgroup on a grid that may be folded into two dimensions (at most 65535 each).
fn linear_index(group: vec3<u32>, groups: vec3<u32>, thread: u32) -> u32 {
  return (group.y * groups.x + group.x) * 64u + thread;
}
`,fe=`// Sum over the 64 threads of a workgroup, known to all of them afterwards. Two levels of 8, three barriers.
var<workgroup> row_sums: array<f32, 72>;
fn row_sum(thread: u32, value: f32) -> f32 {
  row_sums[thread] = value;
  workgroupBarrier();
  if (thread < 8u) {
    var part = 0.0;
    for (var i = 0u; i < 8u; i++) { part += row_sums[thread * 8u + i]; }
    row_sums[64u + thread] = part;
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 64u; i < 72u; i++) { sum += row_sums[i]; }
  workgroupBarrier();
  return sum;
}
`,pe=`// The order in which a scan walks over the height x width token grid, as an index function: nothing is ever transposed in memory.
// By rows (mamba_w) or by columns (mamba_h), forward or backward. Position p of a sequence is token \`token_at(p)\`.
override BY_COLUMNS: bool = false;

fn token_at(position: u32, backward: bool) -> u32 {
  let p = select(position, params.height * params.width - 1u - position, backward);
  if (BY_COLUMNS) { return (p % params.height) * params.width + p / params.height; }
  return p;
}

fn position_of(token: u32, backward: bool) -> u32 {
  var p = token;
  if (BY_COLUMNS) { p = (token % params.width) * params.height + token / params.width; }
  return select(p, params.height * params.width - 1u - p, backward);
}
`,me=`// The 128x64 tile of gemm_tile for products whose operands are staged by their own rules: 256 threads, 8x4 sums a thread, 16 of
// depth a round, 12 KiB. Stage both tiles, barrier, \`multiply_tiles\`, barrier. Thread (x, y) sums rows 8y.. and columns 4x..
var<workgroup> tile_a: array<array<vec4<f32>, 32>, 16>; // [depth, 128 rows / 4]
var<workgroup> tile_b: array<array<vec4<f32>, 16>, 16>; // [depth, 64 columns / 4]

fn multiply_tiles(sums: ptr<function, array<vec4<f32>, 8>>, x: u32, y: u32) {
  for (var i = 0u; i < 16u; i++) {
    let b = tile_b[i][x];
    let a0 = tile_a[i][2u * y];
    let a1 = tile_a[i][2u * y + 1u];
    (*sums)[0] += a0.x * b; (*sums)[1] += a0.y * b; (*sums)[2] += a0.z * b; (*sums)[3] += a0.w * b;
    (*sums)[4] += a1.x * b; (*sums)[5] += a1.y * b; (*sums)[6] += a1.z * b; (*sums)[7] += a1.w * b;
  }
}

// A thread brings 4 rows x 4 of depth, read along the depth, and writes whole vec4s of rows: writing single components would race.
fn stage_a_turned(quad: u32, depth: u32, v: array<vec4<f32>, 4>) {
  tile_a[depth][quad] = vec4<f32>(v[0].x, v[1].x, v[2].x, v[3].x);
  tile_a[depth + 1u][quad] = vec4<f32>(v[0].y, v[1].y, v[2].y, v[3].y);
  tile_a[depth + 2u][quad] = vec4<f32>(v[0].z, v[1].z, v[2].z, v[3].z);
  tile_a[depth + 3u][quad] = vec4<f32>(v[0].w, v[1].w, v[2].w, v[3].w);
}

fn stage_b_turned(quad: u32, depth: u32, v: array<vec4<f32>, 4>) {
  tile_b[depth][quad] = vec4<f32>(v[0].x, v[1].x, v[2].x, v[3].x);
  tile_b[depth + 1u][quad] = vec4<f32>(v[0].y, v[1].y, v[2].y, v[3].y);
  tile_b[depth + 2u][quad] = vec4<f32>(v[0].z, v[1].z, v[2].z, v[3].z);
  tile_b[depth + 3u][quad] = vec4<f32>(v[0].w, v[1].w, v[2].w, v[3].w);
}
`;const he=/* #__PURE__ */ Object.assign({"../../shaders/prelude/f16.wgsl":ne,"../../shaders/prelude/f32.wgsl":re,"../../shaders/prelude/weights_f16.wgsl":ie,"../../shaders/prelude/weights_f32.wgsl":ae}),ge=/* #__PURE__ */ Object.assign({"../../shaders/lib/activation.wgsl":oe,"../../shaders/lib/attention_score.wgsl":se,"../../shaders/lib/conv2d.wgsl":ce,"../../shaders/lib/flash_attention.wgsl":le,"../../shaders/lib/gemm_epilogue.wgsl":ue,"../../shaders/lib/linear.wgsl":de,"../../shaders/lib/row_sum.wgsl":fe,"../../shaders/lib/scan_order.wgsl":pe,"../../shaders/lib/tile.wgsl":me});function k(e,t,n={}){let r=[];for(let[,e,n,i,a,o]of t.matchAll(/@group\(0\)\s*@binding\((\d+)\)\s*var<(uniform|storage,\s*(read_write|read))>\s*(\w+)\s*:\s*([^;]+);/g))r.push({name:a,index:Number(e),access:n===`uniform`?`uniform`:i,weight:/\bWeight4?\b/.test(o)});let i=[],a=[...(n.lib??[]).map(_e),t].map(e=>/struct Params\s*\{([^}]*)\}/.exec(e)?.[1]).find(Boolean)??``;for(let[,e,t]of a.replace(/\/\/.*$/gm,``).matchAll(/(\w+)\s*:\s*(u32|i32|f32)/g))i.push({name:e,type:t});let o=new Set([...t.matchAll(/^\s*override\s+(\w+)/gm)].map(e=>e[1]));for(let e of n.lib??[])for(let t of _e(e).matchAll(/^\s*override\s+(\w+)/gm))o.add(t[1]);return{name:e,source:t,lib:n.lib??[],bindings:r.sort((e,t)=>e.index-t.index),params:i,overrides:o,readsWeights:r.some(e=>e.weight)}}const _e=e=>{let t=ge[`../../shaders/lib/${e}.wgsl`];if(t===void 0)throw Error(`shaders/lib/${e}.wgsl does not exist`);return t};function ve(e,t,n){return[he[`../../shaders/prelude/${t}.wgsl`],...e.readsWeights?[he[`../../shaders/prelude/weights_${n}.wgsl`]]:[],...e.lib.map(_e),e.source].join(`
`)}function ye(e,t){let n=new DataView(new ArrayBuffer(Math.max(16,Math.ceil(e.params.length/4)*16)));return e.params.forEach(({name:r,type:i},a)=>{let o=t[r];if(o===void 0)throw new D(`TensorError`,`${e.name}: Params.${r} was not given`);i===`f32`?n.setFloat32(4*a,o,!0):i===`i32`?n.setInt32(4*a,o,!0):n.setUint32(4*a,o,!0)}),new Uint8Array(n.buffer)}const A=e=>e.reduce((e,t)=>e*t,1),be=(e,t)=>Math.max(16,Math.ceil(A(e)*(t===`f16`?2:4)/16)*16);function j(e,t,n=`f32`){if(t.some(e=>!Number.isSafeInteger(e)||e<1))throw new D(`TensorError`,`tensor ${e}: shape [${t}] must be positive integers`);return{label:e,shape:t,type:n,bytes:be(t,n),base:void 0,offset:0,buffer:void 0}}function xe(e,t,n,r=0){let i=e.offset+r*(e.type===`f16`?2:4);if(i%256!=0)throw new D(`TensorError`,`view ${t} of ${e.label}: starts at byte ${i}, not a multiple of 256`);if(A(n)+r>A(e.shape))throw new D(`TensorError`,`view ${t} [${n}] + ${r} is larger than ${e.label} [${e.shape}]`);let a=e.base??e;return{label:t,shape:n,type:e.type,bytes:Math.min(be(n,e.type),a.bytes-i),base:a,offset:i,get buffer(){return a.buffer},set buffer(e){throw Error(`a view has no memory of its own`)}}}function M(e,t){for(let[n,[r,i]]of Object.entries(t))if(r&&(r.shape.length!==i.length||r.shape.some((e,t)=>e!==i[t])))throw new D(`TensorError`,`${e}: ${n} (${r.label}) has shape [${r.shape}], expected [${i}]`)}const Se={limits:{maxStorageBufferBindingSize:128<<20,maxBufferSize:256<<20,maxComputeWorkgroupsPerDimension:65535,maxComputeWorkgroupStorageSize:16384},f16:!1,gemm:`tile`};var N=class{label;profile;commands=[];#e=[];constructor(e,t=Se){this.label=e,this.profile=t}temp(e,t,n=`f32`){return j([...this.#e,e].join(`.`),t,n)}scope(e,t){this.#e.push(e);try{return t()}finally{this.#e.pop()}}dispatch(e,t,n){let r=`${[...this.#e,e.name].join(`.`)}`,i=`f32`,a=e.bindings.filter(e=>e.access!==`uniform`).map(e=>{if(!(e.name in t))throw new D(`TensorError`,`${r}: ${e.name} was not given`);let n=t[e.name];if(n&&n.bytes>this.profile.limits.maxStorageBufferBindingSize)throw new D(`LimitError`,`${r}: ${n.label} [${n.shape}] needs a binding of ${n.bytes} bytes, this device allows ${this.profile.limits.maxStorageBufferBindingSize}; choose a smaller height or width`);if(n&&e.weight)i=n.type===`f16`?`f16`:`f32`;else if(n?.type===`f16`)throw new D(`TensorError`,`${r}: ${n.label} is f16, ${e.name} expects f32`);return n}),[o,s=1,c=1]=n.grid,l=this.profile.limits.maxComputeWorkgroupsPerDimension;if(!(o>=1&&s>=1&&c>=1)||Math.max(o,s,c)>l)throw new D(`LimitError`,`${r}: grid [${o}, ${s}, ${c}] is outside 1..${l}; choose a smaller size`);for(let t of Object.keys(n.constants??{}))if(!e.overrides.has(t))throw new D(`TensorError`,`${r}: no override named ${t}`);this.commands.push({kind:`dispatch`,label:r,kernel:e,arithmetic:n.arithmetic??`f32`,weights:i,constants:n.constants??{},tensors:a,params:ye(e,n.params??{}),grid:[o,s,c],flops:n.flops??0})}copy(e,t,n={}){let r=[...this.#e,`copy`].join(`.`),i=e.type===`f16`?2:4,a=n.count===void 0?e.bytes:n.count*i,o=e.offset+(n.from??0)*i,s=t.offset+(n.to??0)*i;if(o+a>e.offset+e.bytes||s+a>t.offset+t.bytes)throw new D(`TensorError`,`${r}: ${e.label} does not fit ${t.label}`);this.commands.push({kind:`copy`,label:r,from:e,to:t,fromOffset:o,toOffset:s,bytes:a})}static touched(e){return(e.kind===`copy`?[e.from,e.to]:e.tensors).filter(e=>e!==void 0).map(e=>e.base??e)}};function P(e){let t=Math.min(e,65535);return[t,Math.ceil(e/t)]}var Ce=class{device;#e=/* @__PURE__ */ new Map;#t=/* @__PURE__ */ new Map;#n=/* @__PURE__ */ new Map;#r=/* @__PURE__ */ new Map;constructor(e){this.device=e}get count(){return this.#n.size}async compile(e){return Promise.all(e.map(e=>this.#i(e)))}layout(e){let t=e.bindings.map(e=>`${e.index}${e.access}`).join(),n=this.#t.get(t);return n||(n=this.device.createBindGroupLayout({label:e.name,entries:e.bindings.map(({index:e,access:t})=>({binding:e,visibility:4,buffer:{type:t===`uniform`?`uniform`:t===`read`?`read-only-storage`:`storage`}}))}),this.#t.set(t,n)),n}nullBuffer(e,t){let n=e===`read`?`read`:`write ${t}`,r=this.#r.get(n);return r||this.#r.set(n,r=this.device.createBuffer({label:`null ${n}`,size:256,usage:128})),r}dispose(){this.#r.forEach(e=>e.destroy())}#i(e){let{kernel:t,arithmetic:n,weights:r,constants:i}=e,a=`${t.name} ${n} ${r}`,o=`${a} ${JSON.stringify(Object.entries(i).sort())}`,s=this.#n.get(o);if(!s){let e=this.#e.get(a);e||(e=this.device.createShaderModule({label:a,code:ve(t,n,r)}),this.#e.set(a,e)),s=this.device.createComputePipelineAsync({label:o,layout:this.device.createPipelineLayout({bindGroupLayouts:[this.layout(t)]}),compute:{module:e,entryPoint:`main`,constants:{...i}}}),this.#n.set(o,s)}return s}};const we=[`maxStorageBufferBindingSize`,`maxBufferSize`,`maxComputeWorkgroupStorageSize`];var Te=class e{device;info;arena;pipelines;lost;profile;submitFlops=5e8;constructor(e,t){this.device=e,this.info=t;let{limits:n}=e;this.profile={...Se,f16:e.features.has(`shader-f16`),limits:{maxStorageBufferBindingSize:n.maxStorageBufferBindingSize,maxBufferSize:n.maxBufferSize,maxComputeWorkgroupsPerDimension:n.maxComputeWorkgroupsPerDimension,maxComputeWorkgroupStorageSize:n.maxComputeWorkgroupStorageSize}},this.arena=new te(e,()=>this.checkLost()),this.pipelines=new Ce(e),e.lost.then(e=>this.lost=e)}static async request(t={}){let n=t.gpu??globalThis.navigator?.gpu;if(!n)throw new D(`WebGPUUnavailableError`,globalThis.isSecureContext===!1?`scanvas: WebGPU needs a secure context, and this page is not one; serve it over https or from localhost`:`scanvas: this browser has no WebGPU; use a current Chrome, Edge, Safari or Firefox, and turn on hardware acceleration`);let r=await n.requestAdapter({powerPreference:`high-performance`});if(!r)throw new D(`WebGPUUnavailableError`,`scanvas: WebGPU is there but offers no adapter; update the graphics driver, or start Chrome with --enable-unsafe-webgpu`);let i={};if(t.limits!=="default")for(let e of we)i[e]=r.limits[e];let a=t.f16?[`timestamp-query`,`shader-f16`]:[`timestamp-query`],o=await r.requestDevice({requiredLimits:i,requiredFeatures:a.filter(e=>r.features.has(e))}).catch(e=>{throw new D(`WebGPUUnavailableError`,`scanvas: the adapter gave no device (${e instanceof Error?e.message:String(e)}); close other tabs that use the GPU and load again`,{cause:e})});return new e(o,r.info)}get isSoftware(){return/swiftshader|llvmpipe|lavapipe|basic render/i.test(`${this.info.architecture} ${this.info.description}`)}get adapterKey(){let{vendor:e,architecture:t,device:n,description:r}=this.info;return[e,t,n,r].join(`|`)}checkLost(){if(this.lost)throw new D(`DeviceLostError`,`scanvas: the GPU device was lost (${this.lost.reason}: ${this.lost.message}); load the model again`)}async wait(e){let t=this.device.lost.then(e=>{throw this.lost=e,this.checkLost(),Error(`unreachable`)});t.catch(()=>void 0);try{return await Promise.race([e,t])}catch(e){throw await Promise.resolve(),this.checkLost(),e}}write(e,t,n=0){this.device.queue.writeBuffer(e.buffer,e.offset+n,t.buffer,t.byteOffset,t.byteLength)}async read(e){let t=this.device.createCommandEncoder({label:`read`}),n=e.map(e=>{let n=this.device.createBuffer({label:`read ${e.label}`,size:e.bytes,usage:9});return t.copyBufferToBuffer(e.buffer,e.offset,n,0,e.bytes),n});this.device.queue.submit([t.finish()]);try{return await this.wait(Promise.all(n.map(e=>e.mapAsync(1)))),n.map((t,n)=>{let{shape:r,type:i}=e[n],a=r.reduce((e,t)=>e*t,i===`f16`?2:4);return t.getMappedRange().slice(0,a)})}finally{n.forEach(e=>e.destroy())}}async readF32(e){return new Float32Array((await this.read([e]))[0])}dispose(){this.arena.dispose(),this.pipelines.dispose(),this.device.destroy()}},Ee=class e{gpu;label;uniforms;#e;constructor(e,t,n,r){this.gpu=e,this.label=t,this.uniforms=r,this.#e=n}static async build(t,n,r=t.submitFlops){let i=n.commands.filter(e=>e.kind===`dispatch`),a=await t.wait(t.pipelines.compile(i)),o=/* @__PURE__ */ new Map,s=i.map(({params:e})=>{let t=e.join();return o.has(t)||o.set(t,o.size*256),o.get(t)}),c=t.device.createBuffer({label:`${n.label} params`,size:Math.max(256,o.size*256),usage:72}),l=new Uint8Array(c.size);i.forEach(({params:e},t)=>l.set(e,s[t])),t.device.queue.writeBuffer(c,0,l);let u=[[]],d=0,f=0;for(let e of n.commands)if(e.kind===`dispatch`){d>0&&d+e.flops>r&&(u.push([]),d=0),d+=e.flops;let n=De(t,e,c,s[f]);u.at(-1).push({dispatch:e,pipeline:a[f],bindGroup:n}),f++}else u.at(-1).push(e);return new e(t,n.label,u,c)}async run(e){let t=[];for(let n of this.#e){O(e),t.length>=2&&await this.gpu.wait(t.shift());let r=this.gpu.device.createCommandEncoder({label:this.label}),i;for(let e of n)`pipeline`in e?(i??=r.beginComputePass(),i.setPipeline(e.pipeline),i.setBindGroup(0,e.bindGroup),i.dispatchWorkgroups(...e.dispatch.grid)):(i?.end(),i=void 0,Oe(r,e));i?.end(),this.gpu.device.queue.submit([r.finish()]),this.#e.length>1&&t.push(this.gpu.device.queue.onSubmittedWorkDone())}O(e),this.gpu.checkLost()}async time(){let{device:e}=this.gpu,t=[];for(let n of this.#e){let r=n.filter(e=>`pipeline`in e),i=e.createQuerySet({type:`timestamp`,count:Math.max(2,2*r.length)}),a=16*Math.max(1,r.length),o=e.createBuffer({size:a,usage:516}),s=e.createBuffer({size:a,usage:9}),c=e.createCommandEncoder(),l=0;for(let e of n){if(!(`pipeline`in e)){Oe(c,e);continue}let t=c.beginComputePass({timestampWrites:{querySet:i,beginningOfPassWriteIndex:l++,endOfPassWriteIndex:l++}});t.setPipeline(e.pipeline),t.setBindGroup(0,e.bindGroup),t.dispatchWorkgroups(...e.dispatch.grid),t.end()}l>0&&(c.resolveQuerySet(i,0,l,o,0),c.copyBufferToBuffer(o,0,s,0,a)),e.queue.submit([c.finish()]),await this.gpu.wait(s.mapAsync(1));let u=new BigInt64Array(s.getMappedRange().slice(0));r.forEach(({dispatch:e},n)=>{let r=Number(u[2*n+1]-u[2*n])/1e6;t.push({label:e.label,kernel:e.kernel.name,milliseconds:r,flops:e.flops})}),i.destroy(),o.destroy(),s.destroy()}return t}dispose(){this.uniforms.destroy()}};function De(e,t,n,r){let i=0;return e.device.createBindGroup({label:t.label,layout:e.pipelines.layout(t.kernel),entries:t.kernel.bindings.map(a=>{if(a.access===`uniform`)return{binding:a.index,resource:{buffer:n,offset:r,size:t.params.length}};let o=t.tensors[i++];if(!o)return{binding:a.index,resource:{buffer:e.pipelines.nullBuffer(a.access,a.index)}};if(!o.buffer)throw Error(`${t.label}: ${o.label} has no memory`);return{binding:a.index,resource:{buffer:o.buffer,offset:o.offset,size:o.bytes}}})})}function Oe(e,t){e.copyBufferToBuffer(t.from.buffer,t.fromOffset,t.to.buffer,t.toOffset,t.bytes)}var ke=`// y[rows, columns] = x[rows, depth] w[columns, depth]^T with the epilogue of lib/gemm_epilogue.
// The 128x64 tile of the best published scalar WGSL kernels: 256 threads, 8x4 sums a thread, 16 of depth a round, both operands
// staged in workgroup memory by vec4 (12.3 KiB of the default 16). Bound: arithmetic; each staged value is used 64 or 128 times.
// Depth is a multiple of 4; rows and columns are anything (edges are read as zero). Works in \`real\`, sums in f32.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // [rows, depth4]
@group(0) @binding(2) var<storage, read> w: array<Weight4>;          // [columns, depth4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // [columns]
@group(0) @binding(4) var<storage, read> gate: array<f32>;           // [batches, gate_stride]
@group(0) @binding(5) var<storage, read> residual: array<f32>;       // [rows, columns]
@group(0) @binding(6) var<storage, read_write> y0: array<f32>;       // [rows, split0]
@group(0) @binding(7) var<storage, read_write> y1: array<f32>;       // [rows, split1 - split0]
@group(0) @binding(8) var<storage, read_write> y2: array<f32>;       // [rows, columns - split1]

// Depth-major, so that a thread reads its 8 rows and 4 columns of one depth as vec4s.
var<workgroup> tile_x: array<array<real4, 32>, 16>;   // [depth, 128 rows / 4]
var<workgroup> tile_w: array<array<real4, 16>, 16>;   // [depth, 64 columns / 4]

fn load_x(row: u32, k: u32) -> vec4<f32> {
  if (row < params.rows && k < params.depth4) { return x[row * params.depth4 + k]; }
  return vec4<f32>();
}
fn load_w(column: u32, k: u32) -> vec4<f32> {
  if (column < params.columns && k < params.depth4) { return weight4(w[column * params.depth4 + k]); }
  return vec4<f32>();
}
fn store_row(row: u32, column: u32, sum: vec4<f32>) {
  for (var j = 0u; j < 4u; j++) { store(row, column + j, sum[j]); }
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let row0 = group.y * 128u;
  let column0 = group.x * 64u;
  var s0: vec4<f32>; var s1: vec4<f32>; var s2: vec4<f32>; var s3: vec4<f32>; var s4: vec4<f32>; var s5: vec4<f32>; var s6: vec4<f32>; var s7: vec4<f32>;
  // Staging: a thread turns 4 rows x 4 of depth around in registers and writes whole vec4s, because writing one component of a
  // vec4 that other threads write too is a race. 128 threads do so for x, 64 for w.
  let unit = thread & 127u;
  let quad = unit >> 2u;
  let k4 = unit & 3u;
  for (var k = 0u; k < params.depth4; k += 4u) {
    if (thread < 128u) {
      let r = row0 + quad * 4u;
      let v0 = load_x(r, k + k4); let v1 = load_x(r + 1u, k + k4); let v2 = load_x(r + 2u, k + k4); let v3 = load_x(r + 3u, k + k4);
      tile_x[k4 * 4u][quad] = real4(vec4<f32>(v0.x, v1.x, v2.x, v3.x));
      tile_x[k4 * 4u + 1u][quad] = real4(vec4<f32>(v0.y, v1.y, v2.y, v3.y));
      tile_x[k4 * 4u + 2u][quad] = real4(vec4<f32>(v0.z, v1.z, v2.z, v3.z));
      tile_x[k4 * 4u + 3u][quad] = real4(vec4<f32>(v0.w, v1.w, v2.w, v3.w));
    } else if (unit < 64u) {
      let c = column0 + quad * 4u;
      let v0 = load_w(c, k + k4); let v1 = load_w(c + 1u, k + k4); let v2 = load_w(c + 2u, k + k4); let v3 = load_w(c + 3u, k + k4);
      tile_w[k4 * 4u][quad] = real4(vec4<f32>(v0.x, v1.x, v2.x, v3.x));
      tile_w[k4 * 4u + 1u][quad] = real4(vec4<f32>(v0.y, v1.y, v2.y, v3.y));
      tile_w[k4 * 4u + 2u][quad] = real4(vec4<f32>(v0.z, v1.z, v2.z, v3.z));
      tile_w[k4 * 4u + 3u][quad] = real4(vec4<f32>(v0.w, v1.w, v2.w, v3.w));
    }
    workgroupBarrier();
    var p0 = real4(); var p1 = real4(); var p2 = real4(); var p3 = real4(); var p4 = real4(); var p5 = real4(); var p6 = real4(); var p7 = real4(); // f16 products are summed in f16 over 16 of depth only
    for (var i = 0u; i < 16u; i++) {
      let b = tile_w[i][id.x];
      let a0 = tile_x[i][id.y * 2u];
      let a1 = tile_x[i][id.y * 2u + 1u];
      p0 += a0.x * b; p1 += a0.y * b; p2 += a0.z * b; p3 += a0.w * b;
      p4 += a1.x * b; p5 += a1.y * b; p6 += a1.z * b; p7 += a1.w * b;
    }
    s0 += vec4<f32>(p0); s1 += vec4<f32>(p1); s2 += vec4<f32>(p2); s3 += vec4<f32>(p3); s4 += vec4<f32>(p4); s5 += vec4<f32>(p5); s6 += vec4<f32>(p6); s7 += vec4<f32>(p7);
    workgroupBarrier();
  }
  let row = row0 + id.y * 8u;
  let column = column0 + id.x * 4u;
  store_row(row + 0u, column, s0);
  store_row(row + 1u, column, s1);
  store_row(row + 2u, column, s2);
  store_row(row + 3u, column, s3);
  store_row(row + 4u, column, s4);
  store_row(row + 5u, column, s5);
  store_row(row + 6u, column, s6);
  store_row(row + 7u, column, s7);
}
`,Ae=`// y[rows, columns] = x[rows, depth] w[columns, depth]^T with the epilogue of lib/gemm_epilogue.
// No workgroup memory and no barriers: each thread owns 8x8 outputs and reads its 8 rows of x and 8 columns of w straight from
// memory, a vec4 of depth at a time, 64 dot products a round. The caches do what staging does elsewhere: this wins on Apple
// GPUs and on CPU implementations, where a barrier costs more than a load. Same bindings and Params as gemm_tile.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // [rows, depth4]
@group(0) @binding(2) var<storage, read> w: array<Weight4>;          // [columns, depth4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // [columns]
@group(0) @binding(4) var<storage, read> gate: array<f32>;           // [batches, gate_stride]
@group(0) @binding(5) var<storage, read> residual: array<f32>;       // [rows, columns]
@group(0) @binding(6) var<storage, read_write> y0: array<f32>;       // [rows, split0]
@group(0) @binding(7) var<storage, read_write> y1: array<f32>;       // [rows, split1 - split0]
@group(0) @binding(8) var<storage, read_write> y2: array<f32>;       // [rows, columns - split1]

const TILE = 8u;

// Everything below is written out, row by row: arrays that a loop indexes live in memory on some implementations.
struct Row { low: vec4<f32>, high: vec4<f32> }

fn store_row(row: u32, column: u32, sums: Row) {
  for (var j = 0u; j < 4u; j++) {
    store(row, column + j, sums.low[j]);
    store(row, column + 4u + j, sums.high[j]);
  }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row0 = id.y * TILE;
  let column0 = id.x * TILE;
  if (row0 >= params.rows || column0 >= params.columns) { return; }
  // Rows and columns past the edge repeat the last one: no branch inside the loop, and \`store\` drops them.
  let last_row = params.rows - 1u;
  let last_column = params.columns - 1u;
  let r0 = min(row0 + 0u, last_row) * params.depth4;
  let r1 = min(row0 + 1u, last_row) * params.depth4;
  let r2 = min(row0 + 2u, last_row) * params.depth4;
  let r3 = min(row0 + 3u, last_row) * params.depth4;
  let r4 = min(row0 + 4u, last_row) * params.depth4;
  let r5 = min(row0 + 5u, last_row) * params.depth4;
  let r6 = min(row0 + 6u, last_row) * params.depth4;
  let r7 = min(row0 + 7u, last_row) * params.depth4;
  let c0 = min(column0 + 0u, last_column) * params.depth4;
  let c1 = min(column0 + 1u, last_column) * params.depth4;
  let c2 = min(column0 + 2u, last_column) * params.depth4;
  let c3 = min(column0 + 3u, last_column) * params.depth4;
  let c4 = min(column0 + 4u, last_column) * params.depth4;
  let c5 = min(column0 + 5u, last_column) * params.depth4;
  let c6 = min(column0 + 6u, last_column) * params.depth4;
  let c7 = min(column0 + 7u, last_column) * params.depth4;
  var s0: Row; var s1: Row; var s2: Row; var s3: Row; var s4: Row; var s5: Row; var s6: Row; var s7: Row;
  for (var k = 0u; k < params.depth4; k++) {
    let b0 = weight4(w[c0 + k]);
    let b1 = weight4(w[c1 + k]);
    let b2 = weight4(w[c2 + k]);
    let b3 = weight4(w[c3 + k]);
    let b4 = weight4(w[c4 + k]);
    let b5 = weight4(w[c5 + k]);
    let b6 = weight4(w[c6 + k]);
    let b7 = weight4(w[c7 + k]);
    var a = x[r0 + k];
    s0.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
    s0.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
    a = x[r1 + k];
    s1.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
    s1.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
    a = x[r2 + k];
    s2.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
    s2.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
    a = x[r3 + k];
    s3.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
    s3.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
    a = x[r4 + k];
    s4.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
    s4.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
    a = x[r5 + k];
    s5.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
    s5.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
    a = x[r6 + k];
    s6.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
    s6.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
    a = x[r7 + k];
    s7.low += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
    s7.high += vec4<f32>(dot(a, b4), dot(a, b5), dot(a, b6), dot(a, b7));
  }
  store_row(row0 + 0u, column0, s0);
  store_row(row0 + 1u, column0, s1);
  store_row(row0 + 2u, column0, s2);
  store_row(row0 + 3u, column0, s3);
  store_row(row0 + 4u, column0, s4);
  store_row(row0 + 5u, column0, s5);
  store_row(row0 + 6u, column0, s6);
  store_row(row0 + 7u, column0, s7);
}
`,je=`// y[rows, columns] = x[rows, depth] w[columns, depth]^T for few rows (adaLN vectors: 1 or 2; short prompts), with the epilogue of
// lib/gemm_epilogue. A workgroup owns one row and 8 columns; 8 threads share a column's depth and add up through workgroup
// memory. Bound: reading w once a row, so memory bandwidth. Same bindings and Params as gemm_tile.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // [rows, depth4]
@group(0) @binding(2) var<storage, read> w: array<Weight4>;          // [columns, depth4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // [columns]
@group(0) @binding(4) var<storage, read> gate: array<f32>;           // [batches, gate_stride]
@group(0) @binding(5) var<storage, read> residual: array<f32>;       // [rows, columns]
@group(0) @binding(6) var<storage, read_write> y0: array<f32>;       // [rows, split0]
@group(0) @binding(7) var<storage, read_write> y1: array<f32>;       // [rows, split1 - split0]
@group(0) @binding(8) var<storage, read_write> y2: array<f32>;       // [rows, columns - split1]

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
  let column = group.x * 8u + id.y;
  let row = group.y;
  var sum = 0.0;
  if (column < params.columns) {
    for (var k = id.x; k < params.depth4; k += 8u) {
      sum += dot(x[row * params.depth4 + k], weight4(w[column * params.depth4 + k]));
    }
  }
  partial[id.y * 8u + id.x] = sum;
  workgroupBarrier();
  if (id.x == 0u) {
    var total = 0.0;
    for (var i = 0u; i < 8u; i++) { total += partial[id.y * 8u + i]; }
    store(row, column, total);
  }
}
`;const Me=[`activation`,`gemm_epilogue`],Ne={tile:k(`gemm_tile`,ke,{lib:Me}),register:k(`gemm_register`,Ae,{lib:Me}),rows:k(`gemm_rows`,je,{lib:Me})},Pe={none:0,gelu_tanh:1,silu:2,relu:3};function F(e,t,n,r,i={}){let[a,o]=n.shape,s=A(t.shape)/o,c=`label`in r?[r]:r,l=c.map(e=>A(e.shape)/s);if(t.shape.at(-1)!==o||c.length>3||l.reduce((e,t)=>e+t,0)!==a)throw new D(`TensorError`,`gemm ${i.label??n.label}: x [${t.shape}], w [${n.shape}] and y ${c.map(e=>`[${e.shape}]`).join(` + `)} do not fit`);if(o%4!=0)throw new D(`TensorError`,`gemm ${n.label}: depth ${o} is not a multiple of 4; the converter pads such weights`);M(`gemm`,{bias:[i.bias,[a]]});let{gate:u,multiply:d}=i,f=i.residual??d,p=i.variant??(s<=4?`rows`:e.profile.gemm),m=Ne[p],h={tile:[Math.ceil(a/64),Math.ceil(s/128)],register:[Math.ceil(a/64),Math.ceil(s/64)],rows:[Math.ceil(a/8),s]}[p];e.dispatch(m,{x:t,w:n,bias:i.bias,gate:u?.tensor,residual:f,y0:c[0],y1:c[1],y2:c[2]},{grid:h,arithmetic:p===`tile`&&e.profile.f16?`f16`:`f32`,params:{rows:s,columns:a,depth4:o/4,split0:l[0],split1:l[0]+(l[1]??0),rows_per_batch:u?.rowsPerBatch??1,gate_offset:u?.offset??0,gate_stride:u?.stride??0,has_bias:Number(!!i.bias),has_gate:Number(!!u),residual_kind:i.residual?1:d?2:0,activation:Pe[i.activation??`none`]},flops:2*s*a*o})}const Fe=/* @__PURE__ */ new Map,Ie=`scanvas-adapters.json`;async function Le(e){let t=`2|${e.adapterKey}|${e.profile.f16?`f16`:`f32`}`,n=Fe.get(t)??(await ze())[t];if(!n){let r=await Re(e,`tile`),i=await Re(e,`register`);n={gemm:i>r?`register`:`tile`,flopsPerSecond:Math.max(r,i)},await Be(t,n)}return Fe.set(t,n),e.submitFlops=n.flopsPerSecond/10,{gemm:n.gemm}}async function Re(e,t){let n=j(`trial_x`,[256,256]),r=j(`trial_w`,[512,256]),i=j(`trial_y`,[256,512]);await e.arena.allocate([n,r,i]);try{let a=new N(`trial ${t}`,e.profile);F(a,n,r,i,{variant:t});let o=await Ee.build(e,a),s=()=>e.wait(e.device.queue.onSubmittedWorkDone());await o.run(),await s();let c=0,l=0;for(let e=1;l<20;e*=4){let t=performance.now();for(let t=0;t<e;t++)await o.run();await s(),l=performance.now()-t,c=e}return o.dispose(),67108864*c/(l/1e3)}finally{e.arena.release([n,r,i])}}async function ze(){try{let e=await(await(await navigator.storage.getDirectory()).getFileHandle(Ie)).getFile();return JSON.parse(await e.text())}catch{return{}}}async function Be(e,t){try{let n={...await ze(),[e]:t},r=await(await(await navigator.storage.getDirectory()).getFileHandle(Ie,{create:!0})).createWritable();await r.write(JSON.stringify(n)),await r.close()}catch{}}const Ve=[`attention`,`mamba_h`,`mamba_w`],I=e=>{throw new D(`ModelConfigError`,`transformer/config.json: ${e}`)};function L(e,t,n){let r=e[t]??n;return typeof r!=`number`||!Number.isSafeInteger(r)||r<1||r>1<<24?I(`${t} is ${JSON.stringify(r)}, expected a positive integer`):r}function R(e,t,n,r){let i=e[t]??r;return n.includes(i)?i:I(`${t} is ${JSON.stringify(i)}; supported: ${n.map(e=>JSON.stringify(e)).join(`, `)}`)}function He(e){let t=R(e,`_class_name`,[`PixArtTransformer2DModel`,`T2MDTransformer2DModel`],``),n=L(e,`num_attention_heads`,16),r=L(e,`attention_head_dim`,72),i=n*r,a=L(e,`num_layers`,28),o=L(e,`sample_size`,128),s=L(e,`patch_size`,2);r>128&&I(`attention_head_dim is ${r}; at most 128 is supported`),i%4!=0&&I(`the width ${n} x ${r} is not a multiple of 4`),L(e,`cross_attention_dim`,i)!==i&&I(`cross_attention_dim must equal the width ${i}`),R(e,`activation_fn`,[`gelu-approximate`],`gelu-approximate`),R(e,`norm_type`,[`ada_norm_single`],`ada_norm_single`),R(e,`norm_elementwise_affine`,[!1],!1),R(e,`attention_type`,[`default`],`default`);let c=t===`T2MDTransformer2DModel`,l=c?e.token_mixers:Array(a).fill(`attention`);if(!Array.isArray(l)||l.length!==a)return I(`token_mixers must list one mixer for each of the ${a} blocks`);for(let e of l)Ve.includes(e)||I(`token_mixers holds ${JSON.stringify(e)}; supported: ${Ve.join(`, `)}`);let u=l.some(e=>e!==`attention`),d=i*L(e,`mamba_expand`,2),f=L(e,`mamba_head_dim`,64);u&&(d%f!==0&&I(`mamba_head_dim ${f} does not divide the inner width ${d}`),R(e,`mamba_n_groups`,[1],1));let p=c?R(e,`pos_embed_type`,[`sincos`,`centered_sincos`],`sincos`):`sincos`,m=e.interpolation_scale??Math.max(Math.floor(o/64),1);return typeof m==`number`&&m>0||I(`interpolation_scale is ${JSON.stringify(m)}`),{width:i,heads:n,headDim:r,blocks:a,tokenMixers:l,inChannels:L(e,`in_channels`,4),outChannels:L(e,`out_channels`,8),patchSize:s,captionChannels:L(e,`caption_channels`),normEps:typeof e.norm_eps==`number`?e.norm_eps:1e-6,attentionBias:R(e,`attention_bias`,[!0,!1],!0),additionalConditions:e.use_additional_conditions??o===128,sampleSize:o,position:p===`sincos`?{type:`sincos`,baseSize:Math.floor(o/s),interpolationScale:m}:{type:`centered_sincos`,baseSize:L(e,`pos_embed_base_size`,32)},mamba:{width:i,inner:d,heads:u?d/f:1,headDim:f,state:L(e,`mamba_d_state`,256),taps:L(e,`mamba_d_conv`,4),bidirectional:R(e,`mamba_bidirectional`,[!0,!1],!0),fusion:R(e,`mamba_fusion`,[`concat`,`sum`],`concat`)}}}const z=e=>{throw new D(`ModelConfigError`,`vae/config.json: ${e}`)};function Ue(e){let t=(e,t)=>typeof e==`number`&&Number.isSafeInteger(e)&&e>=1&&e<=65536?e:z(`${t} is ${JSON.stringify(e)}, expected a positive integer`),n=(t,n,r)=>{let i=e[t]??r;return n.includes(i)?i:z(`${t} is ${JSON.stringify(i)}; supported: ${n.map(e=>JSON.stringify(e)).join(`, `)}`)},r=(t,n)=>{let r=e[t]??n;return typeof r==`number`&&Number.isFinite(r)?r:z(`${t} is ${JSON.stringify(r)}, expected a number`)};n(`_class_name`,[`AutoencoderKL`],`AutoencoderKL`),n(`act_fn`,[`silu`],`silu`);let i=e.block_out_channels;if(!Array.isArray(i)||i.length!==4)return z(`block_out_channels is ${JSON.stringify(i)}; four levels (a factor of 8) are supported`);let a=i.map(e=>t(e,`block_out_channels`)).reverse(),o=t(e.norm_num_groups??32,`norm_num_groups`);for(let e of a)(e%o!==0||e%4!=0)&&z(`block_out_channels holds ${e}, not a multiple of 4 and of ${o} groups`);a[0]>512&&z(`block_out_channels ends in ${a[0]}; the mid block's attention takes at most 512`);for(let t of e.up_block_types??[])t!==`UpDecoderBlock2D`&&z(`up_block_types holds ${JSON.stringify(t)}; supported: "UpDecoderBlock2D"`);for(let t of[`latents_mean`,`latents_std`])e[t]!==void 0&&e[t]!==null&&z(`${t} is set; only scaling_factor and shift_factor are supported`);let s=r(`scaling_factor`,.18215);return s===0&&z(`scaling_factor is 0`),{latentChannels:t(e.latent_channels??4,`latent_channels`),imageChannels:n(`out_channels`,[3],3),channels:a,resnetsPerBlock:t(e.layers_per_block??1,`layers_per_block`)+1,groups:o,midAttention:n(`mid_block_add_attention`,[!0,!1],!0),postQuantConv:n(`use_post_quant_conv`,[!0,!1],!0),scalingFactor:s,shiftFactor:r(`shift_factor`,0)}}const We=e=>{throw new D(`ModelConfigError`,`text_encoder/config.json: ${e}`)};function Ge(e){let t=(t,n,r=1)=>{let i=e[t]??n;return typeof i!=`number`||!Number.isSafeInteger(i)||i<1||i>1<<24||i%r?We(`${t} is ${JSON.stringify(i)}, expected a positive integer${r>1?`, a multiple of ${r}`:``}`):i},n=(t,n,r)=>{let i=e[t]??r;return n.includes(i)?i:We(`${t} is ${JSON.stringify(i)}; supported: ${n.map(e=>JSON.stringify(e)).join(`, `)}`)};n(`model_type`,[`t5`],`t5`);let r=n(`feed_forward_proj`,[`gated-gelu`,`relu`],`relu`),i=r===`relu`?`relu`:`gelu_new`;n(`dense_act_fn`,[i],i),n(`is_gated_act`,[r!==`relu`],r!==`relu`);let a=t(`num_heads`,8),o=t(`d_kv`,64);o>512&&We(`d_kv is ${o}; at most 512 is supported`),a*o%4&&We(`num_heads * d_kv is ${a*o}, expected a multiple of 4`);let s=t(`relative_attention_num_buckets`,32,4),c=t(`relative_attention_max_distance`,128);c<=s/4&&We(`relative_attention_max_distance ${c} is too small for ${s} buckets`);let l=e.layer_norm_epsilon??1e-6;return typeof l!=`number`||!(l>0)?We(`layer_norm_epsilon is ${JSON.stringify(l)}`):{width:t(`d_model`,512,4),heads:a,headDim:o,hidden:t(`d_ff`,2048,4),blocks:t(`num_layers`,6),vocabulary:t(`vocab_size`,32128),buckets:s,maxDistance:c,eps:l,feedForward:r}}const Ke={tile:k(`attention`,`// y[b, t, h] = softmax_over_keys(scale q[b, t, h] . k[b, s, h] + bias[h, s - t]) v[b, s, h] for head sizes that are multiples of 4,
// up to 128 (TX 8, TY 16: 64 queries x 32 keys a step) or 512 (TX 32, TY 8: 32 queries x 64 keys).
// q, y [batch, queries, heads * head size]; k, v [batch or 1, keys, heads * head size]; one workgroup per (query block, head, batch).
// The algorithm is lib/flash_attention. Bound: arithmetic, 4 queries keys (head size) operations a head; K and V are read
// once per 64 (32) queries, 16 KiB of workgroup memory and about 100 registers a thread suffice for any number of keys.
struct Params { first: u32, queries: u32, keys: u32, row: u32, kv_batch: u32, mask_stride: u32, scale_log2e: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;        // [batch, queries, row], row = heads * D4
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;        // [batch or 1, keys, row]; kv_batch is keys, or 0 when shared
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;        // [batch or 1, keys, row]
@group(0) @binding(4) var<storage, read> mask: array<f32>;           // [batch or 1, keys]
@group(0) @binding(5) var<storage, read> bias: array<f32>;           // [heads, 2 keys - 1]
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;  // [batch, queries, row]

var<private> q_base: u32;
var<private> kv_base: u32;
fn load_q(token: u32, c: u32) -> vec4<f32> { return q[q_base + token * params.row + c]; }
fn load_k(token: u32, c: u32) -> vec4<f32> { return k[kv_base + token * params.row + c]; }
fn load_v(token: u32, c: u32) -> vec4<f32> { return v[kv_base + token * params.row + c]; }
fn store_y(token: u32, c: u32, value: vec4<f32>) { y[q_base + token * params.row + c] = value; }

@compute @workgroup_size(TX * TY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  q_base = group.z * params.queries * params.row + group.y * D4;
  kv_base = group.z * params.kv_batch * params.row + group.y * D4;
  flash(params.first + group.x * 4u * TY, group.y, group.z, thread);
}
`,{lib:[`attention_score`,`flash_attention`]}),odd:k(`attention_odd`,`// attention for head sizes that are not multiples of 4: the same algorithm (lib/flash_attention) and the same Params, but rows do not
// start at a vec4, so vec4s are put together from single values and the last one of a head is filled with zeros.
// Small test models have such heads; the real ones (64, 72, 512) do not, so nothing here is tuned.
struct Params { first: u32, queries: u32, keys: u32, row: u32, kv_batch: u32, mask_stride: u32, scale_log2e: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;        // [batch, queries, row], row = heads * HEAD_DIM
@group(0) @binding(2) var<storage, read> k: array<f32>;        // [batch or 1, keys, row]; kv_batch is keys, or 0 when shared
@group(0) @binding(3) var<storage, read> v: array<f32>;        // [batch or 1, keys, row]
@group(0) @binding(4) var<storage, read> mask: array<f32>;     // [batch or 1, keys]
@group(0) @binding(5) var<storage, read> bias: array<f32>;     // [heads, 2 keys - 1]
@group(0) @binding(6) var<storage, read_write> y: array<f32>;  // [batch, queries, row]

var<private> q_base: u32;
var<private> kv_base: u32;
fn load_q(token: u32, c: u32) -> vec4<f32> {
  var value = vec4<f32>(0.0);
  for (var e = 0u; e < min(4u, HEAD_DIM - 4u * c); e++) { value[e] = q[q_base + token * params.row + 4u * c + e]; }
  return value;
}
fn load_k(token: u32, c: u32) -> vec4<f32> {
  var value = vec4<f32>(0.0);
  for (var e = 0u; e < min(4u, HEAD_DIM - 4u * c); e++) { value[e] = k[kv_base + token * params.row + 4u * c + e]; }
  return value;
}
fn load_v(token: u32, c: u32) -> vec4<f32> {
  var value = vec4<f32>(0.0);
  for (var e = 0u; e < min(4u, HEAD_DIM - 4u * c); e++) { value[e] = v[kv_base + token * params.row + 4u * c + e]; }
  return value;
}
fn store_y(token: u32, c: u32, value: vec4<f32>) {
  for (var e = 0u; e < min(4u, HEAD_DIM - 4u * c); e++) { y[q_base + token * params.row + 4u * c + e] = value[e]; }
}

@compute @workgroup_size(TX * TY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  q_base = group.z * params.queries * params.row + group.y * HEAD_DIM;
  kv_base = group.z * params.kv_batch * params.row + group.y * HEAD_DIM;
  flash(params.first + group.x * 4u * TY, group.y, group.z, thread);
}
`,{lib:[`attention_score`,`flash_attention`]}),register:k(`attention_register`,`// attention without workgroup memory and barriers, for head sizes that are multiples of 4: same bindings and Params.
// A thread owns 4 queries of one head and walks the keys 8 at a time: 32 dot products, an online softmax with lazy rescale
// (FlashAttention-2, arXiv 2307.08691), then y += probabilities . V, read from and written to its own rows of y, so any head size
// fits in registers. The caches do what staging does in attention.wgsl. This wins where a barrier costs more than a load: on CPU
// implementations of WebGPU (measured on SwiftShader, see kernels/attention.ts); the trial of the matrix kernels decides.
// Bound: arithmetic there; 12 vec4 loads for 32 dot products, 12 loads and 4 stores for 32 multiply-adds of vec4s.
struct Params { first: u32, queries: u32, keys: u32, row: u32, kv_batch: u32, mask_stride: u32, scale_log2e: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;        // [batch, queries, row], row = heads * D4
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;        // [batch or 1, keys, row]; kv_batch is keys, or 0 when shared
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;        // [batch or 1, keys, row]
@group(0) @binding(4) var<storage, read> mask: array<f32>;           // [batch or 1, keys]
@group(0) @binding(5) var<storage, read> bias: array<f32>;           // [heads, 2 keys - 1]
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;  // [batch, queries, row]

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let query0 = params.first + (group.x * 32u + thread) * 4u;
  if (query0 >= params.queries) { return; }
  // Queries past the end repeat the last one; a thread reads all four rows before it writes them, so copies agree.
  let query = min(vec4<u32>(query0, query0 + 1u, query0 + 2u, query0 + 3u), vec4<u32>(params.queries - 1u));
  let rows = (group.z * params.queries + query) * params.row + group.y * D4;
  let keys_base = group.z * params.kv_batch * params.row + group.y * D4;
  let last = params.keys - 1u;
  for (var c = 0u; c < D4; c++) {
    y[rows.x + c] = vec4<f32>(0.0);
    y[rows.y + c] = vec4<f32>(0.0);
    y[rows.z + c] = vec4<f32>(0.0);
    y[rows.w + c] = vec4<f32>(0.0);
  }
  var top = vec4<f32>(LOW);
  var sum = vec4<f32>(0.0);
  for (var key = 0u; key < params.keys; key += 8u) {
    // Keys past the end repeat the last one; \`score\` gives them none.
    let at = keys_base + params.row * min(vec4<u32>(key, key + 1u, key + 2u, key + 3u), vec4<u32>(last));
    let bt = keys_base + params.row * min(vec4<u32>(key + 4u, key + 5u, key + 6u, key + 7u), vec4<u32>(last));
    var s0 = vec4<f32>(0.0); var s1 = vec4<f32>(0.0); var s2 = vec4<f32>(0.0); var s3 = vec4<f32>(0.0);
    var s4 = vec4<f32>(0.0); var s5 = vec4<f32>(0.0); var s6 = vec4<f32>(0.0); var s7 = vec4<f32>(0.0);
    for (var c = 0u; c < D4; c++) {
      let m = mat4x4<f32>(q[rows.x + c], q[rows.y + c], q[rows.z + c], q[rows.w + c]);
      s0 += k[at.x + c] * m; s1 += k[at.y + c] * m; s2 += k[at.z + c] * m; s3 += k[at.w + c] * m;
      s4 += k[bt.x + c] * m; s5 += k[bt.y + c] * m; s6 += k[bt.z + c] * m; s7 += k[bt.w + c] * m;
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
      let va = mat4x4<f32>(v[at.x + c], v[at.y + c], v[at.z + c], v[at.w + c]);
      let vb = mat4x4<f32>(v[bt.x + c], v[bt.y + c], v[bt.z + c], v[bt.w + c]);
      let y0 = y[rows.x + c] * factor.x + va * a[0] + vb * b[0];
      let y1 = y[rows.y + c] * factor.y + va * a[1] + vb * b[1];
      let y2 = y[rows.z + c] * factor.z + va * a[2] + vb * b[2];
      let y3 = y[rows.w + c] * factor.w + va * a[3] + vb * b[3];
      y[rows.x + c] = y0; y[rows.y + c] = y1; y[rows.z + c] = y2; y[rows.w + c] = y3;
    }
  }
  let inverse = 1.0 / max(sum, vec4<f32>(1e-30));  // a row with no key left gives zeros
  for (var c = 0u; c < D4; c++) {
    let y0 = y[rows.x + c] * inverse.x;
    let y1 = y[rows.y + c] * inverse.y;
    let y2 = y[rows.z + c] * inverse.z;
    let y3 = y[rows.w + c] * inverse.w;
    y[rows.x + c] = y0; y[rows.y + c] = y1; y[rows.z + c] = y2; y[rows.w + c] = y3;
  }
}
`,{lib:[`attention_score`]})};function qe(e,t,n){let{batch:r,heads:i,headDim:a,queries:o,keys:s,mask:c,bias:l}=n,{q:u,k:d,v:f,y:p}=t,m=i*a,h=A(d.shape)/(s*m),g=c?A(c.shape)/s:r;if(A(u.shape)!==r*o*m||A(p.shape)!==r*o*m||A(f.shape)!==A(d.shape)||![h,g].every(e=>e===r||e===1)||l&&(o!==s||A(l.shape)!==i*(2*s-1))||a>512)throw new D(`TensorError`,`attention: ${Object.entries({...t,mask:c,bias:l}).map(([e,t])=>t?`${e} [${t.shape}] `:``).join(``)}do not fit batch ${r}, heads ${i} of ${a} (up to 512), queries ${o}, keys ${s}`);let _=a%4==0,v=_?n.variant??e.profile.gemm:`odd`,[y,b]=a>128?[32,8]:[8,16],x=v===`register`?128:4*b,S=4*s*m*r,C=Math.max(Math.floor((n.queriesPerDispatch??2e10/S)/x),n.queriesPerDispatch?1:Math.ceil(32/(i*r)));for(let t=0;t<o;t+=C*x){let w=Math.min(C*x,o-t);e.dispatch(Ke[v],{q:u,k:d,v:f,mask:c,bias:l,y:p},{grid:[Math.ceil(w/x),i,r],constants:{HEAD_DIM:a,HAS_MASK:Number(!!c),HAS_BIAS:Number(!!l),...v===`register`?{}:{TX:y,TY:b}},params:{first:t,queries:o,keys:s,row:_?m/4:m,kv_batch:h===1?0:s,mask_stride:g===1?0:s,scale_log2e:(n.scale??1/Math.sqrt(a))*Math.LOG2E},flops:S*w})}}const Je=k(`embed_tokens`,`// y[i] = table[ids[i]], rows of 4 * DIM4 values; table [vocabulary, 4 * DIM4] in f32 or packed f16, ids [tokens] u32, y f32.
// A table can be larger than one binding (T5-XXL: 263 MB in f16), so a dispatch sees the rows first .. first + count only and leaves
// the other tokens to the dispatches that bind the rest. One thread a vec4. Bound: reading the rows once; a few hundred tokens.
override DIM4: u32;
struct Params { first: u32, count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;             // [tokens]
@group(0) @binding(2) var<storage, read> table: array<Weight4>;       // [count, DIM4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;   // [tokens, DIM4]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = ids[id.y] - params.first;  // wraps around to a large number below \`first\`
  if (id.x >= DIM4 || row >= params.count) { return; }
  y[id.y * DIM4 + id.x] = weight4(table[row * DIM4 + id.x]);
}
`);function Ye(e,t,n,r,i=Math.floor(e.profile.limits.maxStorageBufferBindingSize*n.shape[0]/n.bytes)){let[a,o]=n.shape,s=A(t.shape);if(o%4!=0||t.type!==`u32`||A(r.shape)!==s*o)throw new D(`TensorError`,`embedTokens: ids [${t.shape}] ${t.type}, table [${n.shape}] and y [${r.shape}] do not fit, or dim is not 4 n`);let c=i-i%256,l=i>=a?a:Math.max(256,c);for(let i=0;i<a;i+=l){let c=Math.min(l,a-i),u=c===a?n:xe(n,n.label,[c,o],i*o);e.dispatch(Je,{ids:t,table:u,y:r},{grid:[Math.ceil(o/256),s],constants:{DIM4:o/4},params:{first:i,count:c}})}}const Xe=k(`gated_activation`,`// y = activation(a) * b, value by value: the middle of a gated feed-forward (Shazeer 2020, GLU variants).
// a, b, y are any three tensors of the same size. Used where a and b come out of one product; otherwise gemm's \`multiply\` does it.
// One thread a vec4. Bound: bandwidth, 12 bytes a value.
override ACTIVATION: u32;
struct Params { quads: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let i = (group.x + group.y * 65535u) * 64u + thread;
  if (i >= params.quads) { return; }
  let v = a[i];
  y[i] = b[i] * vec4<f32>(activate(ACTIVATION, v.x), activate(ACTIVATION, v.y), activate(ACTIVATION, v.z), activate(ACTIVATION, v.w));
}
`,{lib:[`activation`]});function Ze(e,t,n,r,i){let a=A(r.shape);if(A(t.shape)!==a||A(n.shape)!==a)throw new D(`TensorError`,`gatedActivation: a [${t.shape}], b [${n.shape}] and y [${r.shape}] differ in size`);let o=Math.ceil(a/4);e.dispatch(Xe,{a:t,b:n,y:r},{grid:P(Math.ceil(o/64)),constants:{ACTIVATION:Pe[i]},params:{quads:o},flops:10*a})}const Qe=k(`relative_bias`,`// y[h, i] = table[buckets[i], h]: T5's relative attention bias (Raffel et al. 2020, section 2.1) by distance instead of by pair.
// table [number of buckets, heads], buckets [distances] u32, y [heads, distances]; distances = 2 n - 1, from -(n-1) to n-1.
// The n x n x heads bias of the usual implementation is never made; attention looks its value up in y. One thread a value.
struct Params { heads: u32, distances: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> buckets: array<u32>;     // [distances]
@group(0) @binding(2) var<storage, read> table: array<f32>;       // [number of buckets, heads]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;     // [heads, distances]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.distances) { return; }
  y[id.y * params.distances + id.x] = table[buckets[id.x] * params.heads + id.y];
}
`);function $e(e,t,n,r){let i=n.shape[1],a=A(t.shape);M(`relativeBias`,{y:[r,[i,a]]}),e.dispatch(Qe,{buckets:t,table:n,y:r},{grid:[Math.ceil(a/64),i],params:{heads:i,distances:a}})}const et=k(`rms_norm`,`// y = x / sqrt(mean(x^2) + eps) * weight along the last axis, x and y [rows, 4 * DIM4], weight [4 * DIM4].
// Root-mean-square layer norm (Zhang & Sennrich 2019), which is the whole of T5's LayerNorm: no mean, no bias.
// One workgroup of 64 threads a row, sums in f32. T5's residual stream reaches 1e5, so its squares stay far below f32's range.
// Bound: reading x and writing y once; the second look at a row is served by the cache.
override DIM4: u32;
struct Params { rows: u32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // [rows, DIM4]
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;    // [DIM4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;   // [rows, DIM4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = group.x + group.y * 65535u;
  let start = min(row, params.rows - 1u) * DIM4;
  var squares = 0.0;
  for (var c = thread; c < DIM4; c += 64u) { squares += dot(x[start + c], x[start + c]); }
  let factor = inverseSqrt(row_sum(thread, squares) / f32(4u * DIM4) + params.eps);
  if (row >= params.rows) { return; }
  for (var c = thread; c < DIM4; c += 64u) { y[start + c] = x[start + c] * factor * weight[c]; }
}
`,{lib:[`row_sum`]});function tt(e,t,n,r,i){let a=t.shape.at(-1),o=A(t.shape)/a;if(M(`rmsNorm`,{weight:[n,[a]]}),a%4!=0||A(r.shape)!==o*a)throw new D(`TensorError`,`rmsNorm: x [${t.shape}] needs a last axis of 4 n values, and y [${r.shape}] its size`);e.dispatch(et,{x:t,weight:n,y:r},{grid:P(o),constants:{DIM4:a/4},params:{rows:o,eps:i},flops:4*o*a})}function nt(e,t,n,r,i,a){let{width:o,heads:s,blocks:c,vocabulary:l,eps:u}=t,d=A(r.shape),f=e.temp(`embedded`,[d,o]);Ye(e,r,n.get(`shared.weight`,[l,o]),f);let p=e.temp(`bias`,[s,2*d-1]);rt(e,t,n,i,p);for(let r=0;r<c;r++){let i=e.temp(`y`,[d,o]);e.scope(`block${r}`,()=>it(e,t,n.under(`encoder.block.${r}`),f,p,i)),f=i}tt(e,f,n.get(`encoder.final_layer_norm.weight`,[o]),a,u)}function rt(e,t,n,r,i){$e(e,r,n.get(`encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight`,[t.buckets,t.heads]),i)}function it(e,t,n,r,i,a){let{width:o,heads:s,headDim:c,eps:l}=t,u=r.shape[0],d=s*c,f=e.temp(`normed`,[u,o]);tt(e,r,n.get(`layer.0.layer_norm.weight`,[o]),f,l);let p=e.temp(`q`,[u,d]),m=e.temp(`k`,[u,d]),h=e.temp(`v`,[u,d]);F(e,f,n.get(`layer.0.SelfAttention.qkv.weight`,[3*d,o]),[p,m,h]);let g=e.temp(`mixed`,[u,d]);qe(e,{q:p,k:m,v:h,y:g},{batch:1,heads:s,headDim:c,queries:u,keys:u,scale:1,bias:i});let _=e.temp(`attended`,[u,o]);F(e,g,n.get(`layer.0.SelfAttention.o.weight`,[o,d]),_,{residual:r}),at(e,t,n.under(`layer.1`),_,a)}function at(e,t,n,r,i){let{width:a,hidden:o,feedForward:s,eps:c}=t,l=r.shape[0],u=e.temp(`normed`,[l,a]);tt(e,r,n.get(`layer_norm.weight`,[a]),u,c);let d=e.temp(`activated`,[l,o]);if(s===`relu`)F(e,u,n.get(`DenseReluDense.wi.weight`,[o,a]),d,{activation:`relu`});else{let t=n.get(`DenseReluDense.wi.weight`,[2*o,a]),r=e.temp(`linear`,[l,o]);if((t.offset+o*a*t.bytes/A(t.shape))%256==0){F(e,u,xe(t,`wi_1`,[o,a],o*a),r);let n={activation:`gelu_tanh`,multiply:r};F(e,u,xe(t,`wi_0`,[o,a]),d,n)}else{let n=e.temp(`gate`,[l,o]);F(e,u,t,[n,r]),Ze(e,n,r,d,`gelu_tanh`)}}F(e,d,n.get(`DenseReluDense.wo.weight`,[a,o]),i,{residual:r})}function ot(e,{buckets:t,maxDistance:n}){let r=Math.floor(t/2),i=Math.floor(r/2),a=Math.fround(Math.log(n/i));return Uint32Array.from({length:2*e-1},(t,n)=>{let o=Math.abs(n-(e-1)),s=Math.fround(Math.log(Math.fround(o/i))),c=i+Math.trunc(Math.fround(Math.fround(s/a)*(r-i)));return(n>e-1?r:0)+(o<i?o:Math.min(c,r-1))})}var st=class e{component;tensors;prefix;constructor(e,t,n=``){this.component=e,this.tensors=t,this.prefix=n}under(t){return new e(this.component,this.tensors,`${this.prefix}${t}.`)}get(e,t){let n=this.prefix+e,r=this.tensors.get(n);if(!r)throw new D(`TensorError`,`${this.component}: tensor ${n} is missing; convert the model again`);if(t&&(t.length!==r.shape.length||t.some((e,t)=>e!==r.shape[t])))throw new D(`TensorError`,`${this.component}: ${n} has shape [${r.shape}], the config asks for [${t}]; convert the model again`);return r}optional(e){return this.tensors.get(this.prefix+e)}};function ct(e,t=[]){let n=new Set(t),r=[],i=/* @__PURE__ */ new Map;for(let t of e){let e=/* @__PURE__ */ new Map;t.commands.forEach((t,r)=>{for(let i of N.touched(t)){if(i.buffer||n.has(i))continue;let t=e.get(i);t?t.last=r:e.set(i,{first:r,last:r})}});let a=r.map(()=>[]),o=[...e].sort(([e],[t])=>t.bytes-e.bytes);for(let[e,t]of o){let n=r.map((e,t)=>t).filter(e=>a[e].every(e=>e.last<t.first||e.first>t.last)),o=n.filter(t=>r[t]>=e.bytes).sort((e,t)=>r[e]-r[t])[0]??n.sort((e,t)=>r[t]-r[e])[0]??r.push(0)-1;r[o]=Math.max(r[o],e.bytes),(a[o]??=[]).push(t),i.set(e,o)}}return{slots:r,slotOf:i,bytes:r.reduce((e,t)=>e+t,0)}}var lt=`// x[b, row * columns + column, :] += [column_table[column], row_table[row]]: the 2-D sine-cosine position embedding, whose first half
// depends on the column alone and second half on the row alone. The tables are small and made on the CPU, where sin and cos are
// exact (WGSL allows errors of 2^-11). Source: diffusers get_2d_sincos_pos_embed. Bound: memory bandwidth.
struct Params { count: u32, width: u32, columns: u32, rows: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> column_table: array<f32>;  // [columns, width / 2]
@group(0) @binding(2) var<storage, read> row_table: array<f32>;     // [rows, width / 2]
@group(0) @binding(3) var<storage, read_write> x: array<f32>;       // [batch, rows * columns, width]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = linear_index(group, groups, thread);
  if (index >= params.count) { return; }
  let channel = index % params.width;
  let token = index / params.width % (params.rows * params.columns);
  let half = params.width / 2u;
  if (channel < half) {
    x[index] += column_table[token % params.columns * half + channel];
  } else {
    x[index] += row_table[token / params.columns * half + channel - half];
  }
}
`,ut=`// One sampler update, whatever the sampler: guidance, then x0, then the next latents, with coefficients made on the CPU:
//   output = unconditional + guidance * (conditional - unconditional)                                     guidance: step[8]
//   x0     = clamp(step[1] * latents + step[2] * output, -step[3], step[3])
//   next   = step[4] * latents + step[5] * output + step[6] * x0 + step[7] * previous_x0
// In place, and nothing but \`step\` changes from step to step; src/sampler/step.ts names the numbers. Source of the first line:
// classifier-free guidance (arXiv 2207.12598). Bound: memory bandwidth.
struct Params { count: u32, conditional_offset: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<f32>;                  // [9], see src/sampler/step.ts
@group(0) @binding(2) var<storage, read> unconditional: array<f32>;         // [count]
@group(0) @binding(3) var<storage, read> conditional: array<f32>;           // [.., count], read from conditional_offset on
@group(0) @binding(4) var<storage, read_write> latents: array<f32>;         // [count]
@group(0) @binding(5) var<storage, read_write> previous_x0: array<f32>;     // [count]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let i = linear_index(group, groups, thread);
  if (i >= params.count) { return; }
  let base = unconditional[i];
  let output = base + step[8] * (conditional[params.conditional_offset + i] - base);
  let x = latents[i];
  let x0 = clamp(step[1] * x + step[2] * output, -step[3], step[3]);
  latents[i] = step[4] * x + step[5] * output + step[6] * x0 + step[7] * previous_x0[i];
  previous_x0[i] = x0;
}
`,dt=`// y[k, b, j] = tables[k, j] + t[b, j % t_width]: adaLN-single. Every block adds its own table to vectors that depend on the
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
`,ft=`// tokens[b, t, (row in patch, column in patch, channel)] = scale * latents[b, channel, row, column]: the patch embedding's input rows,
// so that its convolution is one matrix product. The scale is the sampler's model input scale of this step (step[0]).
// A batch larger than the latents' repeats them (both halves of guidance see the same latents). Bound: memory bandwidth.
struct Params { count: u32, latent_batch: u32, channels: u32, height: u32, width: u32, patch_size: u32, depth: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> latents: array<f32>;       // [latent_batch, channels, height, width]
@group(0) @binding(2) var<storage, read> step: array<f32>;          // step[0]: input scale
@group(0) @binding(3) var<storage, read_write> tokens: array<f32>;  // [batch, height/patch * width/patch, depth]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = linear_index(group, groups, thread);
  if (index >= params.count) { return; }
  let channel = index % params.depth % params.channels;
  let cell = index % params.depth / params.channels;
  if (cell >= params.patch_size * params.patch_size) { tokens[index] = 0.0; return; } // depth may be padded to a multiple of 4
  let token = index / params.depth;
  let columns = params.width / params.patch_size;
  let rows = params.height / params.patch_size;
  let row = token / columns % rows * params.patch_size + cell / params.patch_size;
  let column = token % columns * params.patch_size + cell % params.patch_size;
  let batch = token / (columns * rows) % params.latent_batch;
  tokens[index] = step[0] * latents[((batch * params.channels + channel) * params.height + row) * params.width + column];
}
`,pt=`// y = x / (1 + exp(-x)), element by element. Only for the timestep vector, whose raw value is needed as well; everywhere else the
// activation is part of a matrix product's epilogue. Bound: launch time.
struct Params { count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = linear_index(group, groups, thread);
  if (index < params.count) { y[index] = silu(x[index]); }
}
`,mt=`// y[b, c, row, column] = tokens[b, t, (row in patch, column in patch, channel)] for the first \`channels\` of the model's output channels:
// a model with learned sigma has twice as many, and the second half is not used by any sampler here. Bound: memory bandwidth.
struct Params { count: u32, channels: u32, token_channels: u32, height: u32, width: u32, patch_size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<f32>;        // [batch, tokens, patch * patch * token_channels]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // [batch, channels, height, width]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = linear_index(group, groups, thread);
  if (index >= params.count) { return; }
  let column = index % params.width;
  let row = index / params.width % params.height;
  let channel = index / (params.width * params.height) % params.channels;
  let batch = index / (params.width * params.height * params.channels);
  let columns = params.width / params.patch_size;
  let token = (batch * (params.height / params.patch_size) + row / params.patch_size) * columns + column / params.patch_size;
  let cell = row % params.patch_size * params.patch_size + column % params.patch_size;
  y[index] = tokens[(token * params.patch_size * params.patch_size + cell) * params.token_channels + channel];
}
`,ht=`// flag = min(flag, stage) when any value of x is NaN or infinite. The smallest stage that failed is the first in order of execution.
// The test looks at the bits: compilers may assume that NaN does not happen and fold \`v != v\` away (seen on SwiftShader).
// A thread reads 16 values; only a failing one writes. Bound: memory bandwidth.
struct Params { count: u32, stage: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> flag: array<atomic<u32>>;    // [1], 0xffffffff when all is well

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let threads = groups.x * groups.y * 64u;
  var bad = false;
  for (var i = linear_index(group, groups, thread); i < params.count; i += threads) {
    bad = bad || (x[i] & 0x7f800000u) == 0x7f800000u;
  }
  if (bad) { atomicMin(&flag[0], params.stage); }
}
`;const gt=[`linear`],_t={addPosition:k(`add_position`,lt,{lib:gt}),checkFinite:k(`check_finite`,ht,{lib:gt}),guideAndStep:k(`guide_and_step`,ut,{lib:gt}),modulation:k(`modulation`,dt,{lib:gt}),patchify:k(`patchify`,ft,{lib:gt}),silu:k(`silu`,pt,{lib:[...gt,`activation`]}),unpatchify:k(`unpatchify`,mt,{lib:gt})},vt=e=>P(Math.ceil(e/64));function yt(e,t,n,r,i){let[a,o,s,c]=t.shape,l=r.shape[2];M(`patchify`,{tokens:[r,[r.shape[0],s*c/i**2,l]]});let u=A(r.shape);e.dispatch(_t.patchify,{latents:t,step:n,tokens:r},{grid:vt(u),params:{count:u,latent_batch:a,channels:o,height:s,width:c,patch_size:i,depth:l}})}function bt(e,t,n,r){let[i,a,o,s]=n.shape,c=t.shape[2]/r**2;M(`unpatchify`,{tokens:[t,[i,o*s/r**2,t.shape[2]]]});let l=A(n.shape);e.dispatch(_t.unpatchify,{tokens:t,y:n},{grid:vt(l),params:{count:l,channels:a,token_channels:c,height:o,width:s,patch_size:r}})}function xt(e,t,n,r){let[i,a]=n.shape,o=r.shape[0];M(`add_position`,{rowTable:[r,[o,a]],x:[t,[t.shape[0],o*i,2*a]]});let s=A(t.shape);e.dispatch(_t.addPosition,{x:t,column_table:n,row_table:r},{grid:vt(s),params:{count:s,width:2*a,columns:i,rows:o}})}function St(e,t,n,r){let[i,a,o]=r.shape;M(`modulation`,{tables:[t,[i,o]],t:[n,[a,n.shape[1]]]});let s=A(r.shape);e.dispatch(_t.modulation,{tables:t,t:n,y:r},{grid:vt(s),params:{count:s,width:o,batch:a,t_width:n.shape[1]}})}function Ct(e,t,n){let r=A(t.shape);M(`silu`,{y:[n,t.shape]}),e.dispatch(_t.silu,{x:t,y:n},{grid:vt(r),params:{count:r}})}function wt(e,t,n){let{step:r,unconditional:i,conditional:a,latents:o,previousX0:s}=t,c=A(o.shape);M(`guide_and_step`,{previousX0:[s,o.shape]}),e.dispatch(_t.guideAndStep,{step:r,unconditional:i,conditional:a,latents:o,previous_x0:s},{grid:vt(c),params:{count:c,conditional_offset:n}})}function Tt(e,t,n,r){let i=A(t.shape);e.dispatch(_t.checkFinite,{x:t,flag:n},{grid:[Math.min(1024,Math.ceil(i/1024))],params:{count:i,stage:r}})}const Et=k(`layer_norm`,`// y = (x - mean) / sqrt(variance + eps) * (1 + scale) + shift along the last axis, x and y [rows, 4 * DIM4].
// LayerNorm without weights of its own (Ba et al. 2016) followed by the modulation of adaLN (Peebles & Xie 2022): row r belongs to
// picture b = r / rows_per_batch, whose shift and scale start at modulation[shift_offset or scale_offset + b * stride], so that
// one tensor can hold the vectors of all blocks. MODULATED false leaves the modulation out.
// One workgroup of 64 threads a row. Two passes, mean first, then the sum of squared differences, both in f32: no cancellation.
// Bound: reading x and writing y once; the second and third look at a row (4.6 KB) are served by the cache.
override DIM4: u32;
override MODULATED: bool = true;
struct Params { rows: u32, shift_offset: u32, scale_offset: u32, stride: u32, rows_per_batch: u32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // [rows, DIM4]
@group(0) @binding(2) var<storage, read> modulation: array<f32>;      // anything; see above
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;   // [rows, DIM4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = group.x + group.y * 65535u;
  let start = min(row, params.rows - 1u) * DIM4;
  var sum = vec4<f32>(0.0);
  for (var c = thread; c < DIM4; c += 64u) { sum += x[start + c]; }
  let mean = row_sum(thread, dot(sum, vec4<f32>(1.0))) / f32(4u * DIM4);
  var squares = 0.0;
  for (var c = thread; c < DIM4; c += 64u) {
    let d = x[start + c] - mean;
    squares += dot(d, d);
  }
  let factor = inverseSqrt(row_sum(thread, squares) / f32(4u * DIM4) + params.eps);
  if (row >= params.rows) { return; }
  let batch = row / params.rows_per_batch;
  let shift = params.shift_offset + batch * params.stride;
  let scale = params.scale_offset + batch * params.stride;
  for (var c = thread; c < DIM4; c += 64u) {
    var value = (x[start + c] - mean) * factor;
    if (MODULATED) {
      let i = shift + 4u * c;
      let j = scale + 4u * c;
      value = value * (1.0 + vec4<f32>(modulation[j], modulation[j + 1u], modulation[j + 2u], modulation[j + 3u]))
        + vec4<f32>(modulation[i], modulation[i + 1u], modulation[i + 2u], modulation[i + 3u]);
    }
    y[start + c] = value;
  }
}
`,{lib:[`row_sum`]});function Dt(e,t,n,{eps:r,modulation:i}){let a=t.shape.at(-1),o=A(t.shape)/a;if(a%4!=0||A(n.shape)!==o*a)throw new D(`TensorError`,`layerNorm: x [${t.shape}] needs a last axis of 4 n values, and y [${n.shape}] its size`);if(i){let{tensor:e,shiftOffset:t,scaleOffset:n,stride:r,rowsPerBatch:s}=i,c=Math.max(t,n)+(Math.ceil(o/s)-1)*r+a;if(c>A(e.shape))throw new D(`TensorError`,`layerNorm: modulation ${e.label} [${e.shape}] has fewer than ${c} values`)}e.dispatch(Et,{x:t,modulation:i?.tensor,y:n},{grid:P(o),constants:{DIM4:a/4,MODULATED:Number(!!i)},params:{rows:o,shift_offset:i?.shiftOffset??0,scale_offset:i?.scaleOffset??0,stride:i?.stride??0,rows_per_batch:i?.rowsPerBatch??o,eps:r},flops:8*o*a})}function Ot(e,t,n){let r=e.width/4,{position:i}=e,a=new Float32Array(t*r*2);for(let e=0;e<t;e++){let o=i.type===`sincos`?e/(t/i.baseSize)/i.interpolationScale:(e-(t-1)/2)*i.baseSize/Math.max(t,n);for(let t=0;t<r;t++){let n=o*1e4**(-t/r);a[e*2*r+t]=Math.sin(n),a[e*2*r+r+t]=Math.cos(n)}}return a}function kt(e){let t=new Float32Array(e.length*256),n=Math.fround(-Math.log(1e4));return e.forEach((e,r)=>{for(let i=0;i<128;i++){let a=Math.fround(Math.exp(Math.fround(Math.fround(n*i)/128))),o=Math.fround(Math.fround(e)*a);t[r*256+i]=Math.cos(o),t[r*256+128+i]=Math.sin(o)}}),t}const At=k(`conv1d`,`// Causal depthwise convolution and SiLU of the scan's inputs: out[p, c] = silu(bias[c] + sum_k weight[c, k] in[p - (K-1) + k, c]).
// Reads xBC in token order through lib/scan_order and writes x, B and C in scan order, once per direction (the convolution is
// causal in each), so the scan sees contiguous causal sequences and never hears of order or direction. Inputs before the
// start are zero. Mamba-2's conv1d (arXiv 2405.21060, section 6). Bound: memory; a thread owns 4 channels of 4 positions.
struct Params { height: u32, width: u32, batch: u32, inner4: u32, state4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> xbc: array<vec4<f32>>;       // [B, T, (E + 2N) / 4], token order
@group(0) @binding(2) var<storage, read> weight: array<f32>;          // [E + 2N, K]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;      // [(E + 2N) / 4]
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;   // [S, T, E / 4], scan order
@group(0) @binding(5) var<storage, read_write> b: array<vec4<f32>>;   // [S, T, N / 4]
@group(0) @binding(6) var<storage, read_write> c: array<vec4<f32>>;   // [S, T, N / 4]

override TAPS: u32;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let channel4 = id.x;
  let channels4 = params.inner4 + 2u * params.state4;
  if (channel4 >= channels4) { return; }
  let sequence = id.z;
  let tokens = params.height * params.width;
  let first = id.y * 4u;
  let input0 = (sequence % params.batch) * tokens;
  var sum0 = bias[channel4];
  var sum1 = sum0;
  var sum2 = sum0;
  var sum3 = sum0;
  // Each input is read once and goes into up to four sums; w0..w3 are the taps it has in them, zero where it has none.
  var w0 = vec4<f32>();
  var w1 = vec4<f32>();
  var w2 = vec4<f32>();
  var w3 = vec4<f32>();
  for (var i = 0u; i < TAPS + 3u; i++) {
    w3 = w2;
    w2 = w1;
    w1 = w0;
    w0 = vec4<f32>();
    if (i < TAPS) {
      let at = channel4 * 4u * TAPS + i;
      w0 = vec4<f32>(weight[at], weight[at + TAPS], weight[at + 2u * TAPS], weight[at + 3u * TAPS]);
    }
    // Before the start the input is zero; past the end it is only in sums that nobody stores.
    let ahead = first + i;
    let position = min(max(ahead, TAPS - 1u) - (TAPS - 1u), tokens - 1u);
    let token = input0 + token_at(position, sequence >= params.batch);
    let value = select(vec4<f32>(), xbc[token * channels4 + channel4], ahead >= TAPS - 1u);
    sum0 += w0 * value;
    sum1 += w1 * value;
    sum2 += w2 * value;
    sum3 += w3 * value;
  }
  let row = sequence * tokens + first;
  let count = tokens - first;
  if (channel4 < params.inner4) {
    let at = row * params.inner4 + channel4;
    x[at] = silu4(sum0);
    if (count > 1u) { x[at + params.inner4] = silu4(sum1); }
    if (count > 2u) { x[at + 2u * params.inner4] = silu4(sum2); }
    if (count > 3u) { x[at + 3u * params.inner4] = silu4(sum3); }
  } else if (channel4 < params.inner4 + params.state4) {
    let at = row * params.state4 + channel4 - params.inner4;
    b[at] = silu4(sum0);
    if (count > 1u) { b[at + params.state4] = silu4(sum1); }
    if (count > 2u) { b[at + 2u * params.state4] = silu4(sum2); }
    if (count > 3u) { b[at + 3u * params.state4] = silu4(sum3); }
  } else {
    let at = row * params.state4 + channel4 - params.inner4 - params.state4;
    c[at] = silu4(sum0);
    if (count > 1u) { c[at + params.state4] = silu4(sum1); }
    if (count > 2u) { c[at + 2u * params.state4] = silu4(sum2); }
    if (count > 3u) { c[at + 3u * params.state4] = silu4(sum3); }
  }
}

fn silu4(v: vec4<f32>) -> vec4<f32> { return v / (1.0 + exp(-clamp(v, vec4<f32>(-80.0), vec4<f32>(80.0)))); }
`,{lib:[`scan_order`]});function jt(e,{xbc:t,weight:n,bias:r,x:i,b:a,c:o},s){let c=s.height*s.width,l=s.directions*s.batch,u=i.shape[2],d=a.shape[2],f=u+2*d,p=n.shape[1];M(`conv1d`,{xbc:[t,[s.batch,c,f]],weight:[n,[f,p]],bias:[r,[f]],x:[i,[l,c,u]],b:[a,[l,c,d]],c:[o,[l,c,d]]}),e.dispatch(At,{xbc:t,weight:n,bias:r,x:i,b:a,c:o},{grid:[Math.ceil(f/4/64),Math.ceil(c/4),l],constants:{TAPS:p,BY_COLUMNS:Number(s.order===`mamba_h`)},params:{height:s.height,width:s.width,batch:s.batch,inner4:u/4,state4:d/4},flops:2*l*c*f*p})}const Mt=k(`gated_norm`,`// out = y silu(z) / sqrt(mean(y^2 silu(z)^2) + 1e-5) * weight over the E channels of a token, for each direction: Mamba-2's RMSNorm with
// the gate before the norm. y is read in scan order, z at the token; the result is in token order, so this pass also puts the
// scan back: both directions side by side, [B, T, forward | backward], or (SUM) added up. One workgroup per token; both sums of
// squares are reduced together, by 8 in two rounds. Bound: memory. Zhang & Sennrich 2019 (RMSNorm), arXiv 2405.21060 section 7.
struct Params { height: u32, width: u32, batch: u32, inner4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<vec4<f32>>;            // [DIRECTIONS * B, T, E / 4], scan order
@group(0) @binding(2) var<storage, read> z: array<vec4<f32>>;            // [B, T, E / 4]
@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;       // [E / 4]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;    // [B, T, DIRECTIONS * E / 4], or [B, T, E / 4] when SUM

override DIRECTIONS: u32 = 1u;
override SUM: bool = false;

const THREADS = 64u;
const EPSILON = 1e-5;
var<workgroup> squares: array<vec2<f32>, THREADS>; // forward, backward
var<workgroup> eighths: array<vec2<f32>, 8>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let tokens = params.height * params.width;
  let row = group.y * groups.x + group.x;
  if (row >= params.batch * tokens) { return; }
  let token = row % tokens;
  let forward = (row - token + position_of(token, false)) * params.inner4;
  let backward = (params.batch * tokens + row - token + position_of(token, true)) * params.inner4;
  var sum = vec2<f32>();
  for (var i = thread; i < params.inner4; i += THREADS) {
    let gate = silu4(z[row * params.inner4 + i]);
    let a = y[forward + i] * gate;
    sum.x += dot(a, a);
    if (DIRECTIONS == 2u) {
      let b = y[backward + i] * gate;
      sum.y += dot(b, b);
    }
  }
  squares[thread] = sum;
  workgroupBarrier();
  if (thread < 8u) {
    sum = vec2<f32>();
    for (var i = thread; i < THREADS; i += 8u) { sum += squares[i]; }
    eighths[thread] = sum;
  }
  workgroupBarrier();
  sum = vec2<f32>();
  for (var i = 0u; i < 8u; i++) { sum += eighths[i]; }
  let scale = inverseSqrt(sum / f32(4u * params.inner4) + EPSILON);
  for (var i = thread; i < params.inner4; i += THREADS) {
    let gate = silu4(z[row * params.inner4 + i]) * weight[i];
    let a = y[forward + i] * gate * scale.x;
    if (DIRECTIONS == 1u) {
      out[row * params.inner4 + i] = a;
    } else {
      let b = y[backward + i] * gate * scale.y;
      if (SUM) {
        out[row * params.inner4 + i] = a + b;
      } else {
        out[2u * row * params.inner4 + i] = a;
        out[(2u * row + 1u) * params.inner4 + i] = b;
      }
    }
  }
}

fn silu4(v: vec4<f32>) -> vec4<f32> { return v / (1.0 + exp(-clamp(v, vec4<f32>(-80.0), vec4<f32>(80.0)))); }
`,{lib:[`scan_order`]});function Nt(e,{y:t,z:n,weight:r,out:i},a,o){let s=a.height*a.width,c=n.shape[2],l=a.directions===2&&o===`concat`;M(`gated_norm`,{y:[t,[a.directions*a.batch,s,c]],z:[n,[a.batch,s,c]],weight:[r,[c]],out:[i,[a.batch,s,l?2*c:c]]}),e.dispatch(Mt,{y:t,z:n,weight:r,out:i},{grid:P(a.batch*s),constants:{DIRECTIONS:a.directions,SUM:Number(!l),BY_COLUMNS:Number(a.order===`mamba_h`)},params:{height:a.height,width:a.width,batch:a.batch,inner4:c/4},flops:10*a.directions*a.batch*s*c})}var Pt=`// G[t, s] = C_t . B_s inside each chunk, once for all heads (they share B and C): a product [Q x N] [N x Q] per (chunk, sequence).
// Fourth kernel of Mamba-2's SSD (arXiv 2405.21060, section 6), without the decays, which differ by head. Only s <= t is asked
// for: tiles wholly above the diagonal are skipped and keep whatever they held. 128x64 tile (lib/tile), both operands turned
// depth-major while staging. Bound: arithmetic, Q^2 N. Positions past the end repeat the last token; their step sizes are 0.
struct Params { tokens: u32, state4: u32, chunk: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;               // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> c: array<vec4<f32>>;               // [S, T, N / 4]
@group(0) @binding(3) var<storage, read_write> product: array<vec4<f32>>;   // G [S, chunks, Q, Q / 4]

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tiles_s = (params.chunk + 63u) / 64u;
  let s0 = (group.x % tiles_s) * 64u;
  let t0 = (group.x / tiles_s) * 128u;
  if (s0 > t0 + 127u) { return; }
  let first = group.y * params.chunk;
  let row0 = group.z * params.tokens;
  // A thread turns 4 rows x 4 of depth around in registers: 128 threads for C, 64 for B.
  let stage_b = thread >= 128u;
  let unit = select(thread, thread - 128u, stage_b);
  let quad = unit >> 2u;
  let unit_k = unit & 3u;
  var sums: array<vec4<f32>, 8>;
  for (var k = 0u; k < params.state4; k += 4u) {
    var v = array<vec4<f32>, 4>();
    if ((!stage_b || unit < 64u) && k + unit_k < params.state4) {
      for (var i = 0u; i < 4u; i++) {
        let row = row0 + min(first + select(t0, s0, stage_b) + quad * 4u + i, params.tokens - 1u);
        if (stage_b) { v[i] = b[row * params.state4 + k + unit_k]; } else { v[i] = c[row * params.state4 + k + unit_k]; }
      }
    }
    if (!stage_b) { stage_a_turned(quad, unit_k * 4u, v); } else if (unit < 64u) { stage_b_turned(quad, unit_k * 4u, v); }
    workgroupBarrier();
    multiply_tiles(&sums, id.x, id.y);
    workgroupBarrier();
  }
  for (var i = 0u; i < 8u; i++) {
    let t = t0 + id.y * 8u + i;
    let s = s0 + id.x * 4u;
    if (t < params.chunk && s < params.chunk) {
      product[(((group.z * groups.y + group.y) * params.chunk + t) * params.chunk + s) / 4u] = sums[i];
    }
  }
}
`,Ft=`// ssd_chunk_product without workgroup memory: G[t, s] = C_t . B_s per (chunk, sequence), for s <= t. Each thread owns 8 positions t
// and 4 positions s and reads straight from memory, a vec4 of depth at a time. For devices where a barrier costs more than a
// cached load (see gemm_register). Same bindings and Params as ssd_chunk_product.
struct Params { tokens: u32, state4: u32, chunk: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;               // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> c: array<vec4<f32>>;               // [S, T, N / 4]
@group(0) @binding(3) var<storage, read_write> product: array<vec4<f32>>;   // G [S, chunks, Q, Q / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let unit = group.x * 64u + thread;
  let tiles_s = params.chunk / 4u;
  let s0 = unit % tiles_s * 4u;
  let t0 = unit / tiles_s * 8u;
  if (t0 >= params.chunk || s0 > t0 + 7u) { return; }
  let first = group.y * params.chunk;
  let row0 = group.z * params.tokens;
  let last = params.tokens - 1u;
  let t = vec4<u32>(t0) + vec4<u32>(0u, 1u, 2u, 3u);
  let ct = (row0 + min(first + t, vec4<u32>(last))) * params.state4;
  let cu = (row0 + min(first + t + 4u, vec4<u32>(last))) * params.state4;
  let bs = (row0 + min(first + s0 + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last))) * params.state4;
  var g0 = vec4<f32>(); var g1 = vec4<f32>(); var g2 = vec4<f32>(); var g3 = vec4<f32>();
  var g4 = vec4<f32>(); var g5 = vec4<f32>(); var g6 = vec4<f32>(); var g7 = vec4<f32>();
  for (var k = 0u; k < params.state4; k++) {
    let columns = mat4x4<f32>(b[bs.x + k], b[bs.y + k], b[bs.z + k], b[bs.w + k]);
    g0 += c[ct.x + k] * columns;
    g1 += c[ct.y + k] * columns;
    g2 += c[ct.z + k] * columns;
    g3 += c[ct.w + k] * columns;
    g4 += c[cu.x + k] * columns;
    g5 += c[cu.y + k] * columns;
    g6 += c[cu.z + k] * columns;
    g7 += c[cu.w + k] * columns;
  }
  let at = (((group.z * groups.y + group.y) * params.chunk + t0) * params.chunk + s0) / 4u;
  let next = params.chunk / 4u;
  product[at] = g0;
  product[at + next] = g1;
  product[at + 2u * next] = g2;
  product[at + 3u * next] = g3;
  if (t0 + 4u < params.chunk) { // the chunk is a multiple of 4
    product[at + 4u * next] = g4;
    product[at + 5u * next] = g5;
    product[at + 6u * next] = g6;
    product[at + 7u * next] = g7;
  }
}
`;const It=({tokens:e,chunk:t})=>Math.ceil(e/t),Lt=({sequences:e,heads:t})=>({first:0,count:e*t}),Rt=e=>4*(It(e)-1)*e.state*e.headDim;function zt({tokens:e,chunk:t}){let n=e=>e*(e+1)/2;return Math.floor(e/t)*n(t)+n(e%t)}function Bt({headDim:e,state:t,chunk:n}){for(let[r,i]of Object.entries({"head dim":e,"state size":t,"chunk length":n}))if(i%4!=0||i<4)throw new D(`ModelConfigError`,`ssd: ${r} ${i} is not a multiple of 4, which the kernels need`)}const Vt={tile:k(`ssd_chunk_product`,Pt,{lib:[`tile`]}),register:k(`ssd_chunk_product_register`,Ft)};function Ht(e,{b:t,c:n,product:r},i,a=e.profile.gemm){let{sequences:o,tokens:s,state:c,chunk:l}=i,u=It(i);M(`ssd_chunk_product`,{b:[t,[o,s,c]],c:[n,[o,s,c]],product:[r,[o,u,l,l]]});let d={tile:Math.ceil(l/128)*Math.ceil(l/64),register:Math.ceil(Math.ceil(l/8)*(l/4)/64)}[a];e.dispatch(Vt[a],{b:t,c:n,product:r},{grid:[d,u,o],params:{tokens:s,state4:c/4,chunk:l},flops:2*o*zt(i)*c})}const Ut={tile:k(`ssd_chunk_state`,`// What each chunk adds to the state of its head: S[n, p] = sum_s B[s, n] w_s x[s, p], with w_s = exp(F_last - F_s) dt'_s from ssd_prepare.
// Second kernel of Mamba-2's SSD (arXiv 2405.21060, section 6). A product [N x Q] [Q x P] per (chunk, lane), a lane being one
// head of one sequence; both operands have their depth slowest, so they are staged as they lie. 128x64 tile (lib/tile): a
// workgroup owns 128 of N and 64 of P. Bound: arithmetic, 2 Q N P. The last chunk is left out: nobody asks for its state.
// Positions past the end have w = 0, so their rows are clamped rather than masked. N and P are multiples of 4.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;              // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;              // [S, T, M, P / 4]
@group(0) @binding(3) var<storage, read> weight: array<f32>;               // w [S * M, chunks, Q]
@group(0) @binding(4) var<storage, read_write> states: array<vec4<f32>>;   // [lanes, chunks - 1, N, P / 4]

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let tiles_p = (params.head_dim4 + 15u) / 16u;
  let p0 = (group.x % tiles_p) * 16u;
  let n0 = (group.x / tiles_p) * 32u;
  let lane = params.lane0 + group.z;
  let head = lane % params.heads;
  let row0 = lane / params.heads * params.tokens;
  let first = group.y * params.chunk;
  var sums: array<vec4<f32>, 8>;
  for (var k = 0u; k < params.chunk; k += 16u) {
    for (var part = 0u; part < 3u; part++) { // 512 vec4 of B, then 256 of x
      let unit = thread + part * 256u;
      let is_x = part == 2u;
      let depth = select(unit >> 5u, (unit - 512u) >> 4u, is_x);
      let column = select(unit & 31u, unit & 15u, is_x);
      let inside = k + depth < params.chunk;
      let row = row0 + min(first + k + depth, params.tokens - 1u);
      var v = vec4<f32>();
      if (is_x) {
        if (inside && p0 + column < params.head_dim4) {
          v = weight[lane * params.chunks * params.chunk + first + k + depth] * x[(row * params.heads + head) * params.head_dim4 + p0 + column];
        }
        tile_b[depth][column] = v;
      } else {
        if (inside && n0 + column < params.state4) { v = b[row * params.state4 + n0 + column]; }
        tile_a[depth][column] = v;
      }
    }
    workgroupBarrier();
    multiply_tiles(&sums, id.x, id.y);
    workgroupBarrier();
  }
  let state0 = (group.z * (params.chunks - 1u) + group.y) * params.state4 * 4u;
  for (var i = 0u; i < 8u; i++) {
    let n = n0 * 4u + id.y * 8u + i;
    if (n < params.state4 * 4u && p0 + id.x < params.head_dim4) { states[(state0 + n) * params.head_dim4 + p0 + id.x] = sums[i]; }
  }
}
`,{lib:[`tile`]}),register:k(`ssd_chunk_state_register`,`// ssd_chunk_state without workgroup memory: S[n, p] = sum_s B[s, n] w_s x[s, p] per (chunk, lane), a lane being one head of one
// sequence. Each thread owns 8 of N and 8 of P and reads straight from memory: 4 vec4 and 16 vec4 products per position. For
// devices where a barrier costs more than a cached load (see gemm_register). Same bindings and Params as ssd_chunk_state.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;              // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;              // [S, T, M, P / 4]
@group(0) @binding(3) var<storage, read> weight: array<f32>;               // w [S * M, chunks, Q]
@group(0) @binding(4) var<storage, read_write> states: array<vec4<f32>>;   // [lanes, chunks - 1, N, P / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tiles_p = (params.head_dim4 + 1u) / 2u;
  let unit = group.x * 64u + thread;
  let p0 = (unit % tiles_p) * 2u;
  let n0 = (unit / tiles_p) * 2u;
  if (n0 >= params.state4) { return; }
  let p1 = min(p0 + 1u, params.head_dim4 - 1u); // past the edge the last vec4 is repeated, and not stored
  let n1 = min(n0 + 1u, params.state4 - 1u);
  let lane = params.lane0 + group.z;
  let head = lane % params.heads;
  let row0 = lane / params.heads * params.tokens;
  let first = group.y * params.chunk;
  var s00 = vec4<f32>(); var s01 = vec4<f32>(); var s10 = vec4<f32>(); var s11 = vec4<f32>();
  var s20 = vec4<f32>(); var s21 = vec4<f32>(); var s30 = vec4<f32>(); var s31 = vec4<f32>();
  var s40 = vec4<f32>(); var s41 = vec4<f32>(); var s50 = vec4<f32>(); var s51 = vec4<f32>();
  var s60 = vec4<f32>(); var s61 = vec4<f32>(); var s70 = vec4<f32>(); var s71 = vec4<f32>();
  for (var k = first; k < first + params.chunk; k++) {
    let row = row0 + min(k, params.tokens - 1u);
    let w = weight[lane * params.chunks * params.chunk + k];
    let x_row = (row * params.heads + head) * params.head_dim4;
    let x0 = w * x[x_row + p0];
    let x1 = w * x[x_row + p1];
    let b0 = b[row * params.state4 + n0];
    let b1 = b[row * params.state4 + n1];
    s00 += b0.x * x0; s01 += b0.x * x1; s10 += b0.y * x0; s11 += b0.y * x1;
    s20 += b0.z * x0; s21 += b0.z * x1; s30 += b0.w * x0; s31 += b0.w * x1;
    s40 += b1.x * x0; s41 += b1.x * x1; s50 += b1.y * x0; s51 += b1.y * x1;
    s60 += b1.z * x0; s61 += b1.z * x1; s70 += b1.w * x0; s71 += b1.w * x1;
  }
  let at = ((group.z * (params.chunks - 1u) + group.y) * params.state4 + n0) * 4u;
  let wide = p0 + 1u < params.head_dim4;
  let p = p0;
  put(at, p, wide, s00, s01);
  put(at + 1u, p, wide, s10, s11);
  put(at + 2u, p, wide, s20, s21);
  put(at + 3u, p, wide, s30, s31);
  if (n0 + 1u < params.state4) {
    put(at + 4u, p, wide, s40, s41);
    put(at + 5u, p, wide, s50, s51);
    put(at + 6u, p, wide, s60, s61);
    put(at + 7u, p, wide, s70, s71);
  }
}

fn put(row: u32, p: u32, wide: bool, left: vec4<f32>, right: vec4<f32>) {
  states[row * params.head_dim4 + p] = left;
  if (wide) { states[row * params.head_dim4 + p + 1u] = right; }
}
`)};function Wt(e,{b:t,x:n,weight:r,states:i},a,o,s=e.profile.gemm){let{sequences:c,tokens:l,heads:u,headDim:d,state:f,chunk:p}=a,m=It(a);M(`ssd_chunk_state`,{b:[t,[c,l,f]],x:[n,[c,l,u*d]],weight:[r,[c,u,m,p]],states:[i,[o.count,m-1,f,d]]});let h={tile:Math.ceil(d/64)*Math.ceil(f/128),register:Math.ceil(Math.ceil(d/8)*Math.ceil(f/8)/64)}[s];e.dispatch(Ut[s],{b:t,x:n,weight:r,states:i},{grid:[h,m-1,o.count],params:{tokens:l,heads:u,head_dim4:d/4,state4:f/4,chunk:p,chunks:m,lane0:o.first},flops:2*o.count*(m-1)*p*f*d})}const Gt={tile:k(`ssd_output`,`// The scan's output: per (chunk, lane) one product with concatenated depth,
//   y_t = exp(F_t) C_t . h  +  sum_(s <= t) G[t, s] exp(F_t - F_s) dt'_s x_s  +  D x_t
// where a lane is one head of one sequence, h [N, P] the state before the chunk (none before the first), G = C B^T from
// ssd_chunk_product. Fifth kernel of Mamba-2's SSD (arXiv 2405.21060, section 6). 128x64 tile (lib/tile): a workgroup owns 128
// positions and 64 of P; exp(F_t) scales the sums between the two products, the other decays are applied while G is staged,
// and depth past the last position of the tile is not visited. Exponents are never positive; the triangle is masked after
// exp. Bound: arithmetic, 2 Q P (N + Q / 2). Q, N and P are multiples of 4.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> c: array<vec4<f32>>;         // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> product: array<vec4<f32>>;   // G   [S, chunks, Q, Q / 4]
@group(0) @binding(3) var<storage, read> decay: array<vec4<f32>>;     // F   [S * M, chunks, Q / 4]
@group(0) @binding(4) var<storage, read> step: array<vec4<f32>>;      // dt' [S * M, chunks, Q / 4]
@group(0) @binding(5) var<storage, read> x: array<vec4<f32>>;         // [S, T, M, P / 4]
@group(0) @binding(6) var<storage, read> states: array<vec4<f32>>;    // [lanes, chunks - 1, N, P / 4]
@group(0) @binding(7) var<storage, read> skip: array<f32>;            // D   [M]
@group(0) @binding(8) var<storage, read_write> y: array<vec4<f32>>;   // [S, T, M, P / 4]

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let tiles_p = (params.head_dim4 + 15u) / 16u;
  let p0 = (group.x % tiles_p) * 16u;
  let t0 = (group.x / tiles_p) * 128u;
  let chunk4 = params.chunk / 4u;
  let lane = params.lane0 + group.z;
  let sequence = lane / params.heads;
  let head = lane % params.heads;
  let first = group.y * params.chunk;
  let row0 = sequence * params.tokens;
  let steps0 = (lane * params.chunks + group.y) * chunk4;
  let product0 = (sequence * params.chunks + group.y) * params.chunk * chunk4;
  // Threads below 128 stage C or G, a thread 4 rows x 4 of depth; the others h or x, as it lies.
  let stage_a = thread < 128u;
  let quad = (thread >> 2u) & 31u;
  let unit_k = thread & 3u;
  let t = min(t0 + quad * 4u, params.chunk - 4u);
  var sums: array<vec4<f32>, 8>;
  var v: array<vec4<f32>, 4>;

  if (group.y > 0u) {
    let state0 = (group.z * (params.chunks - 1u) + group.y - 1u) * params.state4 * 4u;
    for (var k = 0u; k < params.state4; k += 4u) {
      if (stage_a) {
        v = array<vec4<f32>, 4>();
        if (k + unit_k < params.state4) {
          for (var i = 0u; i < 4u; i++) {
            v[i] = c[(row0 + min(first + t + i, params.tokens - 1u)) * params.state4 + k + unit_k];
          }
        }
        stage_a_turned(quad, unit_k * 4u, v);
      } else {
        for (var part = 0u; part < 2u; part++) {
          let depth = ((thread - 128u) >> 4u) + part * 8u;
          let p = p0 + (thread & 15u);
          let n = k * 4u + depth;
          var value = vec4<f32>();
          if (n < params.state4 * 4u && p < params.head_dim4) { value = states[(state0 + n) * params.head_dim4 + p]; }
          tile_b[depth][thread & 15u] = value;
        }
      }
      workgroupBarrier();
      multiply_tiles(&sums, id.x, id.y);
      workgroupBarrier();
    }
    let f0 = exp(min(decay[steps0 + min((t0 + id.y * 8u) / 4u, chunk4 - 1u)], vec4<f32>()));
    let f1 = exp(min(decay[steps0 + min((t0 + id.y * 8u) / 4u + 1u, chunk4 - 1u)], vec4<f32>()));
    sums[0] *= f0.x; sums[1] *= f0.y; sums[2] *= f0.z; sums[3] *= f0.w;
    sums[4] *= f1.x; sums[5] *= f1.y; sums[6] *= f1.z; sums[7] *= f1.w;
  }

  let decay_t = decay[steps0 + t / 4u];
  for (var k = 0u; k < min(t0 + 128u, params.chunk); k += 16u) {
    if (stage_a) {
      v = array<vec4<f32>, 4>();
      let s4 = k / 4u + unit_k;
      if (s4 < chunk4) {
        let decay_s = decay[steps0 + s4];
        let step_s = step[steps0 + s4];
        let s = vec4<u32>(s4 * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
        for (var i = 0u; i < 4u; i++) {
          let value = product[product0 + (t + i) * chunk4 + s4] * exp(min(vec4<f32>(decay_t[i]) - decay_s, vec4<f32>())) * step_s;
          v[i] = select(vec4<f32>(), value, s <= vec4<u32>(t + i));
        }
      }
      stage_a_turned(quad, unit_k * 4u, v);
    } else {
      for (var part = 0u; part < 2u; part++) {
        let depth = ((thread - 128u) >> 4u) + part * 8u;
        let p = p0 + (thread & 15u);
        var value = vec4<f32>();
        if (k + depth < params.chunk && p < params.head_dim4) {
          value = x[((row0 + min(first + k + depth, params.tokens - 1u)) * params.heads + head) * params.head_dim4 + p];
        }
        tile_b[depth][thread & 15u] = value;
      }
    }
    workgroupBarrier();
    multiply_tiles(&sums, id.x, id.y);
    workgroupBarrier();
  }

  for (var i = 0u; i < 8u; i++) {
    let row = t0 + id.y * 8u + i;
    let p = p0 + id.x;
    if (row < params.chunk && first + row < params.tokens && p < params.head_dim4) {
      let at = ((row0 + first + row) * params.heads + head) * params.head_dim4 + p;
      y[at] = sums[i] + skip[head] * x[at];
    }
  }
}
`,{lib:[`tile`]}),register:k(`ssd_output_register`,`// ssd_output without workgroup memory: y_t = exp(F_t) C_t . h + sum_(s <= t) G[t, s] exp(F_t - F_s) dt'_s x_s + D x_t per (chunk, lane), a lane
// being one head of one sequence. Each thread owns 8 positions t0.. and 8 of P and reads straight from memory. So that it takes
// one exp per s and not one per (t, s), the decays before its first position are split in two factors that are both <= 1:
//   exp(F_t - F_s) = exp(F_t - F_t0) exp(F_t0 - F_s), s < t0
// the first of which scales the finished sums; only the 8x8 block on the diagonal takes its own. For devices where a barrier
// costs more than a cached load (see gemm_register). Same bindings and Params as ssd_output.
struct Params { tokens: u32, heads: u32, head_dim4: u32, state4: u32, chunk: u32, chunks: u32, lane0: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> c: array<vec4<f32>>;         // [S, T, N / 4]
@group(0) @binding(2) var<storage, read> product: array<vec4<f32>>;   // G   [S, chunks, Q, Q / 4]
@group(0) @binding(3) var<storage, read> decay: array<vec4<f32>>;     // F   [S * M, chunks, Q / 4]
@group(0) @binding(4) var<storage, read> step: array<vec4<f32>>;      // dt' [S * M, chunks, Q / 4]
@group(0) @binding(5) var<storage, read> x: array<vec4<f32>>;         // [S, T, M, P / 4]
@group(0) @binding(6) var<storage, read> states: array<vec4<f32>>;    // [lanes, chunks - 1, N, P / 4]
@group(0) @binding(7) var<storage, read> skip: array<f32>;            // D   [M]
@group(0) @binding(8) var<storage, read_write> y: array<vec4<f32>>;   // [S, T, M, P / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tiles_p = (params.head_dim4 + 1u) / 2u;
  let unit = group.x * 64u + thread;
  let p0 = (unit % tiles_p) * 2u;
  let p1 = min(p0 + 1u, params.head_dim4 - 1u); // past the edge the last vec4 is repeated, and not stored
  let t0 = (unit / tiles_p) * 8u;
  let first = group.y * params.chunk;
  if (t0 >= params.chunk || first + t0 >= params.tokens) { return; }
  let chunk4 = params.chunk / 4u;
  let lane = params.lane0 + group.z;
  let sequence = lane / params.heads;
  let head = lane % params.heads;
  let row0 = sequence * params.tokens + first;
  let last = min(params.tokens - first, params.chunk) - 1u; // of this chunk
  let steps0 = (lane * params.chunks + group.y) * chunk4;
  let product0 = (sequence * params.chunks + group.y) * params.chunk * chunk4;
  let decay_t0 = decay[steps0 + t0 / 4u].x;
  // Rows past the end of the chunk or of the sequence repeat the last one, and are not stored. One variable a row: arrays with an
  // index that is not a constant are slow where this kernel is meant to run.
  let t = min(vec4<u32>(t0) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
  let u = min(vec4<u32>(t0) + vec4<u32>(4u, 5u, 6u, 7u), vec4<u32>(last));
  var l0 = vec4<f32>(); var l1 = vec4<f32>(); var l2 = vec4<f32>(); var l3 = vec4<f32>();
  var l4 = vec4<f32>(); var l5 = vec4<f32>(); var l6 = vec4<f32>(); var l7 = vec4<f32>();
  var r0 = vec4<f32>(); var r1 = vec4<f32>(); var r2 = vec4<f32>(); var r3 = vec4<f32>();
  var r4 = vec4<f32>(); var r5 = vec4<f32>(); var r6 = vec4<f32>(); var r7 = vec4<f32>();

  if (group.y > 0u) {
    let ct = (row0 + t) * params.state4;
    let cu = (row0 + u) * params.state4;
    let next = params.head_dim4;
    var h = (group.z * (params.chunks - 1u) + group.y - 1u) * params.state4 * 4u * next;
    for (var k = 0u; k < params.state4; k++) {
      let left = mat4x4<f32>(states[h + p0], states[h + next + p0], states[h + 2u * next + p0], states[h + 3u * next + p0]);
      let right = mat4x4<f32>(states[h + p1], states[h + next + p1], states[h + 2u * next + p1], states[h + 3u * next + p1]);
      h += 4u * next;
      let a0 = c[ct.x + k]; l0 += left * a0; r0 += right * a0;
      let a1 = c[ct.y + k]; l1 += left * a1; r1 += right * a1;
      let a2 = c[ct.z + k]; l2 += left * a2; r2 += right * a2;
      let a3 = c[ct.w + k]; l3 += left * a3; r3 += right * a3;
      let a4 = c[cu.x + k]; l4 += left * a4; r4 += right * a4;
      let a5 = c[cu.y + k]; l5 += left * a5; r5 += right * a5;
      let a6 = c[cu.z + k]; l6 += left * a6; r6 += right * a6;
      let a7 = c[cu.w + k]; l7 += left * a7; r7 += right * a7;
    }
    let scale = exp(min(decay_t0, 0.0));
    l0 *= scale; l1 *= scale; l2 *= scale; l3 *= scale; l4 *= scale; l5 *= scale; l6 *= scale; l7 *= scale;
    r0 *= scale; r1 *= scale; r2 *= scale; r3 *= scale; r4 *= scale; r5 *= scale; r6 *= scale; r7 *= scale;
  }

  let gt = product0 + t * chunk4;
  let gu = product0 + u * chunk4;
  let next = params.heads * params.head_dim4;
  for (var s4 = 0u; s4 < t0 / 4u; s4++) {
    let w = exp(min(vec4<f32>(decay_t0) - decay[steps0 + s4], vec4<f32>())) * step[steps0 + s4];
    let at = ((row0 + s4 * 4u) * params.heads + head) * params.head_dim4;
    let left = mat4x4<f32>(x[at + p0] * w.x, x[at + next + p0] * w.y, x[at + 2u * next + p0] * w.z, x[at + 3u * next + p0] * w.w);
    let right = mat4x4<f32>(x[at + p1] * w.x, x[at + next + p1] * w.y, x[at + 2u * next + p1] * w.z, x[at + 3u * next + p1] * w.w);
    let a0 = product[gt.x + s4]; l0 += left * a0; r0 += right * a0;
    let a1 = product[gt.y + s4]; l1 += left * a1; r1 += right * a1;
    let a2 = product[gt.z + s4]; l2 += left * a2; r2 += right * a2;
    let a3 = product[gt.w + s4]; l3 += left * a3; r3 += right * a3;
    let a4 = product[gu.x + s4]; l4 += left * a4; r4 += right * a4;
    let a5 = product[gu.y + s4]; l5 += left * a5; r5 += right * a5;
    let a6 = product[gu.z + s4]; l6 += left * a6; r6 += right * a6;
    let a7 = product[gu.w + s4]; l7 += left * a7; r7 += right * a7;
  }

  // The block on the diagonal, s = t0 .. t, with decays of its own.
  let decay_t = decay[steps0 + t0 / 4u];
  let decay_u = decay[steps0 + min(t0 / 4u + 1u, chunk4 - 1u)];
  let scale_t = exp(min(decay_t - decay_t0, vec4<f32>()));
  let scale_u = exp(min(decay_u - decay_t0, vec4<f32>()));
  l0 *= scale_t.x; l1 *= scale_t.y; l2 *= scale_t.z; l3 *= scale_t.w; l4 *= scale_u.x; l5 *= scale_u.y; l6 *= scale_u.z; l7 *= scale_u.w;
  r0 *= scale_t.x; r1 *= scale_t.y; r2 *= scale_t.z; r3 *= scale_t.w; r4 *= scale_u.x; r5 *= scale_u.y; r6 *= scale_u.z; r7 *= scale_u.w;
  for (var s4 = t0 / 4u; s4 <= min(t0 / 4u + 1u, last / 4u); s4++) {
    let s = min(vec4<u32>(s4 * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
    let at = ((row0 + s) * params.heads + head) * params.head_dim4;
    let left = mat4x4<f32>(x[at.x + p0], x[at.y + p0], x[at.z + p0], x[at.w + p0]);
    let right = mat4x4<f32>(x[at.x + p1], x[at.y + p1], x[at.z + p1], x[at.w + p1]);
    let decay_s = decay[steps0 + s4];
    let step_s = step[steps0 + s4];
    let a0 = weights(s4 * 4u, t.x, product[gt.x + s4] * step_s, decay_t.x, decay_s); l0 += left * a0; r0 += right * a0;
    let a1 = weights(s4 * 4u, t.y, product[gt.y + s4] * step_s, decay_t.y, decay_s); l1 += left * a1; r1 += right * a1;
    let a2 = weights(s4 * 4u, t.z, product[gt.z + s4] * step_s, decay_t.z, decay_s); l2 += left * a2; r2 += right * a2;
    let a3 = weights(s4 * 4u, t.w, product[gt.w + s4] * step_s, decay_t.w, decay_s); l3 += left * a3; r3 += right * a3;
    let a4 = weights(s4 * 4u, u.x, product[gu.x + s4] * step_s, decay_u.x, decay_s); l4 += left * a4; r4 += right * a4;
    let a5 = weights(s4 * 4u, u.y, product[gu.y + s4] * step_s, decay_u.y, decay_s); l5 += left * a5; r5 += right * a5;
    let a6 = weights(s4 * 4u, u.z, product[gu.z + s4] * step_s, decay_u.z, decay_s); l6 += left * a6; r6 += right * a6;
    let a7 = weights(s4 * 4u, u.w, product[gu.w + s4] * step_s, decay_u.w, decay_s); l7 += left * a7; r7 += right * a7;
  }

  let wide = p0 + 1u < params.head_dim4;
  let rows = last + 1u - t0;
  let out = ((row0 + t0) * params.heads + head) * params.head_dim4;
  put(out, p0, wide, skip[head], l0, r0);
  if (rows > 1u) { put(out + 1u * next, p0, wide, skip[head], l1, r1); }
  if (rows > 2u) { put(out + 2u * next, p0, wide, skip[head], l2, r2); }
  if (rows > 3u) { put(out + 3u * next, p0, wide, skip[head], l3, r3); }
  if (rows > 4u) { put(out + 4u * next, p0, wide, skip[head], l4, r4); }
  if (rows > 5u) { put(out + 5u * next, p0, wide, skip[head], l5, r5); }
  if (rows > 6u) { put(out + 6u * next, p0, wide, skip[head], l6, r6); }
  if (rows > 7u) { put(out + 7u * next, p0, wide, skip[head], l7, r7); }
}

// Of positions s .. s + 3 those up to t: G dt' exp(F_t - F_s).
fn weights(s: u32, t: u32, product_step: vec4<f32>, decay_t: f32, decay_s: vec4<f32>) -> vec4<f32> {
  let value = product_step * exp(min(vec4<f32>(decay_t) - decay_s, vec4<f32>()));
  return select(vec4<f32>(), value, vec4<u32>(s) + vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(t));
}

fn put(row: u32, p: u32, wide: bool, d: f32, left: vec4<f32>, right: vec4<f32>) {
  y[row + p] = left + d * x[row + p];
  if (wide) { y[row + p + 1u] = right + d * x[row + p + 1u]; }
}
`)};function Kt(e,{c:t,product:n,decay:r,step:i,x:a,states:o,skip:s,y:c},l,u,d=e.profile.gemm){let{sequences:f,tokens:p,heads:m,headDim:h,state:g,chunk:_}=l,v=It(l),y=[f,m,v,_],b=[f,p,m*h];M(`ssd_output`,{c:[t,[f,p,g]],product:[n,[f,v,_,_]],decay:[r,y],step:[i,y],x:[a,b],states:[o,[u.count,v-1,g,h]],skip:[s,[m]],y:[c,b]});let x={tile:Math.ceil(h/64)*Math.ceil(_/128),register:Math.ceil(Math.ceil(h/8)*Math.ceil(_/8)/64)}[d];e.dispatch(Gt[d],{c:t,product:n,decay:r,step:i,x:a,states:o,skip:s,y:c},{grid:[x,v,u.count],params:{tokens:p,heads:m,head_dim4:h/4,state4:g/4,chunk:_,chunks:v,lane0:u.first},flops:2*u.count*h*(Math.max(0,p-_)*g+zt(l)+p)})}const qt=k(`ssd_pass_state`,`// Carries the states of the chunks through each sequence: h_c = exp(F_last of chunk c) h_(c-1) + S_c, in place, in f32, with h_-1 = 0.
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
`);function Jt(e,{decay:t,states:n},r,i){let{sequences:a,heads:o,headDim:s,state:c,chunk:l}=r,u=It(r);M(`ssd_pass_state`,{decay:[t,[a,o,u,l]],states:[n,[i.count,u-1,c,s]]});let d=c*s/4;e.dispatch(qt,{decay:t,states:n},{grid:[Math.ceil(d/64),i.count],params:{state_size4:d,slots:u-1,chunk:l,lane0:i.first},flops:2*i.count*(u-1)*c*s})}const Yt=k(`ssd_prepare`,`// Step sizes and decays of the chunked scan, per head and position p of a chunk of Q:
//   dt' = softplus(dt + dt_bias);  dA = max(-exp(A_log) dt', -32);  F_p = dA_0 + .. + dA_p;  w_p = exp(F_last - F_p) dt'_p
// dt is read in token order through lib/scan_order, everything is written in scan order, all in f32 (an f16 F costs 1 %).
// Positions past the last token get dt' = 0 and dA = 0: decay 1, input 0, so no later kernel needs to know about them.
// -32 is full forgetting (1e-14), and keeps |F| small enough for f32 differences. First kernel of Mamba-2's SSD (arXiv
// 2405.21060, section 6 and listing 1). A thread owns one chunk of one head; neighbours in memory are neighbouring heads.
struct Params { height: u32, width: u32, batch: u32, sequences: u32, heads: u32, chunk: u32, chunks: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dt: array<f32>;             // [B, T, M], token order
@group(0) @binding(2) var<storage, read> dt_bias: array<f32>;        // [M]
@group(0) @binding(3) var<storage, read> a_log: array<f32>;          // [M]
@group(0) @binding(4) var<storage, read_write> step: array<f32>;     // dt' [S, M, chunks, Q]
@group(0) @binding(5) var<storage, read_write> decay: array<f32>;    // F   [S, M, chunks, Q]
@group(0) @binding(6) var<storage, read_write> weight: array<f32>;   // w   [S, M, chunks, Q]

// log(1 + exp(x)) to 3e-7 relative: WGSL's log may be off by 5e-4 near 1, so 2 atanh(s) with s = e / (2 + e) as a series.
fn softplus(x: f32) -> f32 {
  let e = exp(-min(abs(x), 80.0));
  let s = e / (2.0 + e);
  let s2 = s * s;
  return max(x, 0.0) + 2.0 * s * (1.0 + s2 * (1.0 / 3.0 + s2 * (0.2 + s2 * (1.0 / 7.0 + s2 * (1.0 / 9.0 + s2 / 11.0)))));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = (group.y * groups.x + group.x) * 64u + thread;
  if (index >= params.sequences * params.chunks * params.heads) { return; }
  let head = index % params.heads;
  let chunk = index / params.heads % params.chunks;
  let sequence = index / params.heads / params.chunks;
  let tokens = params.height * params.width;
  let out = ((sequence * params.heads + head) * params.chunks + chunk) * params.chunk;
  let rate = -exp(min(a_log[head], 80.0));
  var sum = 0.0;
  for (var i = 0u; i < params.chunk; i++) {
    let position = chunk * params.chunk + i;
    var size = 0.0;
    if (position < tokens) {
      let token = (sequence % params.batch) * tokens + token_at(position, sequence >= params.batch);
      size = softplus(dt[token * params.heads + head] + dt_bias[head]);
    }
    sum += max(rate * size, -32.0);
    step[out + i] = size;
    decay[out + i] = sum;
  }
  for (var i = 0u; i < params.chunk; i++) {
    weight[out + i] = exp(min(sum - decay[out + i], 0.0)) * step[out + i];
  }
}
`,{lib:[`scan_order`]});function Xt(e,{dt:t,dtBias:n,aLog:r,step:i,decay:a,weight:o},s,c){let{sequences:l,tokens:u,heads:d,chunk:f}=c,p=It(c),m=[l,d,p,f];M(`ssd_prepare`,{dt:[t,[s.batch,u,d]],dtBias:[n,[d]],aLog:[r,[d]],step:[i,m],decay:[a,m],weight:[o,m]}),e.dispatch(Yt,{dt:t,dt_bias:n,a_log:r,step:i,decay:a,weight:o},{grid:P(Math.ceil(l*p*d/64)),constants:{BY_COLUMNS:Number(s.order===`mamba_h`)},params:{height:s.height,width:s.width,batch:s.batch,sequences:l,heads:d,chunk:f,chunks:p},flops:40*l*d*u})}function Zt(e,{x:t,b:n,c:r,dt:i,dtBias:a,aLog:o,skip:s,y:c},l){let{grid:u,heads:d,headDim:f,state:p,variant:m,stateBudget:h=134217728}=l,g=u.height*u.width,_=l.chunk??Math.min(128,4*Math.ceil(g/4)),v={sequences:u.directions*u.batch,tokens:g,heads:d,headDim:f,state:p,chunk:_};Bt(v);let y=It(v),b=[v.sequences,d,y,_],x=e.temp(`ssd_step`,b),S=e.temp(`ssd_decay`,b),C=e.temp(`ssd_weight`,b);Xt(e,{dt:i,dtBias:a,aLog:o,step:x,decay:S,weight:C},u,v);let w=e.temp(`ssd_product`,[v.sequences,y,_,_]);Ht(e,{b:n,c:r,product:w},v,m);let T=Math.min(h,e.profile.limits.maxStorageBufferBindingSize),E=Math.max(1,Math.floor(T/Math.max(1,Rt(v)))),{count:ee}=Lt(v),D=Math.ceil(ee/E);for(let i=0;i<D;i++){let a=Math.floor(i*ee/D),o={first:a,count:Math.floor((i+1)*ee/D)-a},l=y>1?e.temp(`ssd_states`,[o.count,y-1,p,f]):void 0;l&&(Wt(e,{b:n,x:t,weight:C,states:l},v,o,m),Jt(e,{decay:S,states:l},v,o)),Kt(e,{c:r,product:w,decay:S,step:x,x:t,states:l,skip:s,y:c},v,o,m)}}function Qt(e,t,n,r,i,a,{batch:o,height:s,width:c}){let{inner:l,heads:u,headDim:d,state:f,taps:p,fusion:m}=t;if(u*d!==l)throw new D(`ModelConfigError`,`${r}: ${u} scan heads of ${d} do not make the inner width ${l}`);let h={batch:o,height:s,width:c,order:i,directions:t.bidirectional?2:1},g=s*c,_=h.directions*o,v=(e,t)=>n.get(`${r}.mamba.${e}`,t),y=e.temp(`z`,[o,g,l]),b=e.temp(`xbc`,[o,g,l+2*f]),x=e.temp(`dt`,[o,g,u]);F(e,a,v(`in_proj.weight`,[2*l+2*f+u,a.shape[2]]),[y,b,x]);let S=e.temp(`x`,[_,g,l]),C=e.temp(`b`,[_,g,f]),w=e.temp(`c`,[_,g,f]),T=l+2*f;jt(e,{xbc:b,weight:v(`conv1d.weight`,[T,p]),bias:v(`conv1d.bias`,[T]),x:S,b:C,c:w},h);let E=e.temp(`y`,[_,g,l]);Zt(e,{x:S,b:C,c:w,dt:x,dtBias:v(`dt_bias`,[u]),aLog:v(`A_log`,[u]),skip:v(`D`,[u]),y:E},{grid:h,heads:u,headDim:d,state:f});let ee=h.directions===2&&m===`concat`,O=e.temp(`mixed`,[o,g,ee?2*l:l]);return Nt(e,{y:E,z:y,weight:v(`norm.weight`,[l]),out:O},h,m),O}function $t(e,t,n){let r=r=>e.tokenMixers.map((i,a)=>j(`block${a}.text_${r}`,[t,n,e.width]));return{keys:r(`keys`),values:r(`values`),mask:j(`text_mask`,[t,n]),size:e.additionalConditions?j(`size_embedding`,[t,e.width]):void 0}}const en=e=>[...e.keys,...e.values,e.mask,...e.size?[e.size]:[]];function tn(e,t,n,r,i,a){let[o,s]=r.shape,{width:c,captionChannels:l}=t,u=e.temp(`caption_hidden`,[o,s,c]),d=e.temp(`caption`,[o,s,c]);F(e,r,n.get(`caption_projection.linear_1.weight`,[c,l]),u,{bias:n.get(`caption_projection.linear_1.bias`),activation:`gelu_tanh`}),F(e,u,n.get(`caption_projection.linear_2.weight`,[c,c]),d,{bias:n.get(`caption_projection.linear_2.bias`)}),t.tokenMixers.forEach((t,r)=>{let i=`transformer_blocks.${r}.attn2.to_kv`;F(e,d,n.get(`${i}.weight`,[2*c,c]),[a.keys[r],a.values[r]],{bias:n.optional(`${i}.bias`)})}),a.size&&i&&nn(e,t,n,i,a.size)}function nn(e,t,n,r,i){let a=t.width/3,o=t=>{let i=e.temp(`${t}_hidden`,[3,a]),o=e.temp(t,[3,a]),s=e=>`adaln_single.emb.${t}.linear_${e}`;return F(e,r,n.get(`${s(1)}.weight`,[a,256]),i,{bias:n.get(`${s(1)}.bias`),activation:`silu`}),F(e,i,n.get(`${s(2)}.weight`,[a,a]),o,{bias:n.get(`${s(2)}.bias`)}),o},s=o(`resolution_embedder`),c=o(`aspect_ratio_embedder`);for(let n=0;n<i.shape[0];n++)e.copy(s,i,{count:2*a,to:n*t.width}),e.copy(c,i,{count:a,from:2*a,to:n*t.width+2*a})}function rn(e,t,n,r,i,a){let{width:o,patchSize:s}=t,[c,,l,u]=i.shape,d={batch:c,height:l/s,width:u/s},f=d.height*d.width,p=n.get(`pos_embed.proj.weight`),m=e.temp(`patches`,[c,f,p.shape[1]]);yt(e,r.latents,r.step,m,s);let h=e.temp(`x`,[c,f,o]);F(e,m,p,h,{bias:n.get(`pos_embed.proj.bias`,[o])}),xt(e,h,r.columnTable,r.rowTable);let{modulations:g,finalModulation:_}=e.scope(`adaln`,()=>an(e,t,n,r,c));t.tokenMixers.forEach((i,s)=>{h=e.scope(`block${s}`,()=>{let a=`transformer_blocks.${s}`,l=e=>s*c*6*o+e*o,u=(n,r)=>{let i=e.temp(`normed`,[c,f,o]);return Dt(e,n,i,{eps:t.normEps,modulation:{tensor:g,shiftOffset:l(r),scaleOffset:l(r+1),stride:6*o,rowsPerBatch:f}}),i},p=e=>({tensor:g,offset:l(e),stride:6*o,rowsPerBatch:f}),m=e.temp(`x_mixed`,[c,f,o]);e.scope(i,()=>{let r=u(h,0);if(i===`attention`)F(e,on(e,t,n,a,r),n.get(`${a}.attn1.to_out.0.weight`,[o,o]),m,{bias:n.get(`${a}.attn1.to_out.0.bias`),gate:p(2),residual:h});else{let s=Qt(e,t.mamba,n,a,i,r,d);F(e,s,n.get(`${a}.mamba_fuse_out.weight`,[o,s.shape[2]]),m,{bias:n.get(`${a}.mamba_fuse_out.bias`),gate:p(2),residual:h})}});let _=e.scope(`cross`,()=>sn(e,t,n,a,m,r.conditions,s));return e.scope(`ff`,()=>{let t=e.temp(`hidden`,[c,f,4*o]);F(e,u(_,3),n.get(`${a}.ff.net.0.proj.weight`,[4*o,o]),t,{bias:n.get(`${a}.ff.net.0.proj.bias`),activation:`gelu_tanh`});let r=e.temp(`x`,[c,f,o]);return F(e,t,n.get(`${a}.ff.net.2.weight`,[o,4*o]),r,{bias:n.get(`${a}.ff.net.2.bias`),gate:p(5),residual:_}),r})}),a?.(s,h)});let v=e.temp(`normed_final`,[c,f,o]);Dt(e,h,v,{eps:1e-6,modulation:{tensor:_,shiftOffset:0,scaleOffset:o,stride:2*o,rowsPerBatch:f}});let y=s**2*t.outChannels,b=e.temp(`patches_out`,[c,f,y]);F(e,v,n.get(`proj_out.weight`,[y,o]),b,{bias:n.get(`proj_out.bias`)}),bt(e,b,i,s)}function an(e,t,n,r,i){let{width:a,blocks:o}=t,s=e=>`adaln_single.emb.timestep_embedder.linear_${e}`,c=e.temp(`timestep_hidden`,[i,a]),l=e.temp(`timestep_embedded`,[i,a]);F(e,r.timestep,n.get(`${s(1)}.weight`,[a,256]),c,{bias:n.get(`${s(1)}.bias`),activation:`silu`}),F(e,c,n.get(`${s(2)}.weight`,[a,a]),l,{bias:n.get(`${s(2)}.bias`),residual:r.conditions.size});let u=e.temp(`timestep_activated`,[i,a]);Ct(e,l,u);let d=e.temp(`t0`,[i,6*a]);F(e,u,n.get(`adaln_single.linear.weight`,[6*a,a]),d,{bias:n.get(`adaln_single.linear.bias`)});let f=e.temp(`modulations`,[o,i,6*a]);St(e,cn(n.get(`scale_shift_tables`,[o,6,a]),[o,6*a]),d,f);let p=e.temp(`modulation_final`,[1,i,2*a]);return St(e,cn(n.get(`scale_shift_table`,[2,a]),[1,2*a]),l,p),{modulations:f,finalModulation:p}}function on(e,t,n,r,i){let{width:a,heads:o,headDim:s}=t,[c,l]=i.shape,[u,d,f,p]=[`q`,`k`,`v`,`y`].map(t=>e.temp(t,i.shape));return F(e,i,n.get(`${r}.attn1.to_qkv.weight`,[3*a,a]),[u,d,f],{bias:n.optional(`${r}.attn1.to_qkv.bias`)}),qe(e,{q:u,k:d,v:f,y:p},{batch:c,heads:o,headDim:s,queries:l,keys:l}),p}function sn(e,t,n,r,i,a,o){let{width:s,heads:c,headDim:l}=t,[u,d]=i.shape,f=e.temp(`q`,i.shape),p=e.temp(`y`,i.shape),m=e.temp(`x_crossed`,i.shape);F(e,i,n.get(`${r}.attn2.to_q.weight`,[s,s]),f,{bias:n.optional(`${r}.attn2.to_q.bias`)});let h=a.keys[o];return qe(e,{q:f,k:h,v:a.values[o],y:p},{batch:u,heads:c,headDim:l,queries:d,keys:h.shape[1],mask:a.mask}),F(e,p,n.get(`${r}.attn2.to_out.0.weight`,[s,s]),m,{bias:n.get(`${r}.attn2.to_out.0.bias`),residual:i}),m}const cn=(e,t)=>xe(e,e.label,t);var ln=`// y[row, column, o] = sum over taps and channels of w[o, tap, c] x[row + dy, column + dx, c] + bias[o], with the epilogue of
// lib/conv2d: 3x3 (zero padding 1) or 1x1, stride 1, NHWC, optionally on the nearest 2x upsampling of x. Rows of a band only.
// Implicit GEMM on the tile of gemm_tile: 128 pixels x 64 channels by 256 threads, 8x4 sums a thread, 16 of depth (taps x
// channels) a round, staged in 12 KiB of workgroup memory. A thread stages one vec4 of depth for four pixels, so the tap and its
// address are found once a round and no element costs a division. Bound: arithmetic. Same bindings and Params as conv2d_register.
struct Params {
  row0: u32, pixels: u32, height: u32, width: u32, c4: u32, outputs: u32, side: u32, upsample: u32,
  x_row0: u32, y_row0: u32, residual_row0: u32, residual_kind: u32, has_bias: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // [rows, width >> upsample, c4]
@group(0) @binding(2) var<storage, read> w: array<Weight4>;           // [outputs, side * side, c4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;            // [outputs]
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;  // [rows, width, outputs / 4]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;   // [rows, width, outputs / 4]

// Depth-major, so that a thread reads its 8 pixels and 4 channels of one depth as vec4s.
var<workgroup> tile_x: array<array<real4, 32>, 16>;   // [depth, 128 pixels / 4]
var<workgroup> tile_w: array<array<real4, 16>, 16>;   // [depth, 64 channels / 4]

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let pixel0 = group.y * 128u;
  let channel0 = group.x * 64u;
  let depth4 = params.side * params.side * params.c4;
  // 128 threads stage x, 64 stage w: 4 pixels or channels x 4 of depth each, turned around in registers (see gemm_tile).
  let stage_w = thread >= 128u;
  let unit = select(thread, thread - 128u, stage_w);
  let quad = unit >> 2u;
  let lane = unit & 3u;
  let q0 = output_pixel(pixel0 + quad * 4u);
  let q1 = output_pixel(pixel0 + quad * 4u + 1u);
  let q2 = output_pixel(pixel0 + quad * 4u + 2u);
  let q3 = output_pixel(pixel0 + quad * 4u + 3u);
  let row0 = channel0 + quad * 4u;
  var sums: array<vec4<f32>, 8>;
  var part: array<real4, 8>;
  for (var k = 0u; k < depth4; k += 4u) {
    let depth = k + lane;
    if (!stage_w) {
      var m = mat4x4<f32>();
      if (depth < depth4) {
        let tap = depth / params.c4;
        let c = depth % params.c4;
        let dy = tap / params.side;
        let dx = tap % params.side;
        m = mat4x4<f32>(input(source(q0, dy, dx), c), input(source(q1, dy, dx), c), input(source(q2, dy, dx), c),
                        input(source(q3, dy, dx), c));
      }
      let turned = transpose(m);
      for (var i = 0u; i < 4u; i++) { tile_x[lane * 4u + i][quad] = real4(turned[i]); }
    } else if (unit < 64u) {
      var v = array<vec4<f32>, 4>();
      for (var i = 0u; i < 4u; i++) {
        if (depth < depth4 && row0 + i < params.outputs) { v[i] = weight4(w[(row0 + i) * depth4 + depth]); }
      }
      let turned = transpose(mat4x4<f32>(v[0], v[1], v[2], v[3]));
      for (var i = 0u; i < 4u; i++) { tile_w[lane * 4u + i][quad] = real4(turned[i]); }
    }
    workgroupBarrier();
    part = array<real4, 8>(); // f16 products are summed in f16 over 16 of depth only
    for (var i = 0u; i < 16u; i++) {
      let b = tile_w[i][id.x];
      let a0 = tile_x[i][id.y * 2u];
      let a1 = tile_x[i][id.y * 2u + 1u];
      part[0] += a0.x * b; part[1] += a0.y * b; part[2] += a0.z * b; part[3] += a0.w * b;
      part[4] += a1.x * b; part[5] += a1.y * b; part[6] += a1.z * b; part[7] += a1.w * b;
    }
    for (var i = 0u; i < 8u; i++) { sums[i] += vec4<f32>(part[i]); }
    workgroupBarrier();
  }
  for (var i = 0u; i < 8u; i++) {
    let p = pixel0 + id.y * 8u + i;
    store4(p, output_pixel(p), channel0 + id.x * 4u, sums[i]);
  }
}
`,un=`// y[row, column, o] = sum over taps and channels of w[o, tap, c] x[row + dy, column + dx, c] + bias[o], with the epilogue of
// lib/conv2d: 3x3 (zero padding 1) or 1x1, stride 1, NHWC, optionally on the nearest 2x upsampling of x. Rows of a band only.
// No workgroup memory: each thread owns 8 pixels x 8 channels in 16 vec4s and reads a vec4 of channels at a time; a 4x4 matrix of
// weights times a pixel's vec4 is four dot products. Written out, not looped: an array indexed by a loop variable lives in
// memory on CPU implementations (SwiftShader: 0.3 GFLOP/s a core with arrays, 1.5 so). Chosen there, on Apple, and for few outputs.
struct Params {
  row0: u32, pixels: u32, height: u32, width: u32, c4: u32, outputs: u32, side: u32, upsample: u32,
  x_row0: u32, y_row0: u32, residual_row0: u32, residual_kind: u32, has_bias: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // [rows, width >> upsample, c4]
@group(0) @binding(2) var<storage, read> w: array<Weight4>;           // [outputs, side * side, c4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;            // [outputs]
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;  // [rows, width, outputs / 4]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;   // [rows, width, outputs / 4]

fn weight_row(channel: u32) -> u32 { return min(channel, params.outputs - 1u) * params.side * params.side * params.c4; }

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let p = id.y * 8u;
  let o = id.x * 8u;
  if (p >= params.pixels || o >= params.outputs) { return; }
  let q0 = output_pixel(p); let q1 = output_pixel(p + 1u); let q2 = output_pixel(p + 2u); let q3 = output_pixel(p + 3u);
  let q4 = output_pixel(p + 4u); let q5 = output_pixel(p + 5u); let q6 = output_pixel(p + 6u); let q7 = output_pixel(p + 7u);
  var w0 = weight_row(o); var w1 = weight_row(o + 1u); var w2 = weight_row(o + 2u); var w3 = weight_row(o + 3u);
  var w4 = weight_row(o + 4u); var w5 = weight_row(o + 5u); var w6 = weight_row(o + 6u); var w7 = weight_row(o + 7u);
  var s0 = vec4<f32>(); var s1 = vec4<f32>(); var s2 = vec4<f32>(); var s3 = vec4<f32>();
  var s4 = vec4<f32>(); var s5 = vec4<f32>(); var s6 = vec4<f32>(); var s7 = vec4<f32>();
  var t0 = vec4<f32>(); var t1 = vec4<f32>(); var t2 = vec4<f32>(); var t3 = vec4<f32>();
  var t4 = vec4<f32>(); var t5 = vec4<f32>(); var t6 = vec4<f32>(); var t7 = vec4<f32>();
  for (var dy = 0u; dy < params.side; dy++) {
    for (var dx = 0u; dx < params.side; dx++) {
      let x0 = source(q0, dy, dx); let x1 = source(q1, dy, dx); let x2 = source(q2, dy, dx); let x3 = source(q3, dy, dx);
      let x4 = source(q4, dy, dx); let x5 = source(q5, dy, dx); let x6 = source(q6, dy, dx); let x7 = source(q7, dy, dx);
      for (var c = 0u; c < params.c4; c++) {
        let b = mat4x4<f32>(weight4(w[w0 + c]), weight4(w[w1 + c]), weight4(w[w2 + c]), weight4(w[w3 + c]));
        let d = mat4x4<f32>(weight4(w[w4 + c]), weight4(w[w5 + c]), weight4(w[w6 + c]), weight4(w[w7 + c]));
        var a = input(x0, c); s0 += a * b; t0 += a * d;
        a = input(x1, c); s1 += a * b; t1 += a * d;
        a = input(x2, c); s2 += a * b; t2 += a * d;
        a = input(x3, c); s3 += a * b; t3 += a * d;
        a = input(x4, c); s4 += a * b; t4 += a * d;
        a = input(x5, c); s5 += a * b; t5 += a * d;
        a = input(x6, c); s6 += a * b; t6 += a * d;
        a = input(x7, c); s7 += a * b; t7 += a * d;
      }
      w0 += params.c4; w1 += params.c4; w2 += params.c4; w3 += params.c4;
      w4 += params.c4; w5 += params.c4; w6 += params.c4; w7 += params.c4;
    }
  }
  // A loop here keeps the code small, which is most of the compile time on SwiftShader.
  let sums = array<vec4<f32>, 16>(s0, t0, s1, t1, s2, t2, s3, t3, s4, t4, s5, t5, s6, t6, s7, t7);
  for (var i = 0u; i < 8u; i++) {
    let q = output_pixel(p + i);
    store4(p + i, q, o, sums[2u * i]);
    store4(p + i, q, o + 4u, sums[2u * i + 1u]);
  }
}
`;const dn=[`conv2d`],fn={tile:k(`conv2d_tile`,ln,{lib:dn}),register:k(`conv2d_register`,un,{lib:dn})},B=e=>Math.ceil(e/4)*4;function V(e,t,n,r,i=!1){let a=r>>1,[o,s]=[Math.max(0,e-a),Math.min(n,t+a)];return i?[o>>1,s+1>>1]:[o,s]}function H(e,t,n,r,i){let{side:a,height:o,from:s,to:c,bias:l,upsample:u=!1,residual:d}=i,[f,p,m]=t.tensor.shape,[h,g,_]=r.tensor.shape,[v,y]=n.shape,[b,x]=V(s,c,o,a,u);if(m%4!=0||y!==a*a*m||_!==B(v)||g!==p*(u?2:1)||!(s<c&&r.first<=s&&c<=r.first+h&&c<=o)||!(t.first<=b&&x<=t.first+f))throw new D(`TensorError`,`conv2d ${n.label} [${n.shape}]: x [${t.tensor.shape}] from row ${t.first} and y [${r.tensor.shape}] from row ${r.first} do not fit rows ${s} to ${c} of ${o}`);M(`conv2d`,{bias:[l,[v]]});let S=d===`y`?void 0:d;if(S&&(M(`conv2d`,{residual:[S.tensor,[S.tensor.shape[0],g,_]]}),S.first>s||c>S.first+S.tensor.shape[0]))throw new D(`TensorError`,`conv2d ${n.label}: residual from row ${S.first} lacks rows ${s} to ${c}`);let C=i.variant??(v<=8?`register`:e.profile.gemm),[w,T]=C===`tile`?[64,128]:[64,64],E=2*g*v*y,ee=Math.min(Math.floor(2e10/E),Math.floor(e.profile.limits.maxComputeWorkgroupsPerDimension*T/g)),O=Math.ceil((c-s)/Math.max(1,ee));for(let i=0;i<O;i++){let f=s+Math.floor((c-s)*i/O),p=(s+Math.floor((c-s)*(i+1)/O)-f)*g;e.dispatch(fn[C],{x:t.tensor,w:n,bias:l,residual:S?.tensor,y:r.tensor},{grid:[Math.ceil(v/w),Math.ceil(p/T)],arithmetic:C===`tile`&&e.profile.f16?`f16`:`f32`,params:{row0:f,pixels:p,height:o,width:g,c4:m/4,outputs:v,side:a,upsample:Number(u),x_row0:t.first,y_row0:r.first,residual_row0:S?.first??0,residual_kind:d===`y`?2:Number(!!S),has_bias:Number(!!l)},flops:2*p*v*y})}}var pn=`// Statistics of some rows of x [rows, width, channels]: for each chunk of \`chunk\` pixels and each channel the count, the mean and
// the sum of squared deviations M2, to partials [chunks, 3, channels], starting at chunk0. group_norm_finalise joins the chunks
// of all bands, so the statistics are those of the whole image whatever the bands were. Wu & He 2018 (arXiv 1803.08494).
// A thread takes four channels of one chunk, pixel by pixel: neighbours read neighbouring vec4s and there is nothing to
// synchronise. Sums are of differences to the block's first pixel, 64 pixels at a time, and blocks are joined by Chan's formula,
// so f32 loses nothing to a mean that is large beside the deviation. Bound: reading x once.
struct Params { first: u32, pixels: u32, chunk: u32, chunk0: u32, c4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;                // [pixels, c4]
@group(0) @binding(2) var<storage, read_write> partials: array<vec4<f32>>;   // [chunks, 3, c4]

const BLOCK = 64u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let unit = (group.y * groups.x + group.x) * 64u + thread;
  let chunk = unit / params.c4;
  let c = unit % params.c4;
  let begin = chunk * params.chunk;
  if (begin >= params.pixels) { return; }
  let end = min(begin + params.chunk, params.pixels);
  var count = 0.0;
  var mean = vec4<f32>();
  var m2 = vec4<f32>();
  for (var at = begin; at < end; at += BLOCK) {
    let stop = min(at + BLOCK, end);
    let shift = x[(params.first + at) * params.c4 + c];
    var sum = vec4<f32>();
    var squares = vec4<f32>();
    for (var p = at + 1u; p < stop; p++) {
      let d = x[(params.first + p) * params.c4 + c] - shift;
      sum += d;
      squares += d * d;
    }
    let n = f32(stop - at);
    let delta = shift + sum / n - mean;
    m2 += max(squares - sum * sum / n, vec4<f32>()) + delta * delta * (count * n / (count + n));
    mean += delta * (n / (count + n));
    count += n;
  }
  let out = (params.chunk0 + chunk) * 3u * params.c4 + c;
  partials[out] = vec4<f32>(count);
  partials[out + params.c4] = mean;
  partials[out + 2u * params.c4] = m2;
}
`,mn=`// Joins the statistics of all chunks (group_norm_partial) and folds them with gamma and beta into what a channel is multiplied
// by and what is added to it: scale = gamma / sqrt(var + eps), shift = beta - mean scale; scale_shift is [2, stride]. Channels
// from \`channels\` to \`stride\` (the padding to a multiple of four) become zero.
// One workgroup per group of channels; two passes over its chunks, first the mean, then the deviations about it, both relative
// to the first chunk's mean. Bound: latency; there are at most a few thousand values a group.
struct Params { chunks: u32, channels: u32, stride: u32, groups: u32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;          // [chunks, 3, stride]: count, mean, M2
@group(0) @binding(2) var<storage, read> gamma: array<f32>;             // [channels]
@group(0) @binding(3) var<storage, read> beta: array<f32>;              // [channels]
@group(0) @binding(4) var<storage, read_write> scale_shift: array<f32>; // [2, stride]

const THREADS = 64u;
var<workgroup> shared_sums: array<vec2<f32>, THREADS>;

fn add_up(thread: u32, mine: vec2<f32>) -> vec2<f32> {
  workgroupBarrier();
  shared_sums[thread] = mine;
  workgroupBarrier();
  var total = vec2<f32>();
  for (var i = 0u; i < THREADS; i++) { total += shared_sums[i]; }
  return total;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let width = params.channels / params.groups;
  let c0 = group.x * width;
  let entries = params.chunks * width;
  let origin = partials[params.stride + c0];
  var sum = vec2<f32>(); // count, sum of values about the origin
  for (var e = thread; e < entries; e += THREADS) {
    let at = (e / width) * 3u * params.stride + c0 + e % width;
    sum += vec2<f32>(1.0, partials[at + params.stride] - origin) * vec2<f32>(partials[at]);
  }
  let totals = add_up(thread, sum);
  let offset = totals.y / totals.x;
  var deviations = 0.0;
  for (var e = thread; e < entries; e += THREADS) {
    let at = (e / width) * 3u * params.stride + c0 + e % width;
    let d = partials[at + params.stride] - origin - offset;
    deviations += partials[at + 2u * params.stride] + partials[at] * d * d;
  }
  let variance = add_up(thread, vec2<f32>(deviations, 0.0)).x / totals.x;
  let rstd = inverseSqrt(variance + params.eps);
  let mean = origin + offset;
  for (var c = c0 + thread; c < c0 + width; c += THREADS) {
    let scale = gamma[c] * rstd;
    scale_shift[c] = scale;
    scale_shift[params.stride + c] = beta[c] - mean * scale;
  }
  if (group.x == 0u && thread < params.stride - params.channels) {
    scale_shift[params.channels + thread] = 0.0;
    scale_shift[params.stride + params.channels + thread] = 0.0;
  }
}
`,hn=`// y[p, c] = f(x[p, c] scale[c] + shift[c]) for some pixels of x, to some pixels of y: applies a GroupNorm (scale_shift from
// group_norm_finalise) and SiLU while it gathers the rows of a band, or only gathers them.
// It stands before a convolution on purpose: folded into the convolution's loads, SiLU would be computed nine times for every 64
// output channels, which is about a fifth of the arithmetic of a 3x3 convolution, where this costs one read and one write, and
// zero padding after the norm comes for free. Bound: bandwidth.
override NORM: bool = false;
override SILU: bool = false;
struct Params { x_first: u32, y_first: u32, pixels: u32, c4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [pixels, c4]
@group(0) @binding(2) var<storage, read> scale_shift: array<vec4<f32>>;  // [2, c4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;      // [pixels, c4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * groups.x + group.x) * 64u + thread;
  if (i >= params.pixels * params.c4) { return; }
  var value = x[params.x_first * params.c4 + i];
  if (NORM) {
    let c = i % params.c4;
    value = value * scale_shift[c] + scale_shift[params.c4 + c];
  }
  if (SILU) { value = value / (1.0 + exp(-clamp(value, vec4<f32>(-80.0), vec4<f32>(80.0)))); }
  y[params.y_first * params.c4 + i] = value;
}
`;const gn=k(`group_norm_partial`,pn),_n=k(`group_norm_finalise`,mn),vn=k(`copy_rows`,hn),yn=e=>Math.min(4096,Math.max(64,Math.ceil(e/1024)));function bn(e,t,n,r,i){let a=yn(n*i.reduce((e,t)=>e+t,0)),o=i.reduce((e,t)=>e+Math.ceil(t*n/a),0);return{partials:e.temp(`${t}.partials`,[o,3,B(r)]),chunk:a,chunks:o,used:0}}function xn(e,t,n,r,i){let[,a,o]=t.tensor.shape,s=(i-r)*a,c=Math.ceil(s/n.chunk);if(M(`group_norm_partial`,{partials:[n.partials,[n.chunks,3,o]]}),wn(`group_norm_partial`,t,r,i),n.used+c>n.chunks)throw new D(`TensorError`,`group_norm_partial ${t.tensor.label}: more bands than were announced`);e.dispatch(gn,{x:t.tensor,partials:n.partials},{grid:P(Math.ceil(c*o/4/64)),params:{first:(r-t.first)*a,pixels:s,chunk:n.chunk,chunk0:n.used,c4:o/4},flops:4*s*o}),n.used+=c}function Sn(e,t,n,r){let{chunks:i,used:a,partials:o}=t,s=n.weight.shape[0],c=B(s);if(M(`group_norm_finalise`,{weight:[n.weight,[s]],bias:[n.bias,[s]],partials:[o,[i,3,c]],scaleShift:[r,[2,c]]}),a!==i||s%n.groups!==0)throw new D(`TensorError`,`group_norm_finalise ${n.weight.label}: ${a} of ${i} chunks, ${s} channels in ${n.groups} groups`);e.dispatch(_n,{partials:o,gamma:n.weight,beta:n.bias,scale_shift:r},{grid:[n.groups],params:{chunks:i,channels:s,stride:c,groups:n.groups,eps:n.eps},flops:8*i*s})}function Cn(e,t,n,r){let{from:i,to:a,scaleShift:o,silu:s=!1}=r,[,c,l]=t.tensor.shape;M(`copy_rows`,{y:[n.tensor,[n.tensor.shape[0],c,l]],scaleShift:[o,[2,l]]}),wn(`copy_rows`,t,i,a),wn(`copy_rows`,n,i,a);let u=(a-i)*c;e.dispatch(vn,{x:t.tensor,scale_shift:o,y:n.tensor},{grid:P(Math.ceil(u*l/4/64)),constants:{NORM:Number(!!o),SILU:Number(s)},params:{x_first:(i-t.first)*c,y_first:(i-n.first)*c,pixels:u,c4:l/4},flops:(2*Number(!!o)+4*Number(s))*u*l})}function wn(e,{tensor:t,first:n},r,i){if(r<n||i>n+t.shape[0]||r>=i)throw new D(`TensorError`,`${e}: ${t.label} holds rows ${n} to ${n+t.shape[0]}, asked for ${r} to ${i}`)}var Tn=`// y[pixel, c] = latents[c, pixel] / scaling_factor + shift_factor: from the sampler's planes [C, h, w] to NHWC with the channels
// padded by zeros to a multiple of four. A thread makes one vec4. Bound: latency, latents are small.
struct Params { pixels: u32, channels: u32, scale: f32, shift: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> latents: array<f32>;           // [channels, pixels]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;     // [pixels, channels / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * groups.x + group.x) * 64u + thread;
  let c4 = (params.channels + 3u) >> 2u;
  if (i >= params.pixels * c4) { return; }
  let pixel = i / c4;
  let channel = (i % c4) * 4u;
  var value = vec4<f32>();
  for (var j = 0u; j < 4u; j++) {
    if (channel + j < params.channels) {
      value[j] = latents[(channel + j) * params.pixels + pixel] * params.scale + params.shift;
    }
  }
  y[i] = value;
}
`,En=`// image[c, row, column] = clamp(x[row, column, c] / 2 + 0.5, 0, 1) for the rows of one band: from NHWC to planes, and from the
// decoder's -1..1 to 0..1, as diffusers' VaeImageProcessor does. A clamp may hide NaN, so check x, not the image.
struct Params { first: u32, pixels: u32, image_pixels: u32, channels: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;                // [pixels, stored channels]
@group(0) @binding(2) var<storage, read_write> image: array<f32>;      // [channels, image_pixels]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let pixel = (group.y * groups.x + group.x) * 64u + thread;
  if (pixel >= params.pixels) { return; }
  let stored = (params.channels + 3u) & ~3u;
  for (var c = 0u; c < params.channels; c++) {
    image[c * params.image_pixels + params.first + pixel] = clamp(x[pixel * stored + c] * 0.5 + 0.5, 0.0, 1.0);
  }
}
`;const Dn=k(`latents_to_rows`,Tn),On=k(`rows_to_image`,En);function kn(e,t,n,r,i){let[a,o,s]=t.shape;M(`latents_to_rows`,{latents:[t,[a,o,s]],y:[n,[o,s,B(a)]]});let c=o*s;e.dispatch(Dn,{latents:t,y:n},{grid:P(Math.ceil(c*B(a)/4/64)),params:{pixels:c,channels:a,scale:r,shift:i}})}function An(e,t,n){let[r,i,a]=n.shape,o=t.tensor.shape[0];M(`rows_to_image`,{image:[n,[r,i,a]],x:[t.tensor,[o,a,B(r)]]}),e.dispatch(On,{x:t.tensor,image:n},{grid:P(Math.ceil(o*a/64)),params:{first:t.first*a,pixels:o*a,image_pixels:i*a,channels:r}})}function jn(e,t,n,r,i,a){let{channels:o,latentChannels:s,groups:c}=t,[l,u]=r.shape.slice(-2),d=Math.min(a.bandBytes??1/0,e.profile.limits.maxStorageBufferBindingSize),f=(e,t,r,i)=>({weight:n.get(`${e}.weight`,[r,i*i*B(t)]),bias:n.get(`${e}.bias`,[r])}),p=(e,t)=>({weight:n.get(`${e}.weight`,[t]),bias:n.get(`${e}.bias`,[t]),groups:c,eps:1e-6}),m=(t,n,r,i,a)=>({tensor:e.temp(t,[r-n,i,B(a)]),first:n}),h=m(`latents`,0,l,u,s);if(kn(e,xe(r,r.label,[s,l,u]),h.tensor,1/t.scalingFactor,t.shiftFactor),t.postQuantConv){let t=m(`post_quant`,0,l,u,s),{weight:n,bias:r}=f(`post_quant_conv`,s,s,1);H(e,h,n,t,{side:1,height:l,from:0,to:l,bias:r}),h=t}let g=m(`conv_in`,0,l,u,o[0]),_=f(`decoder.conv_in`,s,o[0],3);H(e,h,_.weight,g,{side:3,height:l,from:0,to:l,bias:_.bias});let v=Mn(t,l,u),y=v.map(()=>({})),b=[],x=({height:e,width:t,channels:n,inChannels:r})=>e*t*B(Math.max(n,r))*4<=d,S=(e,t,n)=>{let r=Math.max(8,Math.floor(d/(t*B(n)*4*4))),i=Math.ceil(e/r);return Array.from({length:i},(t,n)=>[Math.floor(e*n/i),Math.floor(e*(n+1)/i)])},C=(e,t,n)=>e===0?g:b[e-1]??ee(e-1,t,n),w=(t,n,r,i)=>{let a=v[t],[o,s]=V(r,i,a.height,3),c=m(`normed`,o,s,a.width,a.inChannels);Cn(e,n,c,{from:o,to:s,scaleShift:y[t].first,silu:!0});let l=m(`hidden`,r,i,a.width,a.channels),{weight:u,bias:d}=f(`${a.prefix}.conv1`,a.inChannels,a.channels,3);return H(e,c,u,l,{side:3,height:a.height,from:r,to:i,bias:d}),l},T=(t,n,r,i,a)=>{let{prefix:o,inChannels:s,channels:c,height:l,width:u}=v[t],[d,p]=V(i,a,l,3),h=m(`normed`,d,p,u,c);Cn(e,r,h,{from:d,to:p,scaleShift:y[t].second,silu:!0});let g=m(`y`,i,a,u,c),{weight:_,bias:b}=f(`${o}.conv2`,c,c,3);if(s===c)H(e,h,_,g,{side:3,height:l,from:i,to:a,bias:b,residual:n});else{let t=f(`${o}.conv_shortcut`,s,c,1);H(e,n,t.weight,g,{side:1,height:l,from:i,to:a,bias:t.bias}),H(e,h,_,g,{side:3,height:l,from:i,to:a,bias:b,residual:`y`})}return g},E=(t,n,r)=>{let{prefix:i,channels:a,height:o,width:s}=v[t],c=C(t,...V(n,r,o,3,!0)),l=m(`upsampled`,n,r,s,a),{weight:u,bias:d}=f(i,a,a,3);return H(e,c,u,l,{side:3,height:o,from:n,to:r,bias:d,upsample:!0}),l},ee=(e,t,n)=>{let r=v[e];if(r.kind===`upsample`)return E(e,t,n);let[i,a]=V(t,n,r.height,3),o=C(e,...V(i,a,r.height,3));return T(e,o,w(e,o,i,a),t,n)},D=(t,n,r,i,a)=>{let o=bn(e,`statistics`,n,r,i.map(([e,t])=>t-e));for(let[t,n]of i)xn(e,a(t,n),o,t,n);let s=e.temp(`scale_shift`,[2,B(r)]);return Sn(e,o,p(t,r),s),s},O=!1;v.forEach((r,i)=>{let{prefix:o,height:s,width:c,inChannels:l,channels:u}=r;e.scope(o,()=>{O||=!x(r);let d=O?S(s,c,Math.max(u,l)):[[0,s]];if(r.kind===`resnet`){y[i].first=D(`${o}.norm1`,c,l,d,(e,t)=>C(i,e,t));let e;y[i].second=D(`${o}.norm2`,c,u,d,(t,n)=>{let r=C(i,...V(t,n,s,3));return e=w(i,r,t,n)}),O||(b[i]=T(i,C(i,0,s),e,0,s))}else O||(b[i]=E(i,0,s));o===`decoder.mid_block.resnets.0`&&t.midAttention&&(b[i]=Nn(e,n,b[i],D,s,c,u)),r.stage&&b[i]&&a.onStage?.(b[i].tensor,r.stage)})}),e.scope(`decoder.conv_out`,()=>{let{height:n,width:r,channels:o}=v.at(-1),s=O?S(n,r,o):[[0,n]],c=D(`decoder.conv_norm_out`,r,o,s,(e,t)=>C(v.length,e,t)),{weight:l,bias:u}=f(`decoder.conv_out`,o,t.imageChannels,3);for(let[d,f]of s){let[s,p]=V(d,f,n,3),h=C(v.length,s,p),g=m(`normed`,s,p,r,o);Cn(e,h,g,{from:s,to:p,scaleShift:c,silu:!0});let _=m(`rgb`,d,f,r,t.imageChannels);H(e,g,l,_,{side:3,height:n,from:d,to:f,bias:u}),a.onStage?.(_.tensor,`output`),An(e,_,i)}})}function Mn({channels:e,resnetsPerBlock:t},n,r){let i=[],[a,o,s]=[n,r,e[0]];for(let e of[0,1]){let t=`decoder.mid_block.resnets.${e}`;i.push({kind:`resnet`,prefix:t,inChannels:s,channels:s,height:a,width:o,...e===1&&{stage:`mid block`}})}return e.forEach((n,r)=>{let c=r===e.length-1;for(let e=0;e<t;e++){let t=`decoder.up_blocks.${r}.resnets.${e}`;i.push({kind:`resnet`,prefix:t,inChannels:s,channels:n,height:a,width:o}),s=n}if(c)return;[a,o]=[2*a,2*o];let l=`decoder.up_blocks.${r}.upsamplers.0.conv`;i.push({kind:`upsample`,prefix:l,inChannels:n,channels:n,height:a,width:o,stage:`up block ${r}`})}),i}function Nn(e,t,n,r,i,a,o){let s=`decoder.mid_block.attentions.0`,{shape:c}=n.tensor,l=t=>e.temp(t,c),u=r(`${s}.group_norm`,a,o,[[0,i]],()=>n),d=l(`normed`);Cn(e,n,{tensor:d,first:0},{from:0,to:i,scaleShift:u});let[f,p,m,h,g]=[`q`,`k`,`v`,`mixed`,`y`].map(l);F(e,d,t.get(`${s}.to_qkv.weight`,[3*o,o]),[f,p,m],{bias:t.optional(`${s}.to_qkv.bias`)});let _=i*a;return qe(e,{q:f,k:p,v:m,y:h},{batch:1,heads:1,headDim:o,queries:_,keys:_}),F(e,h,t.get(`${s}.to_out.0.weight`,[o,o]),g,{bias:t.get(`${s}.to_out.0.bias`),residual:n.tensor}),{tensor:g,first:0}}var Pn=class{model;shape;#e=[];#t=[];#n;#r;#i;#a;#o;#s=[];#c;#l;#u;#d;#f;#p;#m;#h;#g;#_;#v=/* @__PURE__ */ new Float32Array(9);#y=Uint32Array.of(4294967295);constructor(e,t,n){this.model=e,this.shape=n;let{config:r,weights:i}=e.denoiser,a=n.height/8,o=n.width/8,s=(e,t,n=`f32`)=>{let r=j(e,t,n);return this.#t.push(r),r},c=[1,r.inChannels,a,o],l=a/r.patchSize,u=o/r.patchSize,d=n.guidanceMode===`batch`?n.halves:1;this.#n=s(`latents`,c),this.#r=s(`previous_x0`,c),this.#i=s(`step`,[9]),this.#a=s(`timestep`,[d,256]),this.#o=s(`flag`,[1],`u32`),this.#c=s(`column_table`,[u,r.width/2]),this.#l=s(`row_table`,[l,r.width/2]),this.#u=r.additionalConditions?s(`sizes`,[3,256]):void 0,this.#d=e.image&&s(`image`,[3,n.height,n.width]);let f=new N(`conditions`,t),p=new N(`step`,t),m=[];for(let e=0;e<n.halves;e+=d){let t=s(`embeds`,[d,n.textTokens,r.captionChannels]),a=$t(r,d,n.textTokens);this.#t.push(...en(a)),this.#s.push({embeds:t,mask:a.mask,half:e}),tn(f,r,i,t,this.#u,a);let o=p.temp(`output`,[d,...c.slice(1)]);rn(p,r,i,{latents:this.#n,step:this.#i,timestep:this.#a,columnTable:this.#c,rowTable:this.#l,conditions:a},o,(e,t)=>this.#b(p,t,`transformer block ${e} (${r.tokenMixers[e]})`)),this.#b(p,o,`the denoiser's output`),m.push(o)}let h=c.reduce((e,t)=>e*t,1);wt(p,{step:this.#i,unconditional:m[0],conditional:m.at(-1),latents:this.#n,previousX0:this.#r},m.length===1&&n.halves===2?h:0),this.#b(p,this.#n,`the sampler's update`);let g;e.image&&this.#d&&(g=new N(`decode`,t),jn(g,e.image.config,e.image.weights,this.#n,this.#d,{height:n.height,width:n.width,onStage:(e,t)=>this.#b(g,e,`image decoder ${t}`)})),this.#f={conditions:f,step:p,decode:g},this.#p=ct([f,p,...g?[g]:[]],this.#t)}get bytes(){return this.#p.bytes+this.#t.reduce((e,t)=>e+t.bytes,0)}get stepDispatches(){return this.#f.step.commands.length}async prepare(e){this.#m=e;try{await e.arena.allocate(this.#t),this.#g=await e.arena.workspace(this.#p);let{conditions:t,step:n,decode:r}=this.#f,[i,a,o]=await Promise.all([t,n,r].map(t=>t&&Ee.build(e,t)));this.#h={conditions:i,step:a,decode:o},this.#_=e.device.createBuffer({label:`flag staging`,size:16,usage:9});let[s,c]=[this.#c.shape[0],this.#l.shape[0]];if(e.write(this.#c,Ot(this.model.denoiser.config,s,c)),e.write(this.#l,Ot(this.model.denoiser.config,c,s)),this.#u){let{height:t,width:n}=this.shape;e.write(this.#u,kt([t,n,t/n]))}}catch(e){throw this.dispose(),e}}async setText(e,t){let n=this.#m,r=this.model.denoiser.config.captionChannels,i=this.shape.textTokens;for(let{embeds:t,mask:a,half:o}of this.#s){let s=t.shape[0],c=new Float32Array(s*i*r),l=new Float32Array(s*i);for(let t=0;t<s;t++){let n=e[o+t];c.set(n,t*i*r),l.fill(1,t*i,t*i+n.length/r)}n.write(t,c),n.write(a,l)}await this.#h.conditions.run(t)}start(e){this.#m.write(this.#n,e),this.#m.write(this.#r,new Float32Array(e.length))}embedTimesteps(e){let t=this.#a.shape[0];return e.steps.map(({timestep:e})=>kt(Array(t).fill(e)))}async step(e,t,n,r){let i=this.#m;i.write(this.#i,Fn(e,n,this.#v)),i.write(this.#a,t),i.write(this.#o,this.#y),await this.#h.step.run(r),await this.#x(),O(r)}async decode(e){let t=this.#m;if(!this.#h.decode||!this.#d)throw new D(`ModelConfigError`,`scanvas: this model has no vae`);return t.write(this.#o,this.#y),await this.#h.decode.run(e),await this.#x(),t.readF32(this.#d)}timeStep(){return this.#h.step.time()}readLatents(){return this.#m.readF32(this.#n)}readPrediction(){return this.#m.readF32(this.#r)}dispose(){for(let e of Object.values(this.#h??{}))e?.dispose();this.#h=void 0,this.#g?.(),this.#g=void 0,this.#_?.destroy(),this.#_=void 0,this.#m?.arena.release(this.#t)}#b(e,t,n){Tt(e,t,this.#o,this.#e.push(n)-1)}async#x(){let e=this.#m,t=this.#_,n=e.device.createCommandEncoder({label:`flag`});n.copyBufferToBuffer(this.#o.buffer,0,t,0,16),e.device.queue.submit([n.finish()]),await e.wait(t.mapAsync(1));let r=new Uint32Array(t.getMappedRange())[0];if(t.unmap(),r!==4294967295)throw new D(`NumericalError`,`scanvas: ${this.#e[r]} produced NaN or Inf; the picture is lost. Load the model with f32 weights and arithmetic; if that fails too, the weights are damaged`)}};function Fn(e,t,n){return n[0]=e.inputScale,n[1]=e.x0FromSample,n[2]=e.x0FromOutput,n[3]=e.x0Limit,n[4]=e.fromSample,n[5]=e.fromOutput,n[6]=e.fromX0,n[7]=e.fromPreviousX0,n[8]=t,n}var In=class{constructor(e){this.trie=this._build_trie(e)}_build_trie(e){let t=/* @__PURE__ */ Object.create(null);for(let n of e){let e=t;for(let t=0;t<n.length;++t){let r=n[t];e=e[r]??=/* @__PURE__ */ Object.create(null)}e.end=n}return t}split(e){let t=[],n=e.length,r=0,i=0;for(;i<n;){let a=this.trie,o=null,s=i;for(;s<n&&(a=a[e[s]]);)a.end&&(o=a.end),++s;o?(i>r&&t.push(e.slice(r,i)),t.push(o),i+=o.length,r=i):++i}return r<n&&t.push(e.slice(r)),t}},Ln=class{constructor(e){this.content=e.content,this.id=e.id,this.single_word=e.single_word??!1,this.lstrip=e.lstrip??!1,this.rstrip=e.rstrip??!1,this.special=e.special??!1,this.normalized=e.normalized??!this.special}},Rn=(e,t)=>{try{return new RegExp(e,t)}catch(n){if(!(n instanceof SyntaxError))throw n;let r=/* @__PURE__ */ new Map,i=e.replace(/(\\[pP])\{([^}=]+)\}/g,(t,n,i,a)=>{let o=0;for(let t=a-1;t>=0&&e[t]===`\\`;--t)++o;if(o%2==1)return t;let s=r.get(i);if(s===void 0){try{RegExp(`\\p{${i}}`,`u`),s=i}catch{s=`Script=${i}`}r.set(i,s)}return`${n}{${s}}`});if(i===e)throw n;try{return new RegExp(i,t)}catch{throw n}}},zn=e=>e.replace(/ \./g,`.`).replace(/ \?/g,`?`).replace(/ \!/g,`!`).replace(/ ,/g,`,`).replace(/ \' /g,`'`).replace(/ n't/g,`n't`).replace(/ 'm/g,`'m`).replace(/ 's/g,`'s`).replace(/ 've/g,`'ve`).replace(/ 're/g,`'re`),Bn=(e,t=!0)=>{if(e.Regex!==void 0)return Rn(Cr(dr(e.Regex)),`gu`);if(e.String!==void 0){let n=wr(e.String);return new RegExp(t?n:`(${n})`,`gu`)}return console.warn(`Unknown pattern type:`,e),null},Vn=`\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}`,Hn=`${Vn}\\u00B2\\u00B3\\u00B9\\u00BC-\\u00BE`,U=`[${Hn}]`,Un=`[^${Hn}]`,Wn=`(?:(?<!${U})(?=${U})|(?<=${U})(?!${U}))`,Gn=`(?:(?<!${U})(?!${U})|(?<=${U})(?=${U}))`,Kn=`(?:(?<![\\s\\S])|(?<=\\n))`,qn=`(?:(?=\\n)|(?![\\s\\S]))`,Jn=`0-9A-Fa-f`,Yn=/* @__PURE__ */ new Map([[`A`,`(?<![\\s\\S])`],[`z`,`(?![\\s\\S])`],[`Z`,`(?=\\n?(?![\\s\\S]))`],[`h`,`[${Jn}]`],[`H`,`[^${Jn}]`],[`w`,U],[`W`,Un],[`d`,`\\p{Nd}`],[`D`,`\\P{Nd}`],[`s`,`\\p{White_Space}`],[`S`,`\\P{White_Space}`],[`b`,Wn],[`B`,Gn],[`a`,`\\x07`],[`e`,`\\x1B`]]),Xn=/* @__PURE__ */ new Map([[`h`,Jn],[`w`,Vn],[`d`,`\\p{Nd}`],[`D`,`\\P{Nd}`],[`s`,`\\p{White_Space}`],[`S`,`\\P{White_Space}`],[`a`,`\\x07`],[`e`,`\\x1B`]]),Zn=/* @__PURE__ */ new Map([[`W`,`[^${Vn}]`],[`H`,`[^${Jn}]`]]),Qn=/* @__PURE__ */ new Map([[`
`,`\\n`],[`\r`,`\\r`],[`	`,`\\t`],[`\f`,`\\f`],[`\v`,`\\v`]]),$n=/* @__PURE__ */ new Map([[`alpha`,`\\p{Alphabetic}`],[`alnum`,`\\p{Alphabetic}\\p{Nd}`],[`digit`,`\\p{Nd}`],[`lower`,`\\p{Lowercase}`],[`upper`,`\\p{Uppercase}`],[`space`,`\\p{White_Space}`],[`blank`,`\\t\\p{Zs}`],[`punct`,`\\p{P}\\p{S}`],[`cntrl`,`\\p{Cc}`],[`word`,Vn],[`xdigit`,Jn]]),er=`^$\\.*+?()[]{}|/`,tr=/^\(\?(?:<[=!]|<[A-Za-z_][A-Za-z0-9_]*>|[:=!>])/,nr=/^\\([pPxu])\{([^}]*)\}/,rr=/^\{(\d+(?:,\d*)?|,\d+)\}/,ir=/^\[:(\^?)(\p{Alphabetic}+):\]/u,ar=/^\[:\^:\]/,or=/^\[(?:\.[^\]]*\.\]|=[^\]]*=\])/,sr=/^(?:\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\c[A-Za-z])/,cr=e=>e>=`A`&&e<=`Z`||e>=`a`&&e<=`z`,lr=(e,t)=>String.fromCodePoint(e.codePointAt(t)),ur=e=>{if(!/^[0-9A-Fa-f]{1,8}$/.test(e))return null;let t=Number.parseInt(e,16);if(t>127)return null;let n=String.fromCharCode(t);return cr(n)?`[${n.toLowerCase()}${n.toUpperCase()}]`:null},dr=e=>e.replace(/\[\^\(\\s\|\[([^\]]+)\]\)\]/g,`[^()|\\s$1]`),fr=`[\\s\\S]`,pr=256,mr=()=>({fragment:``,alternatives:[],tail:null,contains_complex_set:!1}),hr=e=>{throw SyntaxError(`Unsupported range with a set-valued character-class operand at index ${e}`)},gr=(e,t,n,r=!0)=>{e.tail===`range`&&hr(n),e.alternatives.push(t),e.tail=`set`,e.contains_complex_set=e.contains_complex_set||r},_r=(e,t,n=!1,r=-1)=>{n&&e.tail===`range`&&hr(r),e.tail===`range`?(e.fragment+=t,e.tail=`complete_range`):(e.fragment+=t,e.tail=n?`set`:`scalar`,e.contains_complex_set=e.contains_complex_set||n)},vr=(e,t,n)=>{let r=nr.exec(e.slice(t));if(r){let[e,i,a]=r;return i===`P`&&a===`Word`?gr(n,`[^${Vn}]`,t):_r(n,i===`x`?`\\u{${a}}`:i===`p`&&a===`Word`?Vn:e,i===`p`||i===`P`,t),t+e.length}let i=sr.exec(e.slice(t));if(i)return _r(n,i[0]),t+i[0].length;if(t+1>=e.length)throw SyntaxError(`Unterminated escape in character class at index ${t}`);let a=lr(e,t+1),o=t+1+a.length,s=Qn.get(a);if(s!==void 0)return _r(n,s),o;let c=Zn.get(a);if(c!==void 0)return gr(n,c,t),o;let l=Xn.get(a),u,d=!1;return l===void 0?u=/[A-Za-z0-9]/.test(a)||er.includes(a)||a===`-`?`\\${a}`:a:(u=l,d=a!==`a`&&a!==`e`),_r(n,u,d,t),o},yr=e=>e.length===1?e[0]:`(?:(?=(?:${e.join(`|`)}))${fr})`,br=e=>yr(e.fragment.length===0?e.alternatives:[`[${e.fragment}]`,...e.alternatives]),xr=e=>{let t=Rn(`^(?:${e})$`,`u`),n=``;for(let e=0;e<26;++e){let r=String.fromCharCode(65+e),i=String.fromCharCode(97+e),a=t.test(r);a!==t.test(i)&&(n+=a?i:r)}return n},Sr=(e,t,n,r=!0,i=1)=>{if(i>pr)throw SyntaxError(`Maximum character-class nesting depth of ${pr} exceeded at index ${t}`);let a=t+1,o=e[a]===`^`;o&&++a;let s=a,c=[mr()],l=c[0],u=!1;for(;a<e.length;){let d=lr(e,a);if(d===`\\`)a=vr(e,a,l);else{if(d===`]`){if(a===s){_r(l,`\\]`),++a;continue}if(l.tail===null)throw c.length>1?SyntaxError(`Malformed character-class intersection with an empty operand at index ${a}`):SyntaxError(`Empty character class at index ${t}`);let e=c.some(e=>e.contains_complex_set);if(o&&c.length>1&&u)throw SyntaxError(`Unsupported outer-negated character-class intersection with a nested negated class containing a Unicode property, POSIX class, or shorthand at index ${t}`);let i=br(c[0]),d=i;if(c.length>1){let e=``;for(let t=1;t<c.length;++t)e+=`(?=${br(c[t])})`;d=`(?:${e}${i})`}let f=c.length===1&&l.alternatives.length===0,p=l.fragment;if(n&&r){let e=xr(d);e.length>0&&(f?(p+=e,d=`[${p}]`):d=yr([d,`[${e}]`]))}return{atom:o?f?`[^${p}]`:`(?:(?!${d})${fr})`:d,end:a+1,negated:o,contains_complex_set:e,contains_nested_negated_complex_set:u}}if(e.startsWith(`&&`,a)){if(l.tail===null)throw SyntaxError(`Malformed character-class intersection with an empty operand at index ${a}`);l=mr(),c.push(l),a+=2}else if(d===`[`){let t=e.slice(a);if(ar.test(t))throw SyntaxError(`Malformed empty negated POSIX character class at index ${a}`);let r=ir.exec(t);if(r){let[,e,t]=r,i=$n.get(t);if(i===void 0)throw SyntaxError(`Unsupported POSIX character class "${t}" at index ${a}`);if(n&&e&&(t===`lower`||t===`upper`))throw SyntaxError(`Unsupported negated POSIX ${t} class inside an inline case-insensitive group`);e?gr(l,`[^${i}]`,a):_r(l,i,!0,a),a+=r[0].length;continue}if(or.test(t))throw SyntaxError(`Unsupported POSIX collating or equivalence bracket expression at index ${a}`);let o=Sr(e,a,n,!1,i+1);gr(l,o.atom,a,o.contains_complex_set),u||=o.contains_nested_negated_complex_set||o.negated&&o.contains_complex_set,a=o.end}else if(d===`-`){let t=e[a+1]===`]`||e.startsWith(`&&`,a+1);l.tail===`set`&&!t&&hr(a),l.tail===null||l.tail===`range`||l.tail===`complete_range`||t?_r(l,`\\-`):(l.fragment+=`-`,l.tail=`range`),++a}else _r(l,d===`^`&&l.fragment.length===0?`\\^`:d),a+=d.length}}throw SyntaxError(`${c.length>1?`Unterminated character-class intersection`:`Unterminated character class`} at index ${t}`)},Cr=e=>{let t=``,n=-1,r=!1,i=!1,a=[],o=e=>{n=t.length,t+=e,r=!1};for(let s=0;s<e.length;){let c=lr(e,s);if(c===`\\`){let n=nr.exec(e.slice(s));if(n){let[e,t,r]=n,a=e;if(t===`x`){let e=`\\u{${r}}`;a=i?ur(r)??e:e}else r===`Word`&&(a=t===`p`?U:Un);o(a),s+=e.length;continue}let r=sr.exec(e.slice(s));if(r){let e=r[0];o(i&&e[1]!==`c`?ur(e.slice(2))??e:e),s+=e.length;continue}if(s+1>=e.length){t+=c;break}let a=lr(e,s+1);if(s+=1+a.length,a===`G`)continue;let l=Qn.get(a);if(l!==void 0){o(l);continue}let u=Yn.get(a),d;d=u===void 0?/[A-Za-z0-9]/.test(a)||er.includes(a)?`\\${a}`:a:u,o(d)}else switch(c){case`[`:{let t=Sr(e,s,i);o(t.atom),s=t.end;continue}case`]`:o(`\\]`),++s;continue;case`.`:o(`[^\\n]`),++s;continue;case`^`:o(Kn),++s;continue;case`$`:o(qn),++s;continue;case`(`:{let n=e.startsWith(`(?i:`,s),o=n?`(?i:`:tr.exec(e.slice(s))?.[0]??`(`,c=n||o===`(?>`?`(?:`:o;a.push([t.length,i]),n&&(i=!0),t+=c,r=!1,s+=o.length;continue}case`)`:t+=c,[n,i]=a.pop()??[-1,!1],r=!1,++s;continue;case`|`:t+=c,n=-1,r=!1,++s;continue;case`{`:{let i=rr.exec(e.slice(s));if(!i||n<0){o(`\\{`),++s;continue}let a=i[1].startsWith(`,`)?`0${i[1]}`:i[1];s+=i[0].length;let c=e[s];c===`+`||c===`*`?(t=`${t.slice(0,n)}(?:${t.slice(n)}{${a}})${c}`,++s):t+=`{${a}}`,r=!0;continue}case`}`:o(`\\}`),++s;continue;case`+`:if(r){++s;continue}t+=c,r=!0,++s;continue;case`*`:case`?`:t+=c,r=!0,++s;continue;default:o(i&&cr(c)?`[${c.toLowerCase()}${c.toUpperCase()}]`:c),s+=c.length;continue}}return t},wr=e=>e.replace(/[.*+?^${}()|[\]\\]/g,`\\$&`),Tr=(e,t,n)=>{let r=[],i=0;for(;i<e.length;)if(r.push(e[i]),(t.get(e[i])??n)!==n)++i;else for(;++i<e.length&&(t.get(e[i])??n)===n;)t.get(r.at(-1))!==n&&(r[r.length-1]+=e[i]);return r},Er=e=>e>=19968&&e<=40959||e>=13312&&e<=19903||e>=131072&&e<=173791||e>=173824&&e<=177983||e>=177984&&e<=178207||e>=178208&&e<=183983||e>=63744&&e<=64255||e>=194560&&e<=195103,Dr=e=>Number.isInteger(e)||typeof e==`bigint`,Or=e=>{let t=0;for(let n of e)++t;return t},kr=e=>Mr(e.toLowerCase()),W=(...e)=>Array.prototype.concat.apply([],e),Ar=e=>new Map(Object.entries(e)),jr=(e,t)=>{let n=[],r=0;for(let i of e.matchAll(t)){let t=i[0];r<i.index&&n.push(e.slice(r,i.index)),t.length>0&&n.push(t),r=i.index+t.length}return r<e.length&&n.push(e.slice(r)),n},Mr=e=>e.replace(/\p{M}/gu,``),Nr=(e,t,n=[])=>{if(!e||Array.isArray(e)||typeof e!=`object`)return`${t} must be a valid object`;for(let r of n)if(!(r in e))return`${t} must contain a "${r}" property`;return null},Pr=e=>e.match(/\S+/g)||[],Fr=class{constructor(){let e=function(...t){return e._call(...t)};return Object.setPrototypeOf(e,new.target.prototype)}},Ir=class extends Fr{constructor(e){super(),this.config=e}_call(e){return this.normalize(e)}},Lr=class extends Ir{tokenize_chinese_chars(e){let t=[];for(let n=0;n<e.length;++n){let r=e[n];Er(r.charCodeAt(0))?(t.push(` `),t.push(r),t.push(` `)):t.push(r)}return t.join(``)}strip_accents(e){return e.normalize(`NFD`).replace(/\p{Mn}/gu,``)}is_control(e){switch(e){case`	`:case`
`:case`\r`:return!1;default:return/^\p{Cc}|\p{Cf}|\p{Co}|\p{Cs}$/u.test(e)}}clean_text(e){let t=[];for(let n of e){let e=n.charCodeAt(0);e===0||e===65533||this.is_control(n)||(/^\s$/.test(n)?t.push(` `):t.push(n))}return t.join(``)}normalize(e){return this.config.clean_text&&(e=this.clean_text(e)),this.config.handle_chinese_chars&&(e=this.tokenize_chinese_chars(e)),this.config.lowercase?(e=e.toLowerCase(),this.config.strip_accents!==!1&&(e=this.strip_accents(e))):this.config.strip_accents&&(e=this.strip_accents(e)),e}},Rr=class extends Ir{constructor(e){super(e),this.charsmap=e.precompiled_charsmap??null}normalize(e){return e=e.replace(/[\u0001-\u0008\u000B\u000E-\u001F\u007F\u008F\u009F]/gm,``),e=e.replace(/[\u0009\u000A\u000C\u000D\u00A0\u1680\u2000-\u200F\u2028\u2029\u202F\u205F\u2581\u3000\uFEFF\uFFFD]/gm,` `),e=e.includes(`～`)?e.split(`～`).map(e=>e.normalize(`NFKC`)).join(`～`):e.normalize(`NFKC`),e}},zr=class extends Ir{constructor(e){super(e),this.normalizers=(e.normalizers??[]).map(e=>Zr(e))}normalize(e){return this.normalizers.reduce((e,t)=>t?t.normalize(e):e,e)}},Br=class extends Ir{constructor(e){super(e),this.pattern=Bn(this.config.pattern??{})}normalize(e){return this.pattern===null?e:e.replaceAll(this.pattern,this.config.content??``)}},Vr=class extends Ir{constructor(){super(...arguments),this.form=`NFC`}normalize(e){return e=e.normalize(this.form),e}},Hr=class extends Vr{constructor(){super(...arguments),this.form=`NFC`}},Ur=class extends Vr{constructor(){super(...arguments),this.form=`NFD`}},Wr=class extends Vr{constructor(){super(...arguments),this.form=`NFKC`}},Gr=class extends Vr{constructor(){super(...arguments),this.form=`NFKD`}},Kr=class extends Ir{normalize(e){return this.config.strip_left&&this.config.strip_right?e=e.trim():(this.config.strip_left&&(e=e.trimStart()),this.config.strip_right&&(e=e.trimEnd())),e}},qr=class extends Ir{normalize(e){return Mr(e)}},Jr=class extends Ir{normalize(e){return e.toLowerCase()}},Yr=class extends Ir{normalize(e){return e=this.config.prepend+e,e}};function Xr(e){if(e===null)return null;switch(e.type){case`BertNormalizer`:return new Lr(e);case`Precompiled`:return new Rr(e);case`Sequence`:return new zr(e);case`Replace`:return new Br(e);case`NFC`:return new Hr(e);case`NFD`:return new Ur(e);case`NFKC`:return new Wr(e);case`NFKD`:return new Gr(e);case`Strip`:return new Kr(e);case`StripAccents`:return new qr(e);case`Lowercase`:return new Jr(e);case`Prepend`:return new Yr(e);default:throw Error(`Unknown Normalizer type: ${e.type}`)}}var Zr=Xr,G=class extends Fr{pre_tokenize(e,t){return(Array.isArray(e)?e.map(e=>this.pre_tokenize_text(e,t)):this.pre_tokenize_text(e,t)).flat()}_call(e,t){return this.pre_tokenize(e,t)}},Qr=(()=>{let e=[...Array.from({length:94},(e,t)=>t+33),...Array.from({length:12},(e,t)=>t+161),...Array.from({length:82},(e,t)=>t+174)],t=e.slice(),n=0;for(let r=0;r<256;++r)e.includes(r)||(e.push(r),t.push(256+n),n+=1);let r=t.map(e=>String.fromCharCode(e));return Object.fromEntries(e.map((e,t)=>[e,r[t]]))})(),$r=(e=>Object.fromEntries(Object.entries(e).map(([e,t])=>[t,e])))(Qr),ei=`\\p{P}\\u0021-\\u002F\\u003A-\\u0040\\u005B-\\u0060\\u007B-\\u007E`,ti=class extends G{constructor(e){super(),this.config=e,this.add_prefix_space=this.config.add_prefix_space??!1,this.trim_offsets=this.config.trim_offsets??!1,this.use_regex=this.config.use_regex??!0,this.pattern=/'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu,this.byte_encoder=Qr,this.text_encoder=new TextEncoder}pre_tokenize_text(e,t){return this.add_prefix_space&&!e.startsWith(` `)&&(e=` `+e),(this.use_regex?e.match(this.pattern)||[]:[e]).map(e=>Array.from(this.text_encoder.encode(e),e=>this.byte_encoder[e]).join(``))}},ni=class extends G{pre_tokenize_text(e,t){return e.match(/\w+|[^\w\s]+/g)||[]}},ri=class extends G{constructor(e){super(),this.replacement=e.replacement??`▁`,this.str_rep=e.str_rep||this.replacement,this.prepend_scheme=e.prepend_scheme??`always`}pre_tokenize_text(e,t){let{section_index:n=void 0}=t??{},r=e.replaceAll(` `,this.str_rep);return!r.startsWith(this.replacement)&&(this.prepend_scheme===`always`||this.prepend_scheme===`first`&&n===0)&&(r=this.str_rep+r),[r]}},ii=class extends G{constructor(e){super(),this.config=e,this.pattern=Bn(this.config.pattern??{},this.config.invert??!0)}pre_tokenize_text(e){return this.pattern===null?[]:this.config.invert?(e.match(this.pattern)||[]).filter(e=>e):this.config.behavior?.toLowerCase()===`removed`?e.split(this.pattern).filter(e=>e):jr(e,this.pattern)}},ai=class extends G{constructor(e){super(),this.config=e,this.pattern=RegExp(`[^${ei}]+|[${ei}]+`,`gu`)}pre_tokenize_text(e){return e.match(this.pattern)||[]}},oi=class extends G{constructor(e){super(),this.config=e;let t=`[^\\d]+|\\d${this.config.individual_digits?``:`+`}`;this.pattern=new RegExp(t,`gu`)}pre_tokenize_text(e){return e.match(this.pattern)||[]}},si=class extends G{constructor(){super(),this.pattern=RegExp(`[^\\s${ei}]+|[${ei}]`,`gu`)}pre_tokenize_text(e,t){return e.trim().match(this.pattern)||[]}},ci=class extends G{constructor(e){super(),this.config=e,this.pattern=Bn(this.config.pattern??{}),this.content=this.config.content??``}pre_tokenize_text(e){return this.pattern===null?[e]:[e.replaceAll(this.pattern,this.config.content??``)]}},li=class extends G{constructor(e){super(),this.tokenizers=(e.pretokenizers??[]).map(e=>pi(e))}pre_tokenize_text(e,t){return this.tokenizers.reduce((e,n)=>n?n.pre_tokenize(e,t):e,[e])}},ui=class extends G{pre_tokenize_text(e){return Pr(e)}},di=class extends G{constructor(e){super(),this.config=e,this._length=e.length}pre_tokenize_text(e){let t=[];for(let n=0;n<e.length;n+=this._length)t.push(e.slice(n,n+this._length));return t}};function fi(e){if(e===null)return null;switch(e.type){case`BertPreTokenizer`:return new si;case`Sequence`:return new li(e);case`Whitespace`:return new ni;case`WhitespaceSplit`:return new ui;case`Metaspace`:return new ri(e);case`ByteLevel`:return new ti(e);case`Split`:return new ii(e);case`Punctuation`:return new ai(e);case`Digits`:return new oi(e);case`Replace`:return new ci(e);case`FixedLength`:return new di(e);default:throw Error(`Unknown PreTokenizer type: ${e.type}`)}}var pi=fi,mi=class extends Fr{constructor(e){super(),this.config=e,this.vocab=[],this.tokens_to_ids=/* @__PURE__ */ new Map,this.unk_token_id=void 0,this.unk_token=void 0,this.end_of_word_suffix=void 0,this.fuse_unk=this.config.fuse_unk??!1}_call(e){let t=this.encode(e);return this.fuse_unk&&(t=Tr(t,this.tokens_to_ids,this.unk_token_id)),t}},hi=class extends mi{constructor(e){super(e),this.max_input_chars_per_word=100,this.tokens_to_ids=Ar(e.vocab),this.unk_token_id=this.tokens_to_ids.get(e.unk_token),this.unk_token=e.unk_token,this.max_input_chars_per_word=e.max_input_chars_per_word??100,this.vocab=Array(this.tokens_to_ids.size);for(let[e,t]of this.tokens_to_ids)this.vocab[t]=e}encode(e){let t=[];for(let n of e){let e=[...n];if(e.length>this.max_input_chars_per_word){t.push(this.unk_token);continue}let r=!1,i=0,a=[];for(;i<e.length;){let t=e.length,n=null;for(;i<t;){let r=e.slice(i,t).join(``);if(i>0&&(r=this.config.continuing_subword_prefix+r),this.tokens_to_ids.has(r)){n=r;break}--t}if(n===null){r=!0;break}a.push(n),i=t}r?t.push(this.unk_token):t.push(...a)}return t}},gi=class e{constructor(e,t){this.is_leaf=e,this.children=t}static default(){return new e(!1,/* @__PURE__ */ new Map)}},_i=class{constructor(){this.root=gi.default()}extend(e){for(let t of e)this.push(t)}push(e){let t=this.root;for(let n of e){let e=t.children.get(n);e===void 0&&(e=gi.default(),t.children.set(n,e)),t=e}t.is_leaf=!0}*common_prefix_search(e,t=0){let n=this.root;if(n===void 0)return;let r=``;for(let i=t;i<e.length;++i){let t=e[i];if(r+=t,n=n.children.get(t),n===void 0)return;n.is_leaf&&(yield r)}}},vi=class e{constructor(e,t,n,r,i){this.token_id=e,this.node_id=t,this.pos=n,this.length=r,this.score=i,this.prev=null,this.backtrace_score=0}clone(){let t=new e(this.token_id,this.node_id,this.pos,this.length,this.score);return t.prev=this.prev,t.backtrace_score=this.backtrace_score,t}},yi=class{constructor(e,t,n){this.chars=Array.from(e),this.len=this.chars.length,this.bos_token_id=t,this.eos_token_id=n,this.nodes=[],this.begin_nodes=Array.from({length:this.len+1},()=>[]),this.end_nodes=Array.from({length:this.len+1},()=>[]);let r=new vi(this.bos_token_id??0,0,0,0,0),i=new vi(this.eos_token_id??0,1,this.len,0,0);this.nodes.push(r.clone()),this.nodes.push(i.clone()),this.begin_nodes[this.len].push(i),this.end_nodes[0].push(r)}insert(e,t,n,r){let i=this.nodes.length,a=new vi(r,i,e,t,n);this.begin_nodes[e].push(a),this.end_nodes[e+t].push(a),this.nodes.push(a)}viterbi(){let e=this.len,t=0;for(;t<=e;){if(this.begin_nodes[t].length==0)return[];for(let e of this.begin_nodes[t]){e.prev=null;let n=0,r=null;for(let i of this.end_nodes[t]){let t=i.backtrace_score+e.score;(r===null||t>n)&&(r=i.clone(),n=t)}if(r!==null)e.prev=r,e.backtrace_score=n;else return[]}++t}let n=[],r=this.begin_nodes[e][0].prev;if(r===null)return[];let i=r.clone();for(;i.prev!==null;)n.push(i.clone()),i=i.clone().prev.clone();return n.reverse(),n}piece(e){return this.chars.slice(e.pos,e.pos+e.length).join(``)}tokens(){return this.viterbi().map(e=>this.piece(e))}token_ids(){return this.viterbi().map(e=>e.token_id)}};function bi(e){if(e.length===0)throw Error(`Array must not be empty`);let t=e[0],n=0;for(let r=1;r<e.length;++r)e[r]<t&&(t=e[r],n=r);return[t,n]}var xi=class extends mi{constructor(e,t){super(e);let n=e.vocab.length;this.vocab=Array(n),this.scores=Array(n);for(let t=0;t<n;++t)[this.vocab[t],this.scores[t]]=e.vocab[t];this.unk_token_id=e.unk_id,this.unk_token=this.vocab[e.unk_id],this.tokens_to_ids=new Map(this.vocab.map((e,t)=>[e,t])),this.bos_token=` `,this.bos_token_id=this.tokens_to_ids.get(this.bos_token),this.eos_token=t,this.eos_token_id=this.tokens_to_ids.get(this.eos_token),this.unk_token=this.vocab[this.unk_token_id],this.min_score=bi(this.scores)[0],this.unk_score=this.min_score-10,this.scores[this.unk_token_id]=this.unk_score,this.trie=new _i,this.trie.extend(this.vocab),this.fuse_unk=!0}populate_nodes(e){let t=e.chars,n=0;for(;n<t.length;){let r=!1,i=this.trie.common_prefix_search(t,n);for(let t of i){let i=this.tokens_to_ids.get(t),a=this.scores[i],o=Or(t);e.insert(n,o,a,i),!r&&o===1&&(r=!0)}r||e.insert(n,1,this.unk_score,this.unk_token_id),n+=1}}tokenize(e){let t=new yi(e,this.bos_token_id,this.eos_token_id);return this.populate_nodes(t),t.tokens()}encode(e){let t=[];for(let n of e){let e=this.tokenize(n);t.push(...e)}return t}},Si=class{constructor(e=(e,t)=>e>t,t=1/0){this._heap=[],this._comparator=e,this._max_size=t}get size(){return this._heap.length}is_empty(){return this.size===0}peek(){return this._heap[0]}push(...e){return this.extend(e)}extend(e){for(let t of e)if(this.size<this._max_size)this._heap.push(t),this._sift_up();else{let e=this._smallest();this._comparator(t,this._heap[e])&&(this._heap[e]=t,this._sift_up_from(e))}return this.size}pop(){let e=this.peek(),t=this.size-1;return t>0&&this._swap(0,t),this._heap.pop(),this._sift_down(),e}replace(e){let t=this.peek();return this._heap[0]=e,this._sift_down(),t}_parent(e){return(e+1>>>1)-1}_left(e){return(e<<1)+1}_right(e){return e+1<<1}_greater(e,t){return this._comparator(this._heap[e],this._heap[t])}_swap(e,t){let n=this._heap[e];this._heap[e]=this._heap[t],this._heap[t]=n}_sift_up(){this._sift_up_from(this.size-1)}_sift_up_from(e){for(;e>0&&this._greater(e,this._parent(e));)this._swap(e,this._parent(e)),e=this._parent(e)}_sift_down(){let e=0;for(;this._left(e)<this.size&&this._greater(this._left(e),e)||this._right(e)<this.size&&this._greater(this._right(e),e);){let t=this._right(e)<this.size&&this._greater(this._right(e),this._left(e))?this._right(e):this._left(e);this._swap(e,t),e=t}}_smallest(){return 2**Math.floor(Math.log2(this.size))-1}},Ci=class{constructor(e){this.capacity=e,this.cache=/* @__PURE__ */ new Map}get(e){if(!this.cache.has(e))return;let t=this.cache.get(e);return this.cache.delete(e),this.cache.set(e,t),t}put(e,t){this.cache.has(e)&&this.cache.delete(e),this.cache.set(e,t),this.cache.size>this.capacity&&this.cache.delete(this.cache.keys().next().value)}clear(){this.cache.clear()}},wi=class extends mi{constructor(e){super(e),this.tokens_to_ids=Ar(e.vocab),this.unk_token_id=this.tokens_to_ids.get(e.unk_token),this.unk_token=e.unk_token,this.vocab=Array(this.tokens_to_ids.size);for(let[e,t]of this.tokens_to_ids)this.vocab[t]=e;let t=Array.isArray(e.merges[0]);this.merges=t?e.merges:e.merges.map(e=>e.split(` `,2)),this.bpe_ranks=new Map(this.merges.map((e,t)=>[JSON.stringify(e),t])),this.end_of_word_suffix=e.end_of_word_suffix,this.continuing_subword_suffix=e.continuing_subword_suffix??null,this.byte_fallback=this.config.byte_fallback??!1,this.byte_fallback&&(this.text_encoder=new TextEncoder),this.ignore_merges=this.config.ignore_merges??!1,this.max_length_to_cache=256,this.cache_capacity=1e4,this.cache=new Ci(this.cache_capacity)}clear_cache(){this.cache.clear()}bpe(e){if(e.length===0)return[];let t=this.cache.get(e);if(t!==void 0)return t;let n=Array.from(e);this.end_of_word_suffix&&(n[n.length-1]+=this.end_of_word_suffix);let r=[];if(n.length>1){let e=new Si((e,t)=>e.score<t.score),t={token:n[0],bias:0,prev:null,next:null},i=t;for(let t=1;t<n.length;++t){let r={bias:t/n.length,token:n[t],prev:i,next:null};i.next=r,this.add_node(e,i),i=r}for(;!e.is_empty();){let n=e.pop();if(n.deleted||!n.next||n.next.deleted)continue;if(n.deleted=!0,n.next.deleted=!0,n.prev){let e={...n.prev};n.prev.deleted=!0,n.prev=e,e.prev?e.prev.next=e:t=e}let r={token:n.token+n.next.token,bias:n.bias,prev:n.prev,next:n.next.next};r.prev?(r.prev.next=r,this.add_node(e,r.prev)):t=r,r.next&&(r.next.prev=r,this.add_node(e,r))}for(let e=t;e!==null;e=e.next)r.push(e.token)}else r=n;if(this.continuing_subword_suffix)for(let e=0;e<r.length-1;++e)r[e]+=this.continuing_subword_suffix;return e.length<this.max_length_to_cache&&this.cache.put(e,r),r}add_node(e,t){let n=this.bpe_ranks.get(JSON.stringify([t.token,t.next.token]));n!==void 0&&(t.score=n+t.bias,e.push(t))}encode(e){let t=[];for(let n of e){if(this.ignore_merges&&this.tokens_to_ids.has(n)){t.push(n);continue}let e=this.bpe(n);for(let n of e)if(this.tokens_to_ids.has(n))t.push(n);else if(this.byte_fallback){let e=Array.from(this.text_encoder.encode(n)).map(e=>`<0x${e.toString(16).toUpperCase().padStart(2,`0`)}>`);e.every(e=>this.tokens_to_ids.has(e))?t.push(...e):this.unk_token!=null&&t.push(this.unk_token)}else this.unk_token!=null&&t.push(this.unk_token)}return t}},Ti=class extends mi{constructor(e,t){super(e);let n=e.vocab;this.tokens_to_ids=Ar(t.target_lang?n[t.target_lang]:n),this.bos_token=t.bos_token,this.bos_token_id=this.tokens_to_ids.get(this.bos_token),this.eos_token=t.eos_token,this.eos_token_id=this.tokens_to_ids.get(this.eos_token),this.pad_token=t.pad_token,this.pad_token_id=this.tokens_to_ids.get(this.pad_token),this.unk_token=t.unk_token,this.unk_token_id=this.tokens_to_ids.get(this.unk_token),this.vocab=Array(this.tokens_to_ids.size);for(let[e,t]of this.tokens_to_ids)this.vocab[t]=e}encode(e){return e}};function Ei(e,t){switch(e.type){case`WordPiece`:return new hi(e);case`Unigram`:return new xi(e,t.eos_token);case`BPE`:return new wi(e);default:if(e.vocab)return Array.isArray(e.vocab)?new xi(e,t.eos_token):Object.hasOwn(e,`continuing_subword_prefix`)&&Object.hasOwn(e,`unk_token`)?Object.hasOwn(e,`merges`)?new wi(e):new hi(e):new Ti(e,{target_lang:t.target_lang,bos_token:t.bos_token,eos_token:t.eos_token,pad_token:t.pad_token,unk_token:t.unk_token});throw Error(`Unknown TokenizerModel type: ${e?.type}`)}}var Di=Ei,Oi=class extends Fr{constructor(e){super(),this.config=e}_call(e,...t){return this.post_process(e,...t)}},ki=class extends Oi{post_process(e,t=null,n=!0){let r=t===null?this.config.single:this.config.pair,i=[],a=[];for(let o of r)`SpecialToken`in o?n&&(i.push(o.SpecialToken.id),a.push(o.SpecialToken.type_id)):`Sequence`in o&&(o.Sequence.id===`A`?(i=W(i,e),a=W(a,Array(e.length).fill(o.Sequence.type_id))):o.Sequence.id===`B`&&(i=W(i,t),a=W(a,Array(t.length).fill(o.Sequence.type_id))));return{tokens:i,token_type_ids:a}}},Ai=class extends Oi{post_process(e,t=null){return{tokens:e,tokens_pair:t}}},ji=class extends Oi{constructor(e){super(e),this.sep=e.sep,this.cls=e.cls}post_process(e,t=null,n=!0){n&&(e=W([this.cls[0]],e,[this.sep[0]]));let r=Array(e.length).fill(0);if(t){let i=[],a=n?[this.sep[0]]:[];e=W(e,i,t,a),r=W(r,Array(t.length+i.length+a.length).fill(1))}return{tokens:e,token_type_ids:r}}},Mi=class extends Oi{constructor(e){super(e),this.sep=e.sep,this.cls=e.cls}post_process(e,t,n=!0){n&&(e=W([this.cls[0]],e,[this.sep[0]]));let r=Array(e.length).fill(0);if(t){let i=n?[this.sep[0]]:[],a=n?[this.sep[0]]:[];e=W(e,i,t,a),r=W(r,Array(t.length+i.length+a.length).fill(1))}return{tokens:e,token_type_ids:r}}},Ni=class extends Oi{constructor(e){super(e),this.processors=(e.processors??[]).map(e=>Fi(e))}post_process(e,t=null,n=!0){let r={tokens:e,tokens_pair:t};for(let e of this.processors)r=e.post_process(r.tokens,r.tokens_pair,n);return r}};function Pi(e){if(e===null)return null;switch(e.type){case`TemplateProcessing`:return new ki(e);case`ByteLevel`:return new Ai(e);case`BertProcessing`:return new ji(e);case`RobertaProcessing`:return new Mi(e);case`Sequence`:return new Ni(e);default:throw Error(`Unknown PostProcessor type: ${e.type}`)}}var Fi=Pi,K=class extends Fr{constructor(e){super(),this.config=e,this.added_tokens=[],this.end_of_word_suffix=null,this.trim_offsets=`trim_offsets`in e&&e.trim_offsets}_call(e){return this.decode(e)}decode(e){return this.decode_chain(e).join(``)}},Ii=class extends K{constructor(e){super(e),this.byte_decoder=$r,this.text_decoder=new TextDecoder(`utf-8`,{fatal:!1,ignoreBOM:!0}),this.end_of_word_suffix=null}convert_tokens_to_string(e){let t=e.join(``),n=new Uint8Array([...t].map(e=>this.byte_decoder[e]));return this.text_decoder.decode(n)}decode_chain(e){let t=[],n=[];for(let r of e)this.added_tokens.find(e=>e.content===r)===void 0?n.push(r):(n.length>0&&(t.push(this.convert_tokens_to_string(n)),n=[]),t.push(r));return n.length>0&&t.push(this.convert_tokens_to_string(n)),t}},Li=class extends K{constructor(e){super(e),this.cleanup=e.cleanup}decode_chain(e){return e.map((e,t)=>{if(t!==0){let t=this.config.prefix;e=t&&e.startsWith(t)?e.replace(t,``):` `+e}return this.cleanup&&(e=zn(e)),e})}},Ri=class extends K{constructor(e){super(e),this.replacement=e.replacement??`▁`}decode_chain(e){let t=[];for(let n=0;n<e.length;++n){let r=e[n].replaceAll(this.replacement,` `);n==0&&r.startsWith(` `)&&(r=r.substring(1)),t.push(r)}return t}},zi=class extends K{constructor(e){super(e),this.suffix=e.suffix??``}decode_chain(e){return e.map((t,n)=>t.replaceAll(this.suffix,n===e.length-1?``:` `))}},Bi=class extends K{constructor(e){super(e),this.pad_token=e.pad_token??``,this.word_delimiter_token=e.word_delimiter_token??``,this.cleanup=e.cleanup}convert_tokens_to_string(e){if(e.length===0)return``;let t=[e[0]];for(let n=1;n<e.length;++n)e[n]!==t.at(-1)&&t.push(e[n]);let n=t.filter(e=>e!==this.pad_token).join(``);return this.cleanup&&(n=zn(n).replaceAll(this.word_delimiter_token,` `).trim()),n}decode_chain(e){return[this.convert_tokens_to_string(e)]}},Vi=class extends K{constructor(e){super(e),this.decoders=(e.decoders??[]).map(e=>qi(e))}decode_chain(e){return this.decoders.reduce((e,t)=>t.decode_chain(e),e)}},Hi=class extends K{constructor(e){super(e),this.pattern=Bn(this.config.pattern)}decode_chain(e){let t=this.config.content??``,n=this.pattern;return n===null?e:e.map(e=>e.replaceAll(n,t))}},Ui=class extends K{decode_chain(e){return[e.join(``)]}},Wi=class extends K{constructor(e){super(e),this.content=e.content??``,this.start=e.start??0,this.stop=e.stop??0}decode_chain(e){return e.map(e=>{let t=0;for(let n=0;n<this.start&&e[n]===this.content;++n)t=n+1;let n=e.length;for(let t=0;t<this.stop;++t){let r=e.length-t-1;if(e[r]===this.content)n=r;else break}return e.slice(t,n)})}},Gi=class extends K{constructor(e){super(e),this.text_decoder=new TextDecoder}decode_chain(e){let t=[],n=[];for(let r of e){let e=null;if(r.length===6&&r.startsWith(`<0x`)&&r.endsWith(`>`)){let t=parseInt(r.slice(3,5),16);isNaN(t)||(e=t)}if(e!==null)n.push(e);else{if(n.length>0){let e=this.text_decoder.decode(Uint8Array.from(n));t.push(e),n=[]}t.push(r)}}if(n.length>0){let e=this.text_decoder.decode(Uint8Array.from(n));t.push(e),n=[]}return t}};function Ki(e){if(e===null)return null;switch(e.type){case`ByteLevel`:return new Ii(e);case`WordPiece`:return new Li(e);case`Metaspace`:return new Ri(e);case`BPEDecoder`:return new zi(e);case`CTC`:return new Bi(e);case`Sequence`:return new Vi(e);case`Replace`:return new Hi(e);case`Fuse`:return new Ui(e);case`Strip`:return new Wi(e);case`ByteFallback`:return new Gi(e);default:throw Error(`Unknown Decoder type: ${e.type}`)}}var qi=Ki,Ji=class{constructor(e,t){let n=Nr(e,`Tokenizer`,[`model`,`decoder`,`post_processor`,`pre_tokenizer`,`normalizer`]);if(n)throw Error(n);let r=Nr(t,`Config`);if(r)throw Error(r);this.tokenizer=e,this.config=t,this.normalizer=Zr(this.tokenizer.normalizer),this.pre_tokenizer=pi(this.tokenizer.pre_tokenizer),this.model=Di(this.tokenizer.model,this.config),this.post_processor=Fi(this.tokenizer.post_processor),this.decoder=qi(this.tokenizer.decoder),this.special_tokens=[],this.all_special_ids=[],this.added_tokens=[];let i=[],a=[];this.added_tokens_map=/* @__PURE__ */ new Map;for(let e of this.tokenizer.added_tokens){let t=new Ln(e);if(this.added_tokens.push(t),this.model.tokens_to_ids.set(t.content,t.id),this.model.vocab[t.id]=t.content,t.special&&(this.special_tokens.push(t.content),this.all_special_ids.push(t.id)),this.added_tokens_map.set(t.content,t),t.normalized&&this.normalizer!==null){let e=this.normalizer(t.content);a.push(e),this.added_tokens_map.set(e,t)}else i.push(t.content)}(this.config.additional_special_tokens??[]).forEach(e=>{this.special_tokens.includes(e)||this.special_tokens.push(e)}),this.decoder&&(this.decoder.added_tokens=this.added_tokens,this.decoder.end_of_word_suffix=this.model.end_of_word_suffix),this.splitter_unnormalized=new In(i),this.splitter_normalized=new In(a),this.remove_space=this.config.remove_space,this.clean_up_tokenization_spaces=this.config.clean_up_tokenization_spaces??!0,this.do_lowercase_and_remove_accent=this.config.do_lowercase_and_remove_accent??!1}encode(e,{text_pair:t=null,add_special_tokens:n=!0,return_token_type_ids:r=null}={}){let{tokens:i,token_type_ids:a}=this.tokenize_helper(e,{text_pair:t,add_special_tokens:n}),o=i.map(e=>this.added_tokens_map.get(e)?.id??this.model.tokens_to_ids.get(e)??this.model.unk_token_id),s={ids:o,tokens:i,attention_mask:Array(o.length).fill(1)};return r&&a&&(s.token_type_ids=a),s}decode(e,t={}){if(!Array.isArray(e)||e.length===0||!Dr(e[0]))throw Error(`token_ids must be a non-empty array of integers.`);let n=e.map(e=>this.model.vocab[Number(e)]??this.model.unk_token);t.skip_special_tokens&&(n=n.filter(e=>!this.special_tokens.includes(e)));let r=this.decoder?this.decoder(n):n.join(` `);return this.decoder&&this.decoder.end_of_word_suffix&&(r=r.replaceAll(this.decoder.end_of_word_suffix,` `),t.skip_special_tokens&&(r=r.trim())),(t.clean_up_tokenization_spaces??this.clean_up_tokenization_spaces)&&(r=zn(r)),r}tokenize(e,{text_pair:t=null,add_special_tokens:n=!1}={}){return this.tokenize_helper(e,{text_pair:t,add_special_tokens:n}).tokens}encode_text(e){if(e===null)return null;let t=this.splitter_unnormalized.split(e);return t.forEach((e,n)=>{let r=this.added_tokens_map.get(e);r&&(r.lstrip&&n>0&&(t[n-1]=t[n-1].trimEnd()),r.rstrip&&n<t.length-1&&(t[n+1]=t[n+1].trimStart()))}),t.flatMap((e,t)=>{if(e.length===0)return[];if(this.added_tokens_map.has(e))return[e];if(this.remove_space===!0&&(e=e.trim().split(/\s+/).join(` `)),this.do_lowercase_and_remove_accent&&(e=kr(e)),this.normalizer!==null&&(e=this.normalizer(e)),e.length===0)return[];let n=this.splitter_normalized.split(e);return n.forEach((e,t)=>{let r=this.added_tokens_map.get(e);r&&(r.lstrip&&t>0&&(n[t-1]=n[t-1].trimEnd()),r.rstrip&&t<n.length-1&&(n[t+1]=n[t+1].trimStart()))}),n.flatMap(e=>{if(e.length===0)return[];if(this.added_tokens_map.has(e))return[e];let n=this.pre_tokenizer===null?[e]:this.pre_tokenizer(e,{section_index:t});return this.model(n)})})}tokenize_helper(e,{text_pair:t=null,add_special_tokens:n=!0}){let r=this.encode_text(e),i=this.encode_text(t||null);return this.post_processor?this.post_processor(r,i,n):{tokens:W(r??[],i??[])}}token_to_id(e){return this.model.tokens_to_ids.get(e)}id_to_token(e){return this.model.vocab[e]}get_added_tokens_decoder(){let e=/* @__PURE__ */ new Map;for(let t of this.added_tokens)e.set(t.id,t);return e}get_vocab(e=!0){let t=/* @__PURE__ */ new Map;for(let n=0;n<this.model.vocab.length;++n){let r=this.model.vocab[n];(e||!this.added_tokens_map.has(r))&&t.set(r,n)}return t}};function Yi(e){let{trie:t,replacements:n}=Xi(e),r=new Intl.Segmenter(`en`,{granularity:`grapheme`}),i=new TextEncoder,a=new TextDecoder,o=/* @__PURE__ */ new Map,s=e=>{if(!o.has(e)){let r=Zi(t,i.encode(e));o.set(e,r===void 0?void 0:a.decode(Qi(n,r)))}return o.get(e)},c=e=>/^\p{ASCII}*$/u.test(e)?e.match(/\r\n|\p{ASCII}/gu)??[]:Array.from(r.segment(e),e=>e.segment);return e=>{let t=``;for(let n of c(e)){let e=i.encode(n).length<6?s(n):void 0;if(e!==void 0)t+=e;else for(let e of n)t+=s(e)??e}return t}}function Xi(e){let t=(e,t)=>new D(`FormatError`,`tokenizer.json: precompiled_charsmap is broken: ${e}`,{cause:t}),n;try{n=Uint8Array.from(atob(e),e=>e.charCodeAt(0))}catch(e){throw t(`not base64`,e)}let r=new DataView(n.buffer),i=n.length>=4?r.getUint32(0,!0):0;if(i===0||i%4!=0||4+i>n.length)throw t(`a trie of ${i} bytes in ${n.length}`);return{trie:Uint32Array.from({length:i/4},(e,t)=>r.getUint32(4+4*t,!0)),replacements:n.subarray(4+i)}}function Zi(e,t){let n=e=>e>>>10<<((e&512)>>>6),r=n(e[0]);for(let i of t){if(i===0)return;r^=i;let t=e[r];if(t===void 0||(t&2147483903)>>>0!==i)return;if(r^=n(t),t&256)return e[r]&2147483647}}function Qi(e,t){let n=e.indexOf(0,t);return e.subarray(t,n<0?e.length:n)}const $i=2e4;function ea(e,t){let n=ua(e,`tokenizer.json`),r=ua(t,`tokenizer_config.json`),i=aa(n),a=[`T5Tokenizer`,`T5TokenizerFast`].includes(r.tokenizer_class??`T5Tokenizer`),o=a?oa(n.normalizer):ca(n.normalizer),s=la(r.eos_token)??`</s>`,c=ra(n,a?na:n.pre_tokenizer,s);c.normalizer=e=>o(e).slice(0,$i),ia(c.model);let l=c.token_to_id(s);if(l===void 0)throw new D(`ModelConfigError`,`tokenizer.json: has no token ${s}`);return{vocabSize:i,tokenize(e,t){if(typeof e!=`string`)throw new D(`InvalidArgumentError`,`prompt: got ${typeof e}, expected a string`);if(!Number.isInteger(t)||t<1)throw new D(`InvalidArgumentError`,`maxLength: got ${t}, expected a positive integer`);let n=ta(e),r=c.encode(n,{add_special_tokens:!1}).ids,a=e.length>$i||r.length+1>t,o=Int32Array.of(...r.slice(0,t-1),l);for(let[e,t]of o.entries())if(!(t>=0&&t<i&&(t===l||t===r[e])))throw new D(`FormatError`,`tokenizer.json: token ${e} became ${String(r[e])}, expected 0..${i-1}`);return{ids:o,truncated:a,text:n}}}}function ta(e){let t=[...e.slice(0,$i).replace(/\p{Surrogate}/gu,`�`).toLowerCase()],n=e=>/\p{White_Space}/u.test(e)||e>=``&&e<=``,[r,i]=[0,t.length];for(;r<i&&n(t[r]);)r++;for(;r<i&&n(t[i-1]);)i--;return t.slice(r,i).join(``)}const na={type:`Sequence`,pretokenizers:[{type:`Split`,pattern:{Regex:`\\s+`},behavior:`Removed`,invert:!1},{type:`Metaspace`,replacement:`▁`,prepend_scheme:`always`,split:!0},{type:`Split`,pattern:{Regex:`▁?[^▁]*`},behavior:`Removed`,invert:!0}]};function ra(e,t,n){let r={...e,normalizer:null,pre_tokenizer:t??null,post_processor:null,decoder:null};try{return new Ji({added_tokens:[],...r},{eos_token:n})}catch(e){throw new D(`ModelConfigError`,`tokenizer.json: ${e.message}`,{cause:e})}}function ia(e){let t=e.encode.bind(e),n=t=>(e.tokens_to_ids.get(t)??e.unk_token_id)===e.unk_token_id;e.fuse_unk=!1,e.encode=e=>e.flatMap(e=>{let r=t([e]);return r.filter((e,t)=>t===0||!n(e)||!n(r[t-1]))})}function aa(e){let t=ua(e.model,`tokenizer.json: model`);if(t.type!==`Unigram`)throw new D(`ModelConfigError`,`tokenizer.json: got a ${String(t.type)} model, expected Unigram (T5)`);let n=t.vocab;if(!Array.isArray(n)||n.length===0||!n.every(e=>Array.isArray(e)&&typeof e[0]==`string`&&Number.isFinite(e[1])))throw new D(`FormatError`,`tokenizer.json: model.vocab is not a list of [token, score]`);let r=t.unk_id;if(!Number.isInteger(r)||r<0||r>=n.length)throw new D(`FormatError`,`tokenizer.json: model.unk_id is ${String(r)}, expected 0..${n.length-1}`);let i=Array.isArray(e.added_tokens)?e.added_tokens:[];for(let e of i)if(!(Number.isInteger(e.id)&&e.id>=0&&typeof e.content==`string`))throw new D(`FormatError`,`tokenizer.json: added token ${JSON.stringify(e)} has no id or content`);return Math.max(n.length,...i.map(e=>Number(e.id)+1))}function oa(e){let t=(e?.type===`Sequence`?e.normalizers:[e]).find(e=>e?.type===`Precompiled`);return t?ca(t):e=>e}const sa=/* @__PURE__ */ new Map([[`NFC`,Hr],[`NFD`,Ur],[`NFKC`,Wr],[`NFKD`,Gr],[`Lowercase`,Jr],[`Replace`,Br],[`Strip`,Kr]]);function ca(e){if(e==null)return e=>e;let t=ua(e,`tokenizer.json: normalizer`);if(t.type===`Sequence`&&Array.isArray(t.normalizers)){let e=t.normalizers.map(ca);return t=>e.reduce((e,t)=>t(e),t)}if(t.type===`Precompiled`)return t.precompiled_charsmap?Yi(t.precompiled_charsmap):e=>e;let n=sa.get(t.type);if(n===void 0){let e=[...sa.keys(),`Precompiled`,`Sequence`].join(`, `);throw new D(`ModelConfigError`,`tokenizer.json: normalizer: got ${String(t.type)}, supported: ${e}`)}let r=new n(t);return e=>r.normalize(e)}function la(e){if(typeof e==`string`)return e;let t=e?.content;return typeof t==`string`?t:void 0}function ua(e,t){if(typeof e==`object`&&e&&!Array.isArray(e))return e;throw new D(`FormatError`,`${t}: got ${e===null?`null`:typeof e}, expected a JSON object`)}var da=class extends Error{error;status;wait;constructor(e,t=0,n=0){super(e.message),this.error=e,this.status=t,this.wait=n}};async function fa(e,t,n,r=()=>0){let i=e,a=!1,o=0;for(let s=1;;s++){O(t.signal);try{return await n(i)}catch(n){if(O(t.signal),!(n instanceof da))throw n;if(n.status===401||n.status===403){if(a)throw n.error;a=!0,i=await t.resolveUrl?.(e)??e}if(r()>=o+1/16&&(s=1,o=r()),s>=6)throw n.error;let c=(t.retryDelay??500)*2**(s-1);await ba(n.wait||c*(.75+Math.random()/2),t.signal)}}}var pa=class{position;end;line;spare=/* @__PURE__ */ new Uint8Array;reader;constructor(e,t,n,r){this.position=e,this.end=t,this.line=r,this.reader=n.body?.getReader()}async next(e){try{for(;!this.spare.length;){this.line.alive();let{done:e,value:t}=await this.reader?.read()??{done:!0};if(e)break;this.spare=t}this.line.rest()}catch(e){this.line.fail(e)}let t=this.spare.subarray(0,e);return this.spare=this.spare.subarray(t.length),this.position+=t.length,t}async skipTo(e){for(;this.position<e&&(await this.next(e-this.position)).length;);}close(){let e=()=>this.line.close();if(!this.reader||this.position<this.end)return e();this.line.alive(),this.reader.read().then(e,e)}};async function ma(e,t,n){let r=new ha(e,n);r.alive();try{let i=await(n.fetch??fetch)(e,{cache:`no-store`,...t,signal:r.signal});return ga(i,e),r.rest(),{response:i,line:r}}catch(e){return r.fail(e)}}var ha=class{url;options;controller=new AbortController;signal=this.controller.signal;timer;patience;cancel=()=>this.controller.abort(/* @__PURE__ */ Error(`no byte for ${this.patience} ms`));constructor(e,t){this.url=e,this.options=t,this.patience=t.idleTimeout??3e4,t.signal?.addEventListener(`abort`,this.cancel),t.signal?.aborted&&this.cancel()}alive(){clearTimeout(this.timer),this.timer=setTimeout(this.cancel,this.patience)}rest(){clearTimeout(this.timer)}close(){this.rest(),this.options.signal?.removeEventListener(`abort`,this.cancel),this.controller.abort()}fail(e){if(this.close(),e instanceof D||e instanceof da)throw e;let t=e instanceof Error?e.message:String(e);throw new da(new D(`NetworkError`,`${this.url}: ${t}; check the connection`,{cause:e??t}))}};function ga(e,t){let{status:n}=e;if(t.startsWith(`https:`)&&e.url.startsWith(`http:`))throw new D(`NetworkError`,`${t} redirects to an unencrypted address`);if(!e.ok){let r=new D(`NetworkError`,`${t}: HTTP ${n} ${e.statusText}`.trimEnd());throw[401,403,408,416,429].includes(n)||n>=500?new da(r,n,_a(e.headers.get(`retry-after`))):r}if(/^text\/html\b/i.test(e.headers.get(`content-type`)??``))throw va(t)}function _a(e){if(!e)return 0;let t=Number(e),n=Number.isNaN(t)?Date.parse(e)-Date.now():t*1e3;return Math.min(Math.max(n||0,0),6e4)}function va(e){return new D(`FormatError`,`got a web page, not model files: ${e}; check the address and the server`)}function ya(e,t){let n=new TextDecoder(`latin1`).decode(e.subarray(0,64)).trimStart().toLowerCase();if(n.startsWith(`<!doctype html`)||n.startsWith(`<html`))throw va(t);if(n.startsWith(`version https://git-lfs`))throw new D(`FormatError`,`${t} is a Git LFS pointer, not the file; run "git lfs pull" on the server`)}function ba(e,t){return new Promise(n=>{let r=()=>{clearTimeout(i),t?.removeEventListener(`abort`,r),n()},i=setTimeout(r,e);t?.addEventListener(`abort`,r)})}function xa(e){let t=globalThis.location?.href,n;try{n=new URL(e,t)}catch{}if(!n||!/^https?:$/.test(n.protocol))throw new D(`InvalidArgumentError`,`model URL "${e}" is not an http(s) address`);return n.pathname=n.pathname.replace(/(\/manifest\.json|\/?)$/,`/`),n.hash=``,n}function Sa(e,t){let n=new URL(t,e);if(n.origin!==e.origin||!n.pathname.startsWith(e.pathname))throw new D(`FormatError`,`the file "${t}" lies outside the model's folder ${e.href}`);return n.search=e.search,n.href}var Ca=class{options;ranges;pioneer;validators=/* @__PURE__ */ new Map;previous=/* @__PURE__ */ new Map;answers=/* @__PURE__ */ new Map;constructor(e){this.options=e}fetch(e,t,n=()=>{}){let r=this.fill(e,t,n,this.previous.get(e.url));return this.previous.set(e.url,r.catch(()=>{})),r}close(){for(let e of this.answers.values())e.close();this.answers.clear()}async fill(e,t,n,r){let i=0,a=0,o=()=>{n(-i),i=0};await fa(e.url,this.options,async s=>{let c=e.begin>0||e.end<e.fileBytes;for(;c&&this.ranges===void 0&&this.pioneer;)await this.pioneer;c&&this.ranges===!1&&await r;let l=()=>new da(new D(`TruncatedError`,`${e.url} ended after ${e.begin+i} of ${e.fileBytes} bytes`)),u=await this.answerFrom(e,e.begin+i,s).catch(e=>{if(!(e instanceof da)||e.status!==416)throw e;let t=l();throw o(),t});try{u.position<=e.begin&&o(),await u.skipTo(e.begin+i);let r=u.position<e.begin+i;for(;!r&&i<t.length;){let e=await u.next(t.length-i);t.set(e,i),i+=e.length,n(e.length),r=e.length===0}if(e.begin===0&&ya(t.subarray(0,i),e.url),r)throw l();await Ea(t,e.sha256,e.url)}catch(e){throw u.close(),!(e instanceof D)||e.name!==`IntegrityError`||(o(),++a>1)?e:new da(e)}this.keep(e,u)},()=>i/t.length)}async answerFrom(e,t,n){let r=this.answers.get(e.url);if(this.answers.delete(e.url),r&&r.position<=t)return r;if(r?.close(),t===0&&e.end===e.fileBytes)return this.whole(e,n);let i=this.ranged(e,t,n);if(this.ranges===void 0){let e=()=>this.pioneer=void 0;this.pioneer=i.then(e,e)}return i}async whole(e,t){let{response:n,line:r}=await ma(t,{},this.options);return this.remember(e.url,n),new pa(0,e.end,n,r)}async ranged(e,t,n){let r={Range:`bytes=${t}-${e.end-1}`},i=this.validators.get(e.url);i&&wa(n)&&(r[`If-Range`]=i);let{response:a,line:o}=await ma(n,{headers:r},this.options),s=n=>new da(new D(`NetworkError`,`${e.url}: the host answered with ${n}, not from ${t}`)),c=this.ranges;if(this.ranges=a.status===206,this.ranges){this.remember(e.url,a);let n=/^bytes (\d+)-/.exec(a.headers.get(`content-range`)??``)?.[1],r=Number(n??t);return r<=t?new pa(r,e.end,a,o):o.fail(s(`bytes from ${r}`))}return this.validators.set(e.url,``),c&&t>0?o.fail(s(`the whole file`)):new pa(0,e.fileBytes,a,o)}remember(e,{headers:t}){if(this.validators.has(e))return;let n=t.get(`etag`)??``,r=n.startsWith(`"`)?n:``;this.validators.set(e,r||(n?``:t.get(`last-modified`)??``))}keep(e,t){if(t.position>=t.end)return t.close();if(this.answers.set(e.url,t),this.answers.size<=2)return;let[n,r]=this.answers.entries().next().value;this.answers.delete(n),r.close()}};function wa(e){let t=globalThis.location;return!t||new URL(e).origin===t.origin}async function Ta(e){let{subtle:t}=globalThis.crypto;if(!t)throw new D(`WebGPUUnavailableError`,`scanvas needs a secure context: use https or localhost`);let n=new Uint8Array(await t.digest(`SHA-256`,e));return Array.from(n,e=>e.toString(16).padStart(2,`0`)).join(``)}async function Ea(e,t,n){let r=await Ta(e);if(r!==t.toLowerCase())throw new D(`IntegrityError`,`${n}: got SHA-256 ${r}, expected ${t}; the file was changed or damaged`)}const Da={BOOL:1,U8:1,I8:1,F8_E4M3:1,F8_E5M2:1,U16:2,I16:2,F16:2,BF16:2,U32:4,I32:4,F32:4,U64:8,I64:8,F64:8};function q(e,t){throw new D(`FormatError`,`${e} is not a valid safetensors file: ${t}`)}function Oa(e,t,n=`file`){if(e.length<8||t<8)throw new D(`TruncatedError`,`${n}: got ${t} bytes, a safetensors file has at least 8`);let r=new DataView(e.buffer,e.byteOffset,8),i=r.getUint32(0,!0)+r.getUint32(4,!0)*2**32;if(i>1e8&&q(n,`header length ${i} is over 100000000`),8+i>t)throw new D(`TruncatedError`,`${n}: header ends at ${8+i}, file at ${t}`);return i}function ka(e,t,n=`file`){e[0]!==123&&q(n,`the header does not start with {`);let r;try{r=new TextDecoder(`utf-8`,{fatal:!0,ignoreBOM:!0}).decode(e)}catch{q(n,`the header is not UTF-8`)}Pa(r,n);let i=Na(r,n),a=/* @__PURE__ */ new Map,o=[],s=8+e.length;for(let[e,t]of Object.entries(i))if(/\p{Surrogate}/u.test(e)&&q(n,`a name is not valid Unicode`),e===`__metadata__`){Aa(t)||q(n,`__metadata__ is not an object`);for(let[e,r]of Object.entries(t))typeof r!=`string`&&q(n,`a __metadata__ value is not a string`),a.set(e,r)}else e.length>256&&q(n,`a tensor name has ${e.length} characters`),o.push([e,Ma(t,s,`${n}, tensor "${e}"`)]);o.sort(([,e],[,t])=>e.begin-t.begin||e.end-t.end);let c=s;for(let[e,t]of o)t.begin!==c&&q(n,`tensor "${e}" starts at ${t.begin}, expected ${c} (hole or overlap)`),c=t.end;if(c>t)throw new D(`TruncatedError`,`${n}: tensors end at ${c}, the file has ${t} bytes`);return c<t&&q(n,`${t-c} bytes follow the last tensor`),{tensors:new Map(o),metadata:a,dataStart:s}}function Aa(e){return typeof e==`object`&&!!e&&!Array.isArray(e)}function ja(e){return typeof e==`number`&&Number.isSafeInteger(e)&&e>=0}function Ma(e,t,n){Aa(e)||q(n,`its entry is not an object`);let{dtype:r,shape:i,data_offsets:a}=e;typeof r==`string`&&Object.hasOwn(Da,r)||q(n,`unknown dtype ${String(r)}`),Array.isArray(i)&&i.every(ja)||q(n,`shape is not a list of sizes`),Array.isArray(a)&&a.length===2&&a.every(ja)||q(n,`bad data_offsets`);let o=Da[r];for(let e of i)o*=e,Number.isSafeInteger(o)||q(n,`shape x dtype overflows`);let[s,c]=a;return c-s!==o&&q(n,`data_offsets span ${c-s} bytes, shape x dtype needs ${o}`),Number.isSafeInteger(t+c)||q(n,`data_offsets overflow`),{dtype:r,shape:i,begin:t+s,end:t+c}}function Na(e,t){try{return JSON.parse(e)}catch{q(t,`the header is not JSON`)}}function Pa(e,t){let n=[];for(let r=0;r<e.length;r++){let i=e[r];if(i===`"`){let i=r;for(r++;r<e.length&&e[r]!==`"`;r++)e[r]===`\\`&&r++;let a=r+1;for(;` 	\r
`.includes(e[a]??`x`);)a++;let o=n.at(-1);if(e[a]===`:`&&o){let n=Na(e.slice(i,r+1),t);o.has(n)&&q(t,`the key ${JSON.stringify(n)} appears twice`),o.add(n)}}else i===`{`||i===`[`?n.push(i===`{`?/* @__PURE__ */ new Set:null)>3&&q(t,`the header is nested too deeply`):i===`}`||i===`]`?n.pop():`0123456789:, 	\r
`.includes(i)||q(t,`unexpected ${JSON.stringify(i)} in the header`)}}function Fa(e){return e.shape.reduce((e,t)=>e*t,Da[e.dtype])}const Ia=[`T2MDPipeline`,`PixArtAlphaPipeline`,`PixArtSigmaPipeline`],La=[`text_encoder`,`transformer`,`vae`],Ra=8*2**20,za=32*2**20,Ba=16*2**20,Va=/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)?$/,Ha=/^[A-Za-z0-9_][A-Za-z0-9._-]{0,255}$/,Ua=2**28,Wa=2**36,Ga=2**31;function Ka(e){let t;try{t=JSON.parse(e)}catch(e){throw new D(`FormatError`,`manifest.json is not JSON`,{cause:e})}return qa(t)}function qa(e){let t=Y(e,`manifest`);if(t.format!==`scanvas`||t.version!==2)throw new D(`ModelConfigError`,`manifest: ${`got format ${X(t.format)} version ${X(t.version)}`}, expected "scanvas" version 2; convert the model again`);if(!Ia.includes(t.className)){let e=Ia.join(`, `);throw new D(`ModelConfigError`,`manifest: className ${X(t.className)}, expected ${e}`)}oo(t,[`format`,`version`,`className`,`source`,`licence`,`components`,`scheduler`,`defaults`,`tokenizer`,`tokenizerConfig`,`preview`],`manifest`),so(t.source,`source`),so(t.licence,`licence`);let n=Y(t.components,`components`);oo(n,La,`components`),Object.keys(n).length||J(`components is empty`);let r=/* @__PURE__ */ new Set;for(let[e,t]of Object.entries(n))Za(t,`components.${e}`,r);if(t.scheduler!==void 0&&ao(Y(t.scheduler,`scheduler`),`scheduler`),t.defaults!==void 0){let e=Y(t.defaults,`defaults`);oo(e,[`guidanceScale`,`numInferenceSteps`],`defaults`);for(let[t,n]of Object.entries(e))typeof n==`number`&&n>=0&&n<=1e3||J(`defaults.${t} is not a number up to 1000`)}for(let e of[`tokenizer`,`tokenizerConfig`]){if(t[e]===void 0)continue;let n=Y(t[e],e);oo(n,[`file`,`bytes`,`sha256`],e),eo(n,e,r)}return t.preview!==void 0&&Qa(Y(t.preview,`preview`)),e}function Ja({dtype:e,shape:t}){if(e===`F32`||e===`F16`)return{dtype:e,shape:t};let[n,r]=t;return{dtype:`U32`,shape:[n,r/(e===`Q8`?4:8)+Math.ceil(r/64)]}}function Ya(e,t,{parts:n}){return n.length===1?e:`${e}.rows.${t}`}function Xa(e,t=La){return t.flatMap(t=>e.components[t]?.shards??[]).reduce((e,t)=>e+t.bytes,0)}function Za(e,t,n){let r=Y(e,t);if(oo(r,[`config`,`dtype`,`shards`,`tensors`],t),ao(Y(r.config,`${t}.config`),`${t}.config`),![`f32`,`f16`,`q8`,`q4`].includes(r.dtype))throw new D(`ModelConfigError`,`manifest: ${t}.dtype ${X(r.dtype)}, expected f32, f16, q8 or q4`);let{shards:i}=r;(!Array.isArray(i)||i.length<1||i.length>4096)&&J(`${t}.shards is not a list`),i.forEach((e,r)=>$a(Y(e,`${t}.shards[${r}]`),`${t}.shards[${r}]`,n));let a=Object.entries(Y(r.tensors,`${t}.tensors`));a.length>65536&&J(`${t}.tensors has ${a.length} entries`);let o=i.map(()=>[]);for(let[e,n]of a){let r=`${t}.tensors[${X(e)}]`;Ha.test(e)&&e!==`__proto__`||J(`${r}: not a tensor name`);for(let{shard:e,offset:t,bytes:a}of io(Y(n,r),r,i).parts)o[e].push([t,t+a])}o.forEach((e,n)=>{e.sort((e,t)=>e[0]-t[0]);let r=e.some(([t],n)=>n>0&&t!==e[n-1][1]);(!e.length||r||e.at(-1)[1]!==i[n].bytes)&&J(`${t}: tensors do not fill shard ${n} without holes`)})}function Qa(e){oo(e,[`weights`,`bias`],`preview`);let t=(e,t)=>{Array.isArray(e)&&e.length===3&&e.every(e=>Math.abs(e)<=1e4)||J(`${t} is not three numbers up to 10000`)},{weights:n}=e;(!Array.isArray(n)||n.length<1||n.length>64)&&J(`preview.weights is not a list of 1 to 64`),n.forEach((e,n)=>t(e,`preview.weights[${n}]`)),t(e.bias,`preview.bias`)}function $a(e,t,n){oo(e,[`file`,`bytes`,`chunks`],t),to(e.file,t,n);let r=Math.ceil(co(e.bytes,1,za,`${t}.bytes`)/Ra),{chunks:i}=e;Array.isArray(i)&&i.length===r||J(`${t}.chunks: expected ${r} hashes`),i.forEach((e,n)=>ro(e,`${t}.chunks[${n}]`))}function eo(e,t,n){to(e.file,t,n),ro(e.sha256,`${t}.sha256`),co(e.bytes,1,Ua,`${t}.bytes`)}function to(e,t,n){(typeof e!=`string`||e.length>200||!Va.test(e)||e.split(`/`).some(no))&&J(`${t}.file ${X(e)} is not a plain relative file name`),n.has(e)&&J(`${t}.file "${e}" appears twice`),n.add(e)}function no(e){return e.includes(`..`)||e===`.`}function ro(e,t){typeof e==`string`&&/^[0-9a-f]{64}$/.test(e)||J(`${t} is not a SHA-256 in hex`)}function io(e,t,n){oo(e,[`dtype`,`shape`,`bytes`,`parts`],t);let{dtype:r,shape:i,parts:a}=e;typeof r==`string`&&[`F32`,`F16`,`Q8`,`Q4`].includes(r)||J(`${t}.dtype ${X(r)}`),(!Array.isArray(i)||i.length<1||i.length>4)&&J(`${t}.shape is not a list of 1 to 4 sizes`),i.forEach((e,n)=>co(e,1,Ga,`${t}.shape[${n}]`)),(r===`Q8`||r===`Q4`)&&(i.length!==2||i[1]%32)&&J(`${t}: ${r} needs [rows, depth], depth a multiple of 32`);let o=co(e.bytes,1,Wa,`${t}.bytes`),s=Fa(Ja({dtype:r,shape:i}));o!==s&&J(`${t}.bytes is ${o}, shape x dtype needs ${s}`),(!Array.isArray(a)||a.length<1||a.length>n.length)&&J(`${t}.parts is not a list of 1 to ${n.length}`);let c=s/i[0],l=0;return a.forEach((e,r)=>{let i=`${t}.parts[${r}]`,o=Y(e,i);oo(o,[`shard`,`offset`,`bytes`],i);let s=co(o.shard,0,n.length-1,`${i}.shard`),u=co(o.bytes,1,za,`${i}.bytes`);(co(o.offset,8,n[s].bytes-u,`${i}.offset`)%4||u%4)&&J(`${i}: offset and bytes must be multiples of 4`),a.length>1&&u%c&&J(`${i}: ${u} bytes are not whole rows of ${c}`),r>0&&s<=a[r-1].shard&&J(`${i}: parts are not in the order of shards`),l+=u}),l!==o&&J(`${t}: its parts have ${l} bytes, expected ${o}`),e}function ao(e,t){let n=0,r=(e,i)=>{if((++n>4096||i>8)&&J(`${t} is too large or too deep`),typeof e==`number`&&!Number.isFinite(e)&&J(`${t} has a number that is not finite`),typeof e==`string`&&e.length>4096&&J(`${t} has a string of ${e.length} characters`),typeof e==`object`&&e)for(let[n,a]of Object.entries(e))(n===`__proto__`||n.length>256)&&J(`${t} has the key ${X(n)}`),r(a,i+1)};r(e,0)}function J(e){throw new D(`FormatError`,`manifest.json: ${e}`)}function Y(e,t){return(typeof e!=`object`||!e||Array.isArray(e))&&J(`${t} is not an object`),e}function oo(e,t,n){for(let r of Object.keys(e))t.includes(r)||J(`${n} has the unknown key ${X(r)}`)}function so(e,t){(typeof e!=`string`||e.length>1e3)&&J(`${t} is not a short text`)}function co(e,t,n,r){return(typeof e!=`number`||!Number.isSafeInteger(e)||e<t||e>n)&&J(`${r} is ${X(e)}, expected an integer of ${t} to ${n}`),e}function X(e){return(JSON.stringify(e)??`undefined`).slice(0,80)}async function lo(e,t,n){let r=globalThis.navigator?.locks;if(!r)return n();let i=!1,a=()=>(i=!0,n());try{return await r.request(`scanvas:${e}`,t?{signal:t}:{},a)}catch(e){if(O(t),i)throw e;return n()}}async function uo(e,t,n,{store:r,verified:i,signal:a},o=()=>{}){if(!r)return n.fetch(e,t,o);let s=async()=>await r.read(e.sha256,t)?(O(a),!i?.has(e.sha256)&&await Ta(t)!==e.sha256?(await r.remove(e.sha256),!1):(i?.add(e.sha256),o(t.length),!0)):!1;await s()||await lo(e.sha256,a,async()=>{await s()||(await n.fetch(e,t,o),O(a),await r.write(e.sha256,t))})}async function fo(e,t,n={}){let r=new Uint8Array(t.bytes);return await uo({url:Sa(xa(e),t.file),begin:0,end:t.bytes,fileBytes:t.bytes,sha256:t.sha256},r,new Ca(n),n),r}var po=class{made=0;free=[];waiting=[];tryTake(){let e=this.free.pop();return e||this.made===4?e:(this.made++,new Uint8Array(Ra))}async take(e){for(;;){O(e);let t=this.tryTake();if(t)return t;await new Promise(t=>{this.waiting.push(t),e?.addEventListener(`abort`,()=>t(),{once:!0})})}}give(e){this.free.push(e);for(let e of this.waiting.splice(0))e()}};async function mo(e,t,n,r,i={}){let{part:a,pieces:o}=ho(e,t,n),{tensors:s}=i,c=[...s??[]].find(e=>!Object.hasOwn(a.tensors,e));if(c!==void 0)throw new D(`InvalidArgumentError`,`the ${n} at ${e} has no tensor "${c}"`);let l=yo(a),u=({name:e})=>!s||s.has(e);await vo(n,s?o.filter(e=>l[e.shard].some(t=>u(t)&&bo(t,e))):o,i,async(e,{shard:t,begin:n,end:o})=>{n===0&&xo(e,a.shards[t],l[t]);for(let a of l[t]){let t=u(a)&&bo(a,{begin:n,end:o});if(!t)continue;O(i.signal);let s=e.subarray(t.from-n,t.to-n);await r.tensor(a.name,a.entry,s,a.start+t.from-a.offset)}})}function ho(e,t,n){let r=t.components[n];if(!r)throw new D(`InvalidArgumentError`,`the model at ${e} has no ${n}`);let i=xa(e);return{part:r,pieces:r.shards.flatMap((e,t)=>go(i,e,t))}}function go(e,{file:t,bytes:n,chunks:r},i){let a=Sa(e,t);return r.map((e,t)=>{let r=Math.min((t+1)*Ra,n);return{url:a,begin:t*Ra,end:r,fileBytes:n,sha256:e,shard:i}})}function _o(e){return e.reduce((e,{begin:t,end:n})=>e+n-t,0)}async function vo(e,t,{ring:n=new po,before:r=0,...i},a){let o=new AbortController,s=()=>o.abort();i.signal?.addEventListener(`abort`,s,{once:!0});let c={...i,signal:o.signal},l=new Ca(c),u=So(e,r,r+_o(t),i.onProgress),d,f=[],p=(e,t)=>{let n=e.subarray(0,t.end-t.begin),r=uo(t,n,l,c,u);r.catch(e=>{d??=e,o.abort()}),f.push({buffer:e,bytes:n,done:r})},m=0;try{O(i.signal);for(let[e,r]of t.entries()){for(;f.length<Math.min(e+4,t.length);){let r=f.length===e?await n.take(i.signal):n.tryTake();if(!r)break;p(r,t[f.length])}let{buffer:o,bytes:s,done:c}=f[e];await c;let l=await a(s,r);if(n.give(o),m++,l===!1)break}}catch(e){throw d??e}finally{o.abort(),i.signal?.removeEventListener(`abort`,s),await Promise.allSettled(f.map(({done:e})=>e));for(let{buffer:e}of f.slice(m))n.give(e);l.close()}}function yo(e){let t=e.shards.map(()=>[]);for(let[n,r]of Object.entries(e.tensors)){let e=Ja(r).shape,i=0;r.parts.forEach(({shard:a,offset:o,bytes:s},c)=>{let l=[e[0]*s/r.bytes,...e.slice(1)];t[a].push({name:n,entry:r,stored:Ya(n,c,r),shape:l,offset:o,bytes:s,start:i}),i+=s})}for(let e of t)e.sort((e,t)=>e.offset-t.offset);return t}function bo({offset:e,bytes:t},{begin:n,end:r}){let i=Math.max(e,n),a=Math.min(e+t,r);return i<a?{from:i,to:a}:void 0}function xo(e,t,n){let r=Oa(e,t.bytes,t.file),i=ka(e.subarray(8,8+r),t.bytes,t.file),a=n.find(({stored:e,entry:t,shape:n,offset:r})=>{let a=i.tensors.get(e);return a?.begin!==r||a.dtype!==Ja(t).dtype||a.shape.join()!==n.join()});if(a||i.tensors.size!==n.length){let e=a?`tensor "${a.stored}"`:`${i.tensors.size} tensors, manifest ${n.length}`;throw new D(`FormatError`,`${t.file} and manifest.json disagree: ${e}; convert the model again`)}}function So(e,t,n,r){let i=t,a=t;return t>0&&r?.({stage:`download`,component:e,loaded:a,total:n}),t=>{i+=t,i<=a||(a=i,r?.({stage:`download`,component:e,loaded:a,total:n}))}}async function Co(e,t={}){let{store:n,integrity:r}=t,i=xa(e),a=Oo(i),o=n&&[...(await Eo(n)).values()].filter(({url:e})=>e===a);if(o&&r!==void 0){let e=await Po(o.filter(({manifest:e})=>e.sha256===r.toLowerCase()),n);if(e)return e}let s;try{s=await Ao(Sa(i,`manifest.json`),t,!o?.length)}catch(e){let t=e instanceof D&&e.name===`NetworkError`&&e.cause!==void 0&&o&&r===void 0&&await Po(o,n);if(t)return t;throw e}r!==void 0&&await Ea(s,r,Sa(i,`manifest.json`));let c=Ka(new TextDecoder().decode(s));return n&&await Mo(i,c,s,n,t.signal),c}async function wo(e,t){let n=Oo(xa(e)),r=[...await Eo(t)].filter(([,{url:e}])=>e===n),i=await t.sizes(),a=r.sort(([,e],[,t])=>e.date<t.date?1:-1)[0];if(!a||Do(a[1],i)<a[1].bytes)return!1;for(let[e]of r)e!==a[0]&&await t.removeRecord(e);return await To(t),!0}async function To(e){let t=[...(await Eo(e)).values()];await e.prune(new Set(t.flatMap(e=>ko(e).map(({sha256:e})=>e))))}async function Eo(e){let t=/* @__PURE__ */ new Map;for(let[n,r]of await e.records())try{let e=JSON.parse(r);ko(e).every(({sha256:e,bytes:t})=>typeof e==`string`&&t>0)&&t.set(n,e)}catch{}return t}function Do(e,t){return ko(e).filter(({sha256:e,bytes:n})=>t.get(e)===n).reduce((e,{bytes:t})=>e+t,0)}function Oo(e){return e.origin+e.pathname}function ko(e){return[e.manifest,...e.pieces]}async function Ao(e,t,n){return fa(e,t,e=>jo(e,t).catch(e=>{throw!n&&e instanceof da&&e.status===0?e.error:e}))}async function jo(e,t){let{response:n,line:r}=await ma(e,{},t),i=new pa(0,1/0,n,r);try{let t=[];for(;;){let n=await i.next(1/0);if(!n.length)break;if(t.push(n),i.position>Ba)throw new D(`FormatError`,`${e} is over ${Ba} bytes`)}let n=new Uint8Array(await new Blob(t).arrayBuffer());return ya(n,e),n}finally{i.close()}}async function Mo(e,t,n,r,i){let a=Oo(e),o=await Ta(n),s=No(t),c={url:a,className:t.className,source:t.source,licence:t.licence,manifest:{sha256:o,bytes:n.length},pieces:s,bytes:s.reduce((e,t)=>e+t.bytes,n.length),date:(/* @__PURE__ */ new Date()).toISOString()},l=await Ta(new TextEncoder().encode(`${o} ${a}`));await lo(l,i,async()=>{await r.writeRecord(l,JSON.stringify(c)),await r.write(o,n)})}function No(e){let t=/* @__PURE__ */ new Map;for(let{shards:n}of Object.values(e.components))for(let{bytes:e,chunks:r}of n)r.forEach((n,r)=>t.set(n,Math.min(Ra,e-r*Ra)));for(let n of[e.tokenizer,e.tokenizerConfig])n&&t.set(n.sha256,n.bytes);return[...t].map(([e,t])=>({sha256:e,bytes:t}))}async function Po(e,t){if(e.length>1){let n=await t.sizes(),r=e=>Number(Do(e,n)===e.bytes);e=e.toSorted((e,t)=>r(t)-r(e)||(e.date<t.date?1:-1))}for(let{manifest:n}of e){let e=new Uint8Array(n.bytes);try{if(!await t.read(n.sha256,e))continue;return await Ea(e,n.sha256,`the stored manifest`),Ka(new TextDecoder().decode(e))}catch{}}}const Fo=`.part`,Io=`.json`;async function Lo(){try{return Ro(await(await navigator.storage.getDirectory()).getDirectoryHandle(`scanvas-weights`,{create:!0}))}catch{return}}function Ro(e){let t,n=!1,r=t=>e.removeEntry(t).catch(()=>{}),i=async t=>{try{return await(await e.getFileHandle(t)).getFile()}catch{return}},a=async()=>{let t=[];try{for await(let n of e.keys())t.push(n)}catch{}return t},o=async(i,a)=>{if(n)return!1;try{let t=await e.getFileHandle(i+Fo,{create:!0});return await Vo(t,a),await t.move(i).catch(async()=>{await r(i),await t.move(i)}),!0}catch(e){return n=e instanceof Bo||e instanceof DOMException&&e.name===`QuotaExceededError`,t=`weights were not kept on this device: ${await Uo(e,n,a.length)}`,await r(i+Fo),!1}};return{get problem(){return t},write:o,remove:r,has:async(e,t)=>(await i(e))?.size===t,async read(e,t){let n=await i(e);if(n?.size!==t.length)return!1;try{return await zo(n,t)}catch{return!1}},async prune(e){let t=0;for(let n of await a())n.endsWith(Io)||e.has(n.replace(Fo,``))||(n.endsWith(Fo)||t++,await r(n));return t},async sizes(){let e=/* @__PURE__ */ new Map;for(let t of await a()){if(t.endsWith(Fo)||t.endsWith(Io))continue;let n=await i(t);n&&e.set(t,n.size)}return e},async records(){let e=/* @__PURE__ */ new Map;for(let t of await a()){if(!t.endsWith(Io))continue;let n=await(await i(t))?.text().catch(()=>void 0);n!==void 0&&e.set(t.slice(0,-5),n)}return e},writeRecord:(e,t)=>o(e+Io,new TextEncoder().encode(t)),removeRecord:e=>r(e+Io)}}async function zo(e,t){let n=e.stream().getReader();for(let e=0;;){let{done:r,value:i}=await n.read();if(r)return e===t.length;t.set(i,e),e+=i.length}}var Bo=class extends Error{};async function Vo(e,t){if(typeof e.createSyncAccessHandle!=`function`){let n=await e.createWritable();await n.write(t),await n.close();return}let n=await Ho(()=>e.createSyncAccessHandle());try{n.truncate(0);let e=n.write(t,{at:0});if(n.flush(),e!==t.length||n.getSize()!==t.length)throw new Bo(`the storage is full`)}finally{n.close()}}async function Ho(e){for(let t=1;;t++)try{return await e()}catch(e){if(!(e instanceof DOMException&&e.name===`NoModificationAllowedError`)||t===5)throw e;await new Promise(e=>setTimeout(e,100))}}async function Uo(e,t,n){let r=t?`no room for ${n} bytes`:e instanceof Error?e.message:String(e);try{let{usage:e=0,quota:t=0}=await navigator.storage.estimate();return`${r} (the browser gives this site ${t} bytes, ${e} are in use)`}catch{return r}}async function Wo(e,t={}){let{signal:n,onProgress:r}=t,i=t.store===!1?void 0:t.store??await Lo(),a={...n&&{signal:n},...i&&{store:i}},o=await Co(e,a),s={denoiser:He(o.components.transformer.config),text:o.components.text_encoder&&Ge(o.components.text_encoder.config),image:o.components.vae&&Ue(o.components.vae.config)},c=s.text&&await Jo(e,o,a),l=await Te.request(t);try{O(n),l.profile={...l.profile,...await Le(l)};let t=La.filter(e=>o.components[e]),u=new Map(t.map(e=>[e,Ko(o,e)]));await l.arena.allocate([...u.values()].flatMap(e=>[...e.values()]));let d=e=>new st(e,u.get(e)),f={gpu:l,manifest:o,denoiser:{config:s.denoiser,weights:d(`transformer`)},text:s.text&&{config:s.text,weights:d(`text_encoder`),tokenizer:c},image:s.image&&{config:s.image,weights:d(`vae`)}};Go(f);let p=new po,m=Xa(o),h=0;for(let n of t)await mo(e,o,n,qo(l,u.get(n)),{...a,ring:p,onProgress:({loaded:e})=>r?.({stage:`download`,step:h+e,total:m,bytes:h+e})}),h+=Xa(o,[n]);return i&&await wo(e,i),f}catch(e){throw l.dispose(),e}}function Go(e){let t=8*e.denoiser.config.patchSize;if(new Pn(e,e.gpu.profile,{height:t,width:t,halves:1,guidanceMode:`batch`,textTokens:16}),!e.text)return;let{config:n,weights:r}=e.text,i=j(`ids`,[1],`u32`);nt(new N(`check`,e.gpu.profile),n,r,i,j(`buckets`,[1],`u32`),j(`embeds`,[1,n.width]))}function Ko(e,t){let n=Object.entries(e.components[t].tensors);return new Map(n.map(([e,{shape:t,dtype:n}])=>[e,j(e,t,n.toLowerCase())]))}function qo(e,t){return{tensor(n,r,i,a){e.checkLost(),e.write(t.get(n),i,a)}}}async function Jo(e,t,n){if(!t.tokenizer)throw new D(`ModelConfigError`,`the model at ${e} has a text encoder but no tokenizer; convert it again`);let r=async t=>{if(!t)return;let r=new TextDecoder().decode(await fo(e,t,n));try{return JSON.parse(r)}catch(e){throw new D(`FormatError`,`${t.file} is not JSON; convert the model again`,{cause:e})}};return ea(await r(t.tokenizer),await r(t.tokenizerConfig)??{})}async function Yo(e,t,n,r){let{gpu:i}=e,{config:a,weights:o,tokenizer:s}=e.text,{ids:c,truncated:l}=s.tokenize(t,n),u=j(`ids`,[c.length],`u32`),d=j(`buckets`,[2*c.length-1],`u32`),f=j(`embeds`,[c.length,a.width]),p=new N(`encode`,i.profile);nt(p,a,o,u,d,f);let m=[u,d,f],h,g;try{await i.arena.allocate(m),h=await i.arena.workspace(ct([p])),g=await Ee.build(i,p),i.write(u,Uint32Array.from(c)),i.write(d,ot(c.length,a)),await g.run(r);let e=await i.readF32(f);if(!e.every(Number.isFinite))throw new D(`NumericalError`,`scanvas: the text encoder produced NaN or Inf; its weights are damaged, load the model again`);return{embeds:e,ids:c,truncated:l}}finally{g?.dispose(),h?.(),i.arena.release(m)}}function Xo(e,t,n=Zo(e,t)){let r=new Uint8ClampedArray(t*4),{weights:i,bias:a}=n;for(let n=0;n<t;n++){for(let o=0;o<3;o++){let s=a[o];for(let r=0;r<i.length;r++)s+=i[r][o]*e[r*t+n];r[4*n+o]=s*255}r[4*n+3]=255}return r}function Zo(e,t){let n=e.length/t,r=Array.from({length:n},()=>[0,0,0]),i=[0,0,0];for(let a=0;a<Math.min(3,n);a++){let n=e.subarray(a*t,(a+1)*t),o=1/0,s=-1/0;for(let e of n)o=Math.min(o,e),s=Math.max(s,e);let c=1/Math.max(s-o,1e-6);r[a][a]=c,i[a]=-o*c}return{weights:r,bias:i}}const Qo=Math.fround,$o=Qo(2*Math.PI);function es(e,t){let n=ss(Number(rs(e)&4294967295n)),r=new Float32Array(t);if(t<16)return os(r,n),r;for(let e=0;e<t;e++)r[e]=is(n);for(let e=0;e+16<=t;e+=16)as(r,e);if(t%16!=0){for(let e=t-16;e<t;e++)r[e]=is(n);as(r,t-16)}return r}function ts(e,t){return BigInt.asUintN(64,rs(e)+BigInt(t))}function ns(){return crypto.getRandomValues(/* @__PURE__ */ new Uint32Array(1))[0]}function rs(e){let t=typeof e==`bigint`?e:Number.isSafeInteger(e)?BigInt(e):-1n;if(t>=0n&&t<1n<<64n)return t;throw new D(`InvalidArgumentError`,`seed: got ${String(e)}, expected an integer from 0 to 2^53 - 1, or a bigint up to 2^64 - 1`)}function is(e){return(e()&16777215)*2**-24}function as(e,t){for(let n=t;n<t+8;n++){let t=Qo(Math.sqrt(Qo(-2*Qo(Math.log(Qo(1-e[n])))))),r=Qo($o*e[n+8]);e[n]=t*Qo(Math.cos(r)),e[n+8]=t*Qo(Math.sin(r))}}function os(e,t){let n=()=>((t()&2097151)*2**32+t())*2**-53;for(let t=0;t<e.length;t+=2){let r=2*Math.PI*n(),i=Math.sqrt(-2*Math.log1p(-n()));e[t]=i*Math.cos(r),t+1<e.length&&(e[t+1]=i*Math.sin(r))}}function ss(e){let[t,n]=[624,397],r=new Uint32Array(t);r[0]=e;for(let e=1;e<t;e++)r[e]=Math.imul(1812433253,r[e-1]^r[e-1]>>>30)+e;let i=t;return()=>{if(i===t){for(let e=0;e<t;e++){let i=r[e]&2147483648|r[(e+1)%t]&2147483647;r[e]=r[(e+n)%t]^i>>>1^(i&1?2567483615:0)}i=0}let e=r[i++];return e^=e>>>11,e^=e<<7&2636928640,e^=e<<15&4022730752,(e^e>>>18)>>>0}}function cs(e,t,n){return e===`epsilon`?{x0FromSample:1/t,x0FromOutput:-n/t}:e===`v_prediction`?{x0FromSample:t,x0FromOutput:-n}:{x0FromSample:0,x0FromOutput:1}}function ls(e,t,n){return e===`epsilon`?{fromSample:0,fromOutput:1}:e===`v_prediction`?{fromSample:n,fromOutput:t}:{fromSample:1/n,fromOutput:-t/n}}const Z=Math.fround;function us(e,t){let n=ms(e.rescale_betas_zero_snr?hs(fs(e)):fs(e));return e.rescale_betas_zero_snr&&t&&(n[n.length-1]=2**-24),n}function ds(e){return e.map(e=>Math.sqrt(Z(Z(1-e)/e)))}function fs(e){let{num_train_timesteps:t,beta_start:n,beta_end:r}=e;if(e.trained_betas!==null)return Float32Array.from(e.trained_betas);if(e.beta_schedule===`linear`)return ps(n,r,t);if(e.beta_schedule===`scaled_linear`)return ps(Math.sqrt(n),Math.sqrt(r),t).map(e=>e*e);let i=e=>Math.cos((e+.008)/1.008*Math.PI/2)**2;return Float32Array.from({length:t},(e,n)=>Math.min(1-i((n+1)/t)/i(n/t),.999))}function ps(e,t,n){let[r,i]=[Z(e),Z(t)],a=Z(Z(i-r)/(n-1)),o=e=>e<n>>1?r+a*e:i-a*(n-1-e);return Float32Array.from({length:n},(e,t)=>o(t))}function ms(e){let t=1;return e.map(e=>t*=Z(1-e))}function hs(e){let t=ms(e).map(Math.sqrt),[n,r]=[t[0],t[t.length-1]],i=Z(n/Z(n-r)),a=t.map(e=>{let t=Z(Z(e-r)*i);return t*t});return a.map((e,t)=>1-(t===0?e:Z(e/a[t-1])))}function gs(e,t,n,r){if(e.timestep_spacing===`linspace`){let e=n>1?(r-1)/(n-1):0;return Array.from({length:n},(t,i)=>i>0&&i===n-1?r-1:i*e).reverse().slice(0,t)}if(e.timestep_spacing===`leading`){let i=Math.floor(r/n);if(i===0)throw new D(`InvalidArgumentError`,`numInferenceSteps: got ${t}; with timestep_spacing "leading" this sampler takes at most ${r-n+t}`);return Array.from({length:n},(t,n)=>n*i+e.steps_offset).reverse().slice(0,t)}let i=r-e.num_train_timesteps/t-r,a=Math.min(t,Math.ceil((0-r)/(-e.num_train_timesteps/t)));return Array.from({length:a},(e,t)=>_s(r+t*i)-1)}function _s(e){let t=Math.floor(e),n=e-t;return n===.5?t%2==0?t:t+1:n<.5?t:t+1}function vs(e,t){let n=e.length-1;if(t<=0)return e[0];if(t>=n)return e[n];let r=Math.floor(t);return(e[r+1]-e[r])*(t-r)+e[r]}function ys(e,t,n,r){let i=(e.sigma_min??n)**(1/7),a=(e.sigma_max??t)**(1/7);return Array.from({length:r},(e,t)=>(a+(r>1?t/(r-1):0)*(i-a))**7)}function bs(e,t){let n=Math.log(Math.max(t,1e-10)),r=0;for(;r<e.length-2&&e[r+1]<=n;)r++;let i=(e[r]-n)/Z(e[r]-e[r+1]),a=Math.min(Math.max(i,0),1);return(1-a)*r+a*(r+1)}const xs=34028234663852886e22;function Ss(e,t){let n=us(e,!1),r=Math.floor(e.num_train_timesteps/t),i=e.set_alpha_to_one?1:n[0];return gs(e,t,t,e.num_train_timesteps).map(a=>{let o=_s(a);if(o>=n.length)throw new D(`InvalidArgumentError`,`numInferenceSteps: got ${t}, which with steps_offset ${e.steps_offset} reaches timestep ${o}, beyond the ${n.length} the model was trained on; ask for fewer steps`);let s=n[o],c=o>=r?n[o-r]:i,[l,u]=[Math.sqrt(s),Math.sqrt(1-s)],[d,f]=[Math.sqrt(c),Math.sqrt(1-c)],p={timestep:o,inputScale:1,...cs(e.prediction_type,l,u),fromPreviousX0:0};if(e.clip_sample){let t=ls(e.prediction_type,l,u);return{...p,x0Limit:e.clip_sample_range,fromSample:f*t.fromSample,fromOutput:f*t.fromOutput,fromX0:d}}let m=f/u;return{...p,x0Limit:xs,fromSample:m,fromOutput:0,fromX0:d-m*l}})}function Cs(e,t){let{timesteps:n,sigmas:r}=ws(e,t),i=Array.from(r,e=>{let t=1/Math.sqrt(e*e+1);return{alpha:t,sigma:e*t,lambda:-Math.log(e)}});return n.map((t,r)=>{let[a,o]=[i[r],i[r+1]],s=o.lambda-a.lambda,c=o.alpha*Math.expm1(-s),l={timestep:t,inputScale:1,...cs(e.prediction_type,a.alpha,a.sigma),x0Limit:xs,fromSample:o.sigma/a.sigma,fromOutput:0,fromX0:-c,fromPreviousX0:0},u=r===n.length-1,d=n.length<15,f=e.euler_at_final||e.lower_order_final&&d||e.final_sigmas_type===`zero`;if(e.solver_order===1||r===0||u&&f)return l;let p=a.lambda-i[r-1].lambda;if(p===0)return l;let m=(e.solver_type===`heun`?o.alpha+c/s:-c/2)*(s/p);return s!==0&&(l.fromX0+=m,l.fromPreviousX0=-m),l})}function ws(e,t){let n=ds(us(e,!0)),r=e.num_train_timesteps-Ts(e),i=gs(e,t,t+1,r).map(_s),a=i.map(e=>vs(n,e));if(e.use_karras_sigmas){let r=n.map(Math.log);a=ys(e,n[n.length-1],n[0],t),i=a.map(e=>bs(r,e)),i=i.map(e.beta_schedule===`squaredcos_cap_v2`?Math.trunc:_s)}return{timesteps:i,sigmas:Float32Array.of(...a,e.final_sigmas_type===`zero`?0:n[0])}}function Ts(e){let t=Math.fround;return us(e,!0).map(e=>t(Math.log(t(Math.sqrt(e))))-t(Math.log(t(Math.sqrt(t(1-e)))))).filter(t=>t<e.lambda_min_clipped).length}function Es(e,t){let{timesteps:n,sigmas:r}=Ds(e,t),i=Math.max(...r),a=n.map((t,n)=>{let[i,a]=[r[n],r[n+1]],o=1/Math.sqrt(i*i+1),s=cs(e.prediction_type,o,i*o);return{timestep:t,inputScale:o,x0FromSample:s.x0FromSample*o,x0FromOutput:s.x0FromOutput,x0Limit:xs,fromSample:a/i,fromOutput:0,fromX0:1-a/i,fromPreviousX0:0}});return{initNoiseSigma:e.timestep_spacing===`leading`?Math.sqrt(i*i+1):i,steps:a}}function Ds(e,t){let n=ds(us(e,!0)),r=gs(e,t,t,e.num_train_timesteps).map(Math.fround),i=r.map(e=>vs(n,e));if(e.use_karras_sigmas){let a=n.map(Math.log);i=ys(e,i[0],i[t-1],t),r=i.map(e=>Math.fround(bs(a,e)))}return{timesteps:r,sigmas:Float32Array.of(...i,e.final_sigmas_type===`zero`?0:n[0])}}const Os=/* @__PURE__ */ new Map([[`DPMSolverMultistepScheduler`,`dpm_solver`],[`DDIMScheduler`,`ddim`],[`EulerDiscreteScheduler`,`euler`]]),ks=[...`DDPM PNDM LMSDiscrete HeunDiscrete EulerAncestralDiscrete DPMSolverSinglestep KDPM2Discrete`.split(` `),...`KDPM2AncestralDiscrete DEISMultistep UniPCMultistep DPMSolverSDE`.split(` `)].map(e=>`${e}Scheduler`),As=new Set(`algorithm_type beta_end beta_schedule beta_start clip_sample clip_sample_range disable_corrector dynamic_thresholding_ratio euler_at_final final_sigmas_type flow_shift interpolation_type lambda_min_clipped lower_order_final num_train_timesteps predict_x0 prediction_type rescale_betas_zero_snr rho sample_max_value set_alpha_to_one shift_terminal sigma_data sigma_max sigma_min sigma_schedule skip_prk_steps solver_order solver_p solver_type steps_offset thresholding time_shift_type timestep_spacing timestep_type trained_betas use_beta_sigmas use_dynamic_shifting use_exponential_sigmas use_flow_sigmas use_karras_sigmas use_lu_lambdas variance_type`.split(` `)),Q=(...e)=>({ok:t=>e.includes(t),expected:e.map(e=>JSON.stringify(e)).join(` or `)}),js=e=>({ok:t=>t===null||e.ok(t),expected:`${e.expected} or null`}),Ms={ok:e=>typeof e==`boolean`||e===null,expected:`true or false`},Ns={ok:e=>e===!1||e===null,expected:`false: scanvas does not have this option`},Ps={ok:e=>typeof e==`number`&&!Number.isNaN(e),expected:`a number`},Fs={ok:e=>Number.isFinite(e)&&Number(e)>0,expected:`a positive number`},Is={ok:e=>Fs.ok(e)&&Number(e)<1,expected:`a number between 0 and 1`},Ls={ok:e=>Array.isArray(e)&&e.every(Is.ok),expected:`numbers between 0 and 1`},Rs=(e,t)=>({ok:n=>Number.isInteger(n)&&Number(n)>=e&&Number(n)<=t,expected:`an integer from ${e} to ${t}`}),zs={num_train_timesteps:Rs(2,1e6),beta_start:Is,beta_end:Is,beta_schedule:Q(`linear`,`scaled_linear`,`squaredcos_cap_v2`),trained_betas:js(Ls),rescale_betas_zero_snr:Ms,prediction_type:Q(`epsilon`,`v_prediction`,`sample`),timestep_spacing:Q(`linspace`,`leading`,`trailing`),steps_offset:Rs(0,1e6)},Bs={final_sigmas_type:Q(`zero`,`sigma_min`),use_karras_sigmas:Ms,sigma_min:js(Fs),sigma_max:js(Fs),use_exponential_sigmas:Ns,use_beta_sigmas:Ns},Vs={dpm_solver:{...zs,...Bs,algorithm_type:Q(`dpmsolver++`),solver_order:Q(1,2),solver_type:Q(`midpoint`,`heun`,`logrho`,`bh1`,`bh2`),lower_order_final:Ms,euler_at_final:Ms,lambda_min_clipped:js(Ps),thresholding:Ns,use_lu_lambdas:Ns,use_flow_sigmas:Ns,variance_type:Q(null,`fixed_small`,`fixed_small_log`,`fixed_large`,`fixed_large_log`)},ddim:{...zs,set_alpha_to_one:Ms,clip_sample:Ms,clip_sample_range:Fs,thresholding:Ns},euler:{...zs,...Bs,interpolation_type:Q(`linear`),timestep_type:Q(`discrete`)}},Hs={num_train_timesteps:1e3,beta_start:1e-4,beta_end:.02,beta_schedule:`linear`,trained_betas:null,rescale_betas_zero_snr:!1,prediction_type:`epsilon`,timestep_spacing:`linspace`,steps_offset:0,final_sigmas_type:`zero`,use_karras_sigmas:!1,sigma_min:null,sigma_max:null,solver_order:2,solver_type:`midpoint`,lower_order_final:!0,euler_at_final:!1,lambda_min_clipped:-1/0,set_alpha_to_one:!0,clip_sample:!0,clip_sample_range:1};function Us(e){let t=e;if(typeof e==`string`)try{t=JSON.parse(e.replace(/("(?:[^"\\]|\\.)*")|(-?)\bInfinity\b|\bNaN\b/g,qs))}catch(e){throw new D(`ModelConfigError`,`scheduler_config.json: not JSON`,{cause:e})}if(typeof t!=`object`||!t||Array.isArray(t))throw Js(`scheduler_config.json`,t,`an object`);let n=new Map([-1/0,1/0,NaN].map(e=>[String(e),e])),r=Object.entries(t).map(([e,t])=>[e,n.get(t)??t]),i=Object.fromEntries(r),a=i._class_name;if(a!==void 0&&!(typeof a==`string`&&Ks(a)))throw Js(`scheduler_config.json: _class_name`,a,[...Os.keys()].join(`, `));for(let[e,t]of Object.entries(i))if(!(As.has(e)||e.startsWith(`_`)||t===null||t===!1))throw Js(`scheduler_config.json: unknown option ${e}`,t,`an option of diffusers 0.42's schedulers`);return i}function Ws(e){return Os.get(e._class_name??``)??`dpm_solver`}function Gs(e,t){let n={...Hs};e===`ddim`&&(n.timestep_spacing=`leading`);let r=Array.isArray(t._use_default_values)?t._use_default_values:[];for(let[i,a]of Object.entries(Vs[e])){let o=t[i];if(!(o===void 0||r.includes(i))){if(!a.ok(o))throw Js(`${e}: ${i}`,o,a.expected);i in Hs&&(n[i]=a===Ms?o===!0:o)}}n.solver_type!==`heun`&&(n.solver_type=`midpoint`),n.lambda_min_clipped??=-1/0;let{trained_betas:i,num_train_timesteps:a}=n;if(i!==null&&i.length!==a)throw Js(`${e}: trained_betas`,`${i.length} numbers`,`num_train_timesteps = ${a} numbers`);return n}function Ks(e){return Os.has(e)||ks.includes(e)}function qs(e,t,n){return t===void 0?e===`NaN`?`null`:`${n}1e999`:e}function Js(e,t,n){return new D(`ModelConfigError`,`${e}: got ${(typeof t==`string`?t:JSON.stringify(t)??String(t)).slice(0,80)}, supported: ${n}`)}function Ys(e,t,n){let r=e===void 0?Ws(t):Xs(e),i=Gs(r,t),a=i.num_train_timesteps;if(!Number.isInteger(n)||n<1||n>a)throw new D(`InvalidArgumentError`,`numInferenceSteps: got ${String(n)}, expected an integer from 1 to ${a} (num_train_timesteps)`);let{initNoiseSigma:o,steps:s}=r===`euler`?Es(i,n):{initNoiseSigma:1,steps:(r===`ddim`?Ss:Cs)(i,n)};for(let e of s)if(!Object.values(e).every(Number.isFinite))throw new D(`ModelConfigError`,`${r}: this scheduler config gives no finite update at timestep ${e.timestep} (${i.prediction_type} prediction, rescale_betas_zero_snr ${i.rescale_betas_zero_snr}); use another sampler, or timestep_spacing "leading"`);return{name:r,initNoiseSigma:o,steps:s,timesteps:s.map(e=>e.timestep)}}function Xs(e){let t=Os.get(e)??[...Os.values()].find(t=>t===e);if(t!==void 0)return t;let n=[...Os].map(([e,t])=>`${t} (${e})`);throw new D(`InvalidArgumentError`,`sampler: got ${String(e)}, expected ${n.join(`, `)}`)}var Zs=class e{model;#e;#t=/* @__PURE__ */ new Map;constructor(e){this.model=e}static async load(t,n={}){return e.of(await Wo(t,n))}static of(t){return new e(t)}async generate(e,{signal:t,onProgress:n}={}){let{model:r}=this,{gpu:i,manifest:a}=r,o={encode:0,prepare:0,denoise:0,decode:0,total:0},s=performance.now(),c=async(e,t)=>{let n=performance.now();try{return await t()}finally{o[e]+=performance.now()-n}},l=(e,r,a,o)=>{O(t),n?.({stage:e,step:r,total:a,bytes:i.arena.bytes,...o&&{preview:o}})},{prompt:u,negativePrompt:d,height:f,width:p,guidanceScale:m,numImages:h,seed:g}=this.#n(e),_=Ys(e.sampler,Us(a.scheduler??{}),e.numInferenceSteps??a.defaults?.numInferenceSteps??20),v=m>1,y=v?[d,u]:[u];l(`encode`,0,y.length);let b=await c(`encode`,async()=>{let e=[];for(let n of y)e.push(await this.#r(n,t)),l(`encode`,e.length,y.length);return e});l(`compile`,0,1);let x=Math.max(...b.map(({ids:e})=>e.length)),S=await c(`prepare`,()=>this.#a({height:f,width:p,halves:v?2:1,guidanceMode:e.guidanceMode??`batch`,textTokens:Math.ceil(x/16)*16}));l(`compile`,1,1),await c(`prepare`,()=>S.setText(b.map(({embeds:e})=>e),t));let C=[],w={};for(let n=0;n<h;n++){let i=[1,r.denoiser.config.inChannels,f/8,p/8],a=es(ts(g,n),i.reduce((e,t)=>e*t,1));S.start(Float32Array.from(a,e=>e*_.initNoiseSigma));let o=S.embedTimesteps(_),s=[];l(`denoise`,0,_.steps.length),await c(`denoise`,async()=>{for(let n=0;n<_.steps.length;n++){await S.step(_.steps[n],o[n],m,t),e.trace&&s.push(await S.readLatents());let r=e.preview?await this.#i(S):void 0;l(`denoise`,n+1,_.steps.length,r)}}),l(`decode`,n,h);let u=await c(`decode`,()=>S.decode(t));if(C.push(Qs(u,p,f)),l(`decode`,n+1,h),e.trace&&n===0){let e=b.at(-1),t=r.denoiser.config.captionChannels,n=(e,t)=>({dtype:`F32`,shape:e,data:Float32Array.from(t)});w.ids={dtype:`I64`,shape:[e.ids.length],data:BigInt64Array.from(e.ids,BigInt)},w.noise=n(i,a),w.prompt_embeds=n([1,e.ids.length,t],e.embeds),v&&(w.negative_embeds=n([1,b[0].ids.length,t],b[0].embeds)),w.timesteps=_.timesteps.every(Number.isInteger)?{dtype:`I64`,shape:[_.steps.length],data:BigInt64Array.from(_.timesteps,BigInt)}:n([_.steps.length],Float32Array.from(_.timesteps)),w.latents=n([s.length,...i],Float32Array.from(s.flatMap(e=>[...e]))),w.image=n([1,3,f,p],u)}}return o.total=performance.now()-s,{images:C,seed:g,truncated:{prompt:b.at(-1).truncated,negativePrompt:v&&b[0].truncated},timings:o,peakBytes:i.arena.peak,...e.trace?{trace:w}:{}}}get nativeSize(){return this.model.denoiser.config.sampleSize*8}get textTokens(){return this.model.manifest.className===`PixArtSigmaPipeline`?300:120}dispose(){this.#e?.dispose(),this.#e=void 0,this.model.gpu.dispose()}#n(e){if(typeof e!=`object`||!e)throw new D(`InvalidArgumentError`,`generate: the request is ${String(e)}, expected an object with a prompt`);let t={prompt:e.prompt,negativePrompt:e.negativePrompt??``,height:e.height??this.nativeSize,width:e.width??this.nativeSize,guidanceScale:e.guidanceScale??this.model.manifest.defaults?.guidanceScale??4.5,numImages:e.numImages??1,seed:e.seed??ns()},n=(e,n)=>{let r=t[e];throw new D(`InvalidArgumentError`,`generate: ${e} is ${(typeof r==`object`||typeof r==`string`?JSON.stringify(r):String(r)).slice(0,80)}, expected ${n}`)};for(let e of[`prompt`,`negativePrompt`])typeof t[e]!=`string`&&n(e,`a string`);let r=8*this.model.denoiser.config.patchSize;for(let e of[`height`,`width`]){let i=t[e];(!Number.isInteger(i)||i<r||i>16384||i%r!==0)&&n(e,`a multiple of ${r} from ${r} to 16384 pixels`)}if(t.guidanceScale>=0&&t.guidanceScale<=100||n(`guidanceScale`,`a number from 0 to 100`),(!Number.isInteger(t.numImages)||t.numImages<1||t.numImages>64)&&n(`numImages`,`1 to 64`),(!Number.isSafeInteger(t.seed)||t.seed<0)&&n(`seed`,`an integer from 0 to 2^53 - 1`),![`batch`,`passes`,void 0].includes(e.guidanceMode))throw new D(`InvalidArgumentError`,`generate: guidanceMode is ${e.guidanceMode}, expected "batch" or "passes"`);if(!this.model.text)throw new D(`ModelConfigError`,`generate: this model has no text encoder`);return t}async#r(e,t){let n=this.#t.get(e);return n||(n=await Yo(this.model,e,this.textTokens,t),this.#t.size>=32&&this.#t.delete(this.#t.keys().next().value),this.#t.set(e,n)),n}async#i(e){let t=e.shape.width/8,n=e.shape.height/8;return{width:t,height:n,data:Xo(await e.readPrediction(),t*n,this.model.manifest.preview)}}async#a(e){let{gpu:t}=this.model;if(this.#e&&JSON.stringify(this.#e.shape)===JSON.stringify(e))return t.checkLost(),this.#e;let n=new Pn(this.model,t.profile,e);return this.#e?.dispose(),this.#e=void 0,await n.prepare(t),this.#e=n}};function Qs(e,t,n){let r=t*n,i=new Uint8ClampedArray(r*4);for(let t=0;t<r;t++){for(let n=0;n<3;n++)i[4*t+n]=e[n*r+t]*255;i[4*t+3]=255}return{width:t,height:n,data:i}}async function $s({gpu:e,denoiser:t},n){let{config:r,weights:i}=t,a=ec(`latent`,n.latent,4),o=ec(`embeds`,n.embeds,3),s=ec(`mask`,n.mask,2),[c,l,u,d]=a.shape,f=o.shape[1],p=u/r.patchSize,m=d/r.patchSize;if(!(l===r.inChannels&&Number.isInteger(p)&&Number.isInteger(m)&&o.shape[0]===c&&o.shape[2]===r.captionChannels&&s.shape[0]===c&&s.shape[1]===f&&n.t.length===c))throw new D(`InvalidArgumentError`,`trace: latent [${a.shape}], embeds [${o.shape}], mask [${s.shape}] and t [${n.t.length}] do not fit; expected [B, ${r.inChannels}, h, w] with h and w multiples of ${r.patchSize}, [B, L, ${r.captionChannels}], [B, L] and [B]`);let h={latents:j(`latents`,a.shape),embeds:j(`embeds`,o.shape),step:j(`step`,[9]),timestep:j(`timestep`,[c,256]),columnTable:j(`column_table`,[m,r.width/2]),rowTable:j(`row_table`,[p,r.width/2]),sizes:j(`sizes`,[3,256]),output:j(`output`,a.shape)},g=$t(r,c,f),_=[],v=new N(`trace`,e.profile);tn(v,r,i,h.embeds,r.additionalConditions?h.sizes:void 0,g),rn(v,r,i,{...h,conditions:g},h.output,(e,t)=>{let n=j(`hidden${e}`,t.shape);_.push(n),v.copy(t,n)});let y=[...Object.values(h),...en(g),..._],b,x;try{await e.arena.allocate(y),b=await e.arena.workspace(ct([v])),x=await Ee.build(e,v),e.write(h.latents,a.data),e.write(h.embeds,o.data),e.write(g.mask,s.data),e.write(h.step,Float32Array.of(1,0,0,0,0,0,0,0,0)),e.write(h.timestep,kt(n.t)),e.write(h.columnTable,Ot(r,m,p)),e.write(h.rowTable,Ot(r,p,m)),e.write(h.sizes,kt([u*8,d*8,u/d])),await x.run();let[t,...i]=(await e.read([h.output,..._])).map(e=>new Float32Array(e)),l=new Float32Array(i.reduce((e,t)=>e+t.length,0));return i.forEach((e,t)=>l.set(e,t*e.length)),{eps:{dtype:`F32`,shape:[...a.shape],data:t},hidden:{dtype:`F32`,shape:[r.blocks,c,p*m,r.width],data:l}}}finally{x?.dispose(),b?.(),e.arena.release(y)}}function ec(e,t,n){if(!(t.data instanceof Float32Array)||t.shape.length!==n)throw new D(`InvalidArgumentError`,`trace: ${e} must be an f32 tensor with ${n} axes, got ${t.dtype} [${t.shape}]`);return{shape:t.shape,data:t.data}}const tc=new class{#e=/* @__PURE__ */ new Map;#t=Promise.resolve();async enqueue(e,t){let n=new AbortController,{signal:r}=n;this.#e.set(e,n);let i=this.#t,a=new Promise(e=>r.addEventListener(`abort`,()=>e())),o=(async()=>(await Promise.race([i,a]),O(r),t(r)))();this.#t=Promise.allSettled([i,o]).then(()=>void 0);try{return await o}finally{this.#e.delete(e)}}cancel(e){this.#e.get(e)?.abort()}cancelAll(){for(let e of this.#e.values())e.abort()}};let $;const nc=()=>{if(!$)throw new D(`DisposedError`,`scanvas: no model is loaded in this worker; call load() again`);return $};c({ready:()=>!0,load:(e,{url:t,arithmetic:n,limits:r},i)=>tc.enqueue(e,async e=>{$?.dispose(),$=void 0,$=await Zs.load(t,{f16:n===`f16`,limits:r??`adapter`,signal:e,onProgress:i});let{gpu:a,manifest:o}=$.model,{vendor:s,architecture:c,description:l}=a.info;return{className:o.className,licence:o.licence,height:$.nativeSize,width:$.nativeSize,textTokens:$.textTokens,adapter:{vendor:s,architecture:c,description:l,isSoftware:a.isSoftware},weightBytes:a.arena.bytes}}),generate:(e,t,n)=>tc.enqueue(e,async e=>{let r=await nc().generate(t,{signal:e,onProgress:n});return S(r,[...r.images,...Object.values(r.trace??{})].map(({data:e})=>e.buffer))}),selfCheck:(e,t)=>tc.enqueue(e,async e=>{let{selfCheck:n}=await import(`./self_check-aqpj_48O.js`),r=await Te.request();try{return await n(r,t,e)}finally{r.dispose()}}),trace:(e,t)=>tc.enqueue(e,()=>$s(nc().model,t)),cancel:e=>tc.cancel(e),bytes:()=>$?.model.gpu.arena.bytes??0,dispose:e=>(tc.cancelAll(),tc.enqueue(e,async()=>($?.dispose(),$=void 0,Promise.resolve())))});export{Ze as A,St as C,ct as D,bt as E,N as F,A as I,j as L,qe as M,F as N,tt as O,Ee as P,O as R,wt as S,Ct as T,Nt as _,xn as a,xt as b,B as c,Xt as d,Jt as f,It as g,Ht as h,Sn as i,Ye as j,$e as k,V as l,Wt as m,An as n,bn as o,Kt as p,Cn as r,H as s,kn as t,Zt as u,jt as v,yt as w,Tt as x,Dt as y};