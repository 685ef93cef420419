import { random, type KernelCase, type KernelCases } from "./case.ts";
import { four } from "./conv2d.ts";
import { copyRows } from "./group_norm.ts";
import { latentsToRows, rowsToImage } from "./image_layout.ts";

function latentsCase(channels: number, height: number, width: number, scale: number, shift: number): KernelCase {
  return {
    name: `latents_to_rows ${channels}x${height}x${width}`,
    inputs: () => ({ latents: random([channels, height, width], 1) }),
    outputs: { y: [height, width, four(channels)] },
    record: (rec, t) => latentsToRows(rec, t.latents!, t.y!, scale, shift),
    reference: ({ latents }) => {
      const y = new Float32Array(height * width * four(channels));
      for (let p = 0; p < height * width; p++) {
        for (let c = 0; c < channels; c++)
          y[p * four(channels) + c] = latents![c * height * width + p]! * scale + shift;
      }
      return { y };
    },
    tolerance: 1e-6, // one product and one sum
  };
}

function imageCase(channels: number, height: number, width: number, bands: number[]): KernelCase {
  const stored = four(channels);
  return {
    name: `rows_to_image ${channels}x${height}x${width} bands ${bands}`,
    inputs: () => ({ x: random([height, width, stored], 1) }),
    outputs: { image: [channels, height, width] },
    record: (rec, t) => {
      let row = 0;
      for (const rows of bands) {
        const band = rec.temp(`band ${row}`, [rows, width, stored]);
        copyRows(rec, { tensor: t.x!, first: 0 }, { tensor: band, first: row }, { from: row, to: row + rows });
        rowsToImage(rec, { tensor: band, first: row }, t.image!);
        row += rows;
      }
    },
    reference: ({ x }) => {
      const image = new Float32Array(channels * height * width);
      for (let c = 0; c < channels; c++) {
        for (let p = 0; p < height * width; p++) {
          image[c * height * width + p] = Math.min(1, Math.max(0, x![p * stored + c]! / 2 + 0.5));
        }
      }
      return { image };
    },
    tolerance: 1e-6, // one product and one sum
  };
}

export default {
  kernel: "image_layout",
  cases: [
    latentsCase(4, 12, 20, 1 / 0.18215, 0),
    latentsCase(6, 5, 3, 0.7, 0.1),
    imageCase(3, 9, 7, [9]),
    imageCase(3, 10, 6, [4, 5, 1]),
    imageCase(1, 1, 1, [1]),
  ],
} satisfies KernelCases;
