import latentsSource from "../../shaders/latents_to_rows.wgsl?raw";
import imageSource from "../../shaders/rows_to_image.wgsl?raw";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import { four, type Rows } from "./conv2d.ts";

const latentsKernel = defineKernel("latents_to_rows", latentsSource);
const imageKernel = defineKernel("rows_to_image", imageSource);

/** latents [C, h, w] * scale + shift -> y [h, w, C rounded up to four]. */
export function latentsToRows(rec: Recording, latents: Tensor, y: Tensor, scale: number, shift: number): void {
  const [channels, height, width] = latents.shape as [number, number, number];
  expectShapes("latents_to_rows", {
    latents: [latents, [channels, height, width]],
    y: [y, [height, width, four(channels)]],
  });
  const pixels = height * width;
  rec.dispatch(
    latentsKernel,
    { latents, y },
    { grid: linearGrid(Math.ceil((pixels * four(channels)) / 4 / 64)), params: { pixels, channels, scale, shift } },
  );
}

/** All rows of x [rows, W, C rounded up to four] in -1..1 -> rows x.first and following of image [C, H, W] in 0..1. */
export function rowsToImage(rec: Recording, x: Rows, image: Tensor): void {
  const [channels, height, width] = image.shape as [number, number, number];
  const rows = x.tensor.shape[0]!;
  expectShapes("rows_to_image", {
    image: [image, [channels, height, width]],
    x: [x.tensor, [rows, width, four(channels)]],
  });
  rec.dispatch(
    imageKernel,
    { x: x.tensor, image },
    {
      grid: linearGrid(Math.ceil((rows * width) / 64)),
      params: { first: x.first * width, pixels: rows * width, image_pixels: height * width, channels },
    },
  );
}
