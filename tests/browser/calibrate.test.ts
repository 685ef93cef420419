// `scanvas convert --calibrate` as a user runs it: two models in a real Chromium, compared.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { calibrate, readPrompts } from "../../tools/convert/calibrate.ts";
import { convert } from "../../tools/convert/convert.ts";
import { PIXART } from "../pipeline/golden.ts";
import { scratch } from "../weights/fixtures.ts";

describe("calibrate", () => {
  it("measures what f16 does", async () => {
    const half = await scratch();
    const prompts = ["a red circle"];
    await convert(`${PIXART}/pipeline`, half, { dtype: "f16" });
    const said: string[] = [];
    const [lossy] = await calibrate(`${PIXART}/pipeline`, half, prompts, (line) => said.push(line));
    for (const key of ["embeddings", "eps", "latents"] as const) {
      expect(lossy[key], key).toBeGreaterThan(1e-6);
      expect(lossy[key], key).toBeLessThan(0.02);
    }
    expect(lossy.psnr).toBeGreaterThan(35);
    expect(lossy.psnr).toBeLessThan(120);
    expect(said[0]).toMatch(/^calibrate: converting to f32/);
  });

  it("reads prompts, one a line, and says when there are none", async () => {
    const file = join(await scratch(), "prompts.txt");
    await writeFile(file, "\n a frog \nzwei Häuser\n\n");
    expect(await readPrompts(file)).toEqual(["a frog", "zwei Häuser"]);
    await writeFile(file, "\n\n");
    await expect(readPrompts(file)).rejects.toThrow(
      /calibrate: .*prompts\.txt is empty, expected a prompt on each line/,
    );
    await expect(readPrompts("/nowhere")).rejects.toThrow(/calibrate: \/nowhere cannot be read/);
  });
});
