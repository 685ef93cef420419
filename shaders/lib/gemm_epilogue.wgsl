// What every matrix kernel does with a finished sum: y = residual + gate * activation(sum + bias), or y = activation(.) * residual.
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
    y0[row * params.split0 + column] = y0_type(value);
  } else if (column < params.split1) {
    y1[row * (params.split1 - params.split0) + column - params.split0] = y1_type(value);
  } else {
    y2[row * (params.columns - params.split1) + column - params.split1] = y2_type(value);
  }
}
