// The order in which a scan walks over the height x width token grid, as an index function: nothing is ever transposed in memory.
// By rows (mamba_w) or by columns (mamba_h), forward or backward. Position p of a sequence is token `token_at(p)`.
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
