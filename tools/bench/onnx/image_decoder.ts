/** Our image decoder (AutoencoderKL's) for other runtimes, with fused attention and fused SiLU. */
import type { ImageConfig } from "../../../src/model/image_config.ts";
import { Layers, type ReadTensor } from "./layers.ts";

/** A value [1, channels, height, width]. */
interface Planes {
  readonly value: string;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

const EPS = 1e-6;

class DecoderLayers extends Layers {
  constructor(
    readonly config: ImageConfig,
    read: ReadTensor,
  ) {
    super(read);
  }

  /** Of odd side, over a border of zeros that keeps the size. */
  convolution(x: Planes, name: string): Planes {
    const weight = `${name}.weight`;
    const [channels, , side] = this.read(weight).shape as [number, number, number];
    const border = (side - 1) / 2;
    const value = this.graph.node("Conv", [x.value, this.weight(weight), this.vector(`${name}.bias`)], {
      kernel_shape: [side, side],
      pads: [border, border, border, border],
    });
    return { ...x, value, channels };
  }

  /** Without a GroupNorm of its own on WebGPU, the runtime gets it as exporters write it: an instance is a group. */
  groupNorm(x: Planes, name: string): Planes {
    const { graph } = this;
    const { channels, height, width } = x;
    const { groups } = this.config;
    const ones = graph.tensor([groups], new Float32Array(groups).fill(1));
    const zeros = graph.tensor([groups], new Float32Array(groups));
    const grouped = this.reshape(x.value, [1, groups, -1]);
    const normed = graph.node("InstanceNormalization", [grouped, ones, zeros], { epsilon: { float: EPS } });
    const planes = this.reshape(normed, [1, channels, height, width]);
    const [scale, shift] = ["weight", "bias"].map((part) =>
      graph.tensor([channels, 1, 1], this.read(`${name}.${part}`).data),
    ) as [string, string];
    return { ...x, value: graph.node("Add", [graph.node("Mul", [planes, scale]), shift]) };
  }

  normSilu(x: Planes, name: string): Planes {
    const normed = this.groupNorm(x, name);
    return { ...normed, value: this.silu(normed.value) };
  }

  resnet(x: Planes, name: string, channels: number): Planes {
    const hidden = this.convolution(this.normSilu(x, `${name}.norm1`), `${name}.conv1`);
    const y = this.convolution(this.normSilu(hidden, `${name}.norm2`), `${name}.conv2`);
    const shortcut = x.channels === channels ? x : this.convolution(x, `${name}.conv_shortcut`);
    return { ...y, value: this.graph.node("Add", [shortcut.value, y.value]) };
  }

  /** x + to_out(attention(norm(x))): one head of all channels. */
  midAttention(x: Planes, name: string): Planes {
    const { graph } = this;
    const { channels, height, width } = x;
    const flat = this.reshape(this.groupNorm(x, `${name}.group_norm`).value, [1, channels, height * width]);
    const rows = graph.node("Transpose", [flat], { perm: [0, 2, 1] });
    const qkv = this.linear(rows, `${name}.to_q`, `${name}.to_k`, `${name}.to_v`);
    const [q, k, v] = this.split(qkv, [channels, channels, channels]) as [string, string, string];
    const out = this.linear(this.attention(q, k, v, 1), `${name}.to_out.0`);
    const planes = this.reshape(graph.node("Transpose", [out], { perm: [0, 2, 1] }), [1, channels, height, width]);
    return { ...x, value: graph.node("Add", [x.value, planes]) };
  }

  /** Every pixel becomes 2x2 of the same. */
  doubled(x: Planes): Planes {
    const scales = this.graph.tensor([4], Float32Array.of(1, 1, 2, 2));
    const value = this.graph.node("Resize", [x.value, "", scales], {
      mode: "nearest",
      coordinate_transformation_mode: "asymmetric",
      nearest_mode: "floor",
    });
    return { ...x, value, height: 2 * x.height, width: 2 * x.width };
  }
}

/** latents [1, C, h, w] -> image [1, 3, 8h, 8w] in 0..1. */
export function imageDecoderModel(config: ImageConfig, height: number, width: number, read: ReadTensor): Uint8Array {
  const layers = new DecoderLayers(config, read);
  const { graph } = layers;
  const { latentChannels, imageChannels, channels, resnetsPerBlock, scalingFactor, shiftFactor } = config;
  const latents = graph.input("latents", [1, latentChannels, height, width]);
  const scaled = graph.node("Mul", [latents, graph.scalar(1 / scalingFactor)]);
  const shifted = graph.node("Add", [scaled, graph.scalar(shiftFactor)]);
  let x: Planes = { value: shifted, channels: latentChannels, height, width };
  if (config.postQuantConv) x = layers.convolution(x, "post_quant_conv");

  x = layers.convolution(x, "decoder.conv_in");
  const mid = "decoder.mid_block";
  x = layers.resnet(x, `${mid}.resnets.0`, x.channels);
  if (config.midAttention) x = layers.midAttention(x, `${mid}.attentions.0`);
  x = layers.resnet(x, `${mid}.resnets.1`, x.channels);
  channels.forEach((out, i) => {
    const block = `decoder.up_blocks.${i}`;
    for (let j = 0; j < resnetsPerBlock; j++) x = layers.resnet(x, `${block}.resnets.${j}`, out);
    if (i + 1 < channels.length) x = layers.convolution(layers.doubled(x), `${block}.upsamplers.0.conv`);
  });
  x = layers.convolution(layers.normSilu(x, "decoder.conv_norm_out"), "decoder.conv_out");

  const half = graph.scalar(0.5);
  const halved = graph.node("Add", [graph.node("Mul", [x.value, half]), half]);
  const image = graph.node("Clip", [halved, graph.scalar(0), graph.scalar(1)]);
  graph.output(image, "image", [1, imageChannels, x.height, x.width]);
  return graph.model();
}
