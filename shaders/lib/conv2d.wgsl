// Addressing and epilogue shared by the conv2d kernels. Pixels of a dispatch are numbered row by row from image row params.row0.
// x, y and residual hold some rows of their image each: x_row0, y_row0, residual_row0 are the image rows that their row 0 is.
const OUTSIDE = 0xffffffffu;

/// (row, column) of output pixel `p`; past the end it repeats the last one, which `store4` drops.
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

/// y = sum + bias (+ residual, or + y itself) for four channels of pixel number `p`. Channels from params.outputs to the next
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
