import { ScanvasError } from "../errors.ts";
import type { Recording } from "../gpu/recording.ts";
import { viewTensor, type Tensor } from "../gpu/tensor.ts";
import { conv1d } from "../kernels/conv1d.ts";
import { gatedNorm } from "../kernels/gated_norm.ts";
import { gemm } from "../kernels/gemm.ts";
import { ssd, ssdProduct } from "../kernels/ssd.ts";
import type { ScanGrid } from "../kernels/ssd_shape.ts";
import { rowsOf, type Band, type DenoiserPlan, type HeadGroup, type TokenGrid } from "./bands.ts";
import type { Branch } from "./branch.ts";
import type { MambaConfig } from "./config.ts";
import type { Weights } from "./weights.ts";

/**
 * A bidirectional Mamba-2 mixer (contract.md 2.2) as a branch of a block, of which `weights` are. Its last product is `mamba_fuse_out`, which
 * the converter folded from out_proj and fuse.
 *
 * Where everything fits, one product makes z, x, B, C and dt of all tokens. Else B, C and dt are made first, which all heads share; then,
 * for each group of heads, x and its scan; then, for each band of rows, z, the norm and the last product. So the scan's output
 * is the only wide tensor that is ever whole, and it lies in as many parts as there are groups.
 */
export function recordMambaMixer(
  rec: Recording,
  config: MambaConfig,
  weights: Weights,
  order: ScanGrid["order"],
  branch: Branch,
  tokenGrid: TokenGrid,
  { residual, scan: { groups, bands } }: DenoiserPlan,
): void {
  const { inner, heads, headDim, state, fusion } = config;
  if (heads * headDim !== inner) {
    throw new ScanvasError(
      "ModelConfigError",
      `mamba: ${heads} scan heads of ${headDim} do not make the inner width ${inner}`,
    );
  }
  const grid: ScanGrid = { ...tokenGrid, order, directions: config.bidirectional ? 2 : 1 };
  const mamba = weights.under("mamba");
  const input = new InputProjection(rec, config, mamba, grid, residual);
  const u = rec.activation("normed", [tokenGrid.batch * tokenGrid.height * tokenGrid.width, config.width]);
  for (const band of residual) branch.input(band, rowsOf(u, band));
  const whole = groups.length === 1 && bands.length === 1 ? input.whole(u) : undefined;
  const { b, c, dt } = whole ?? input.shared(u);

  const product = ssdProduct(rec, { b, c });
  const perHead = {
    dtBias: mamba.get("dt_bias", [heads]),
    aLog: mamba.get("A_log", [heads]),
    skip: mamba.get("D", [heads]),
  };
  const y = groups.map((group) => {
    const x = whole?.x ?? input.heads(group, u);
    const part = rec.activation("y", x.shape);
    ssd(
      rec,
      { x, b, c, product, dt, ...perHead, y: part },
      { grid, heads: group.count, firstHead: group.first, headDim, state },
    );
    return part;
  });

  const columns = grid.directions === 2 && fusion === "concat" ? 2 * inner : inner;
  for (const band of bands) {
    const z = whole?.z ?? input.gate(branch.input(band));
    const out = rec.activation("mixed", [band.rows, columns]);
    gatedNorm(rec, { y, z, weight: mamba.get("norm.weight", [inner]), out }, grid, fusion, band.first);
    const fuseOut = weights.get("mamba_fuse_out.weight", [config.width, columns]);
    branch.output(band, out, fuseOut, weights.get("mamba_fuse_out.bias", [config.width]));
  }
}

/** Every tensor that a scan needs. z: [B T, E] in token order, x: [S, T, E], b, c: [S, T, N] in scan order, dt: [B, T, M]. */
interface Projected {
  readonly z: Tensor;
  readonly x: Tensor;
  readonly b: Tensor;
  readonly c: Tensor;
  readonly dt: Tensor;
}

/** in_proj and the convolution after it, at once or in parts. The rows of in_proj's weight are those of z, x, B, C and dt. u: [rows, D]. */
class InputProjection {
  readonly #weight: Tensor;
  readonly #convolution: { readonly weight: Tensor; readonly bias: Tensor };

  constructor(
    private readonly rec: Recording,
    private readonly config: MambaConfig,
    weights: Weights,
    private readonly grid: ScanGrid,
    private readonly bands: readonly Band[],
  ) {
    const { inner, state, heads, taps } = config;
    const channels = inner + 2 * state;
    this.#weight = weights.get("in_proj.weight", [inner + channels + heads, config.width]);
    this.#convolution = {
      weight: weights.get("conv1d.weight", [channels, taps]),
      bias: weights.get("conv1d.bias", [channels]),
    };
  }

  whole(u: Tensor): Projected {
    const { rec, config, grid } = this;
    const z = rec.activation("z", [u.shape[0]!, config.inner]);
    const xbc = this.#tokens("xbc", config.inner + 2 * config.state);
    const dt = this.#steps();
    gemm(rec, u, this.#weight, [z, xbc, dt]);
    const x = this.#sequences("x", config.inner);
    const [b, c] = [this.#sequences("b", config.state), this.#sequences("c", config.state)];
    conv1d(rec, { xbc, ...this.#convolution, x, b, c }, grid);
    return { z, x, b, c, dt };
  }

  /** What all heads share. */
  shared(u: Tensor): Pick<Projected, "b" | "c" | "dt"> {
    const { inner, state, heads } = this.config;
    const bc = this.#tokens("bc", 2 * state);
    const dt = this.#steps();
    this.#project(u, this.#rows(2 * inner, 2 * state + heads), [bc, dt]);
    const [b, c] = [this.#sequences("b", state), this.#sequences("c", state)];
    conv1d(this.rec, { xbc: bc, ...this.#convolution, b, c }, this.grid, inner);
    return { b, c, dt };
  }

  /** x of some heads. */
  heads({ first, count }: HeadGroup, u: Tensor): Tensor {
    const { inner, headDim } = this.config;
    const tokens = this.#tokens("x_tokens", count * headDim);
    this.#project(u, this.#rows(inner + first * headDim, count * headDim), [tokens]);
    const x = this.#sequences("x", count * headDim);
    conv1d(this.rec, { xbc: tokens, ...this.#convolution, x }, this.grid, first * headDim);
    return x;
  }

  /** z of some rows of u. */
  gate(u: Tensor): Tensor {
    const z = this.rec.activation("z", [u.shape[0]!, this.config.inner]);
    gemm(this.rec, u, this.#rows(0, this.config.inner), z);
    return z;
  }

  #project(u: Tensor, weight: Tensor, out: Tensor[]): void {
    for (const band of this.bands) {
      gemm(
        this.rec,
        rowsOf(u, band),
        weight,
        out.map((tensor) => rowsOf(tensor, band)),
      );
    }
  }

  #rows(first: number, count: number): Tensor {
    const { width } = this.config;
    return viewTensor(this.#weight, this.#weight.label, [count, width], first * width);
  }

  /** dt, which ends in exponents: f32 always. */
  #steps(): Tensor {
    const { batch, height, width } = this.grid;
    return this.rec.temp("dt", [batch, height * width, this.config.heads]);
  }

  #tokens(name: string, channels: number): Tensor {
    const { batch, height, width } = this.grid;
    return this.rec.activation(name, [batch, height * width, channels]);
  }

  #sequences(name: string, channels: number): Tensor {
    const { batch, directions, height, width } = this.grid;
    return this.rec.activation(name, [directions * batch, height * width, channels]);
  }
}
