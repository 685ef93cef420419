import { createHash, randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { Sha256 } from "../../src/weights/sha256.ts";

it("is SHA-256 at every length around its blocks, however the bytes come", () => {
  const bytes = randomBytes(200);
  for (let length = 0; length <= bytes.length; length++) {
    const expected = createHash("sha256").update(bytes.subarray(0, length)).digest("hex");
    for (const step of [1, 7, 64, 200]) {
      const hash = new Sha256();
      for (let at = 0; at < length; at += step) hash.update(bytes.subarray(at, Math.min(at + step, length)));
      expect(hash.hex(), `${length} bytes by ${step}`).toBe(expected);
    }
  }
});
