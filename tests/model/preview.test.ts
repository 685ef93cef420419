import { expect, it } from "vitest";
import { projectLatents } from "../../src/model/preview.ts";

it("makes colours of latents by the fitted map", () => {
  const latents = Float32Array.of(0, 1, -1, 2 /**/, 1, 0, 0, 2); // two channels of four pixels
  const fit = {
    weights: [
      [0.5, 0, 0],
      [0, 0.25, 0],
    ],
    bias: [0.25, 0, 1],
  };
  const rgba = projectLatents(latents, 4, fit);
  expect([...rgba]).toEqual([64, 64, 255, 255, 191, 0, 255, 255, 0, 0, 255, 255, 255, 128, 255, 255]);
});

it("spreads the first three channels over their range where no map is known", () => {
  const latents = Float32Array.of(-3, 5, /**/ 7, 7, /**/ 0.1, 0.3, /**/ 9, -9);
  expect([...projectLatents(latents, 2)]).toEqual([0, 0, 0, 255, 255, 0, 255, 255]);
});

it("manages with fewer than three channels", () => {
  expect([...projectLatents(Float32Array.of(1, 2), 2)]).toEqual([0, 0, 0, 255, 255, 0, 0, 255]);
});
