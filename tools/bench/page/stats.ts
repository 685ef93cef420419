/** Medians and fits, shared by pages and Node. */

/** Median and quartiles, by linear interpolation. */
export function quartiles(values: readonly number[]): { median: number; low: number; high: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number): number => {
    const position = q * (sorted.length - 1);
    const below = sorted[Math.floor(position)]!;
    return below + (sorted[Math.ceil(position)]! - below) * (position % 1);
  };
  return { median: at(0.5), low: at(0.25), high: at(0.75) };
}

export const median = (values: readonly number[]): number => quartiles(values).median;

/** Slope of the least-squares line through (log x, log y): y grows as x to this power. */
export function exponent(points: readonly (readonly [number, number])[]): number {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)] as const);
  const mean = (pick: 0 | 1): number => logs.reduce((sum, point) => sum + point[pick], 0) / logs.length;
  const [mx, my] = [mean(0), mean(1)];
  const slope = logs.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  return slope / logs.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
}

/** |y - ref| / |ref|, Frobenius norms. */
export function relativeError(y: ArrayLike<number>, ref: ArrayLike<number>): number {
  if (y.length !== ref.length) return Infinity;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < ref.length; i++) {
    difference += (y[i]! - ref[i]!) ** 2;
    norm += ref[i]! ** 2;
  }
  return Math.sqrt(difference) / Math.max(Math.sqrt(norm), 1e-30);
}
