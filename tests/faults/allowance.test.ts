import { describe, expect, it } from "vitest";
import { Allowance } from "../../src/allowance.ts";

describe("an allowance", () => {
  it("is used up, and there again when its span is over", () => {
    let now = 0;
    const allowance = new Allowance(2, 60_000, () => now);
    expect([allowance.take(), allowance.take(), allowance.take()]).toEqual([true, true, false]);
    now = 59_999;
    expect(allowance.take()).toBe(false);
    now = 60_000;
    expect([allowance.take(), allowance.take(), allowance.take()]).toEqual([true, true, false]);
    expect(new Allowance(0).take()).toBe(false);
  });
});
