// What every matrix kernel does with a finished sum: y = residual + gate * activation(sum + bias), or y = activation(.) * residual.
// Columns below SPLIT0 go to y0, then below SPLIT1 to y1, the rest to y2, each a matrix of its own.
override HAS_BIAS: bool = false;
override HAS_GATE: bool = false;      // gate[batch, column]: row r belongs to batch r / params.rows_per_batch
override RESIDUAL: u32 = 0u;          // 0 none, 1 add, 2 multiply
override ACTIVATION: u32 = 0u;

fn store(row: u32, column: u32, sum: f32) {
  if (row >= params.rows || column >= params.columns) { return; }
  var value = sum;
  if (HAS_BIAS) { value += bias[column]; }
  value = activate(ACTIVATION, value);
  if (HAS_GATE) { value *= gate[params.gate_offset + (row / params.rows_per_batch) * params.gate_stride + column]; }
  let index = row * params.columns + column;
  if (RESIDUAL == 1u) { value += residual[index]; }
  if (RESIDUAL == 2u) { value *= residual[index]; }
  if (column < params.split0) {
    y0[row * params.split0 + column] = value;
  } else if (column < params.split1) {
    y1[row * (params.split1 - params.split0) + column - params.split0] = value;
  } else {
    y2[row * (params.columns - params.split1) + column - params.split1] = value;
  }
}
