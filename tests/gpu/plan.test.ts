import { describe, expect, it } from "vitest";
import { planMemory } from "../../src/gpu/plan.ts";
import { Recording } from "../../src/gpu/recording.ts";
import { makeTensor, viewTensor } from "../../src/gpu/tensor.ts";

describe("planMemory", () => {
  it("shares a buffer between tensors whose lives do not touch, and only those", () => {
    const rec = new Recording("test");
    const [a, b, c, d] = ["a", "b", "c", "d"].map((label) => rec.temp(label, [256])) as [never, never, never, never];
    rec.copy(a, b);
    rec.copy(b, c);
    rec.copy(c, d);
    const { slotOf, slots, bytes } = planMemory([rec]);
    expect(slots.length).toBe(2);
    expect(bytes).toBe(2048);
    expect(slotOf.get(a)).not.toBe(slotOf.get(b)); // both alive in the first command
    expect(slotOf.get(b)).not.toBe(slotOf.get(c));
    expect(slotOf.get(a)).toBe(slotOf.get(c));
  });

  it("keeps tensors that own their memory out of the shared buffers, allocated or not", () => {
    const rec = new Recording("test");
    const owned = makeTensor("owned", [64]);
    const temp = rec.temp("temp", [64]);
    rec.copy(owned, temp);
    expect([...planMemory([rec], [owned]).slotOf.keys()]).toEqual([temp]);
  });

  it("never lets two lives in one buffer touch, nor gives a tensor less than it needs", () => {
    const rec = new Recording("test");
    const random = (n: number): number => (seed = (seed * 48271) % 2147483647) % n;
    let seed = 7;
    const temps = Array.from({ length: 60 }, (_, i) => rec.temp(`${i}`, [4 * (1 + random(50))]));
    const uses = Array.from({ length: 200 }, (_, i) => [
      Math.floor(i / 4) + random(10),
      Math.floor(i / 4) + random(10),
    ]);
    for (const [a, b] of uses) rec.copy(temps[a!]!, temps[b!]!, { count: 4 });
    const { slotOf, slots, bytes } = planMemory([rec]);
    const lives = temps.map((_, t) => uses.flatMap((pair, i) => (pair.includes(t) ? [i] : [])));
    temps.forEach((tensor, t) => {
      if (lives[t]!.length === 0) return;
      expect(slots[slotOf.get(tensor)!]).toBeGreaterThanOrEqual(tensor.bytes);
      for (let u = 0; u < t; u++) {
        if (lives[u]!.length === 0 || slotOf.get(temps[u]!) !== slotOf.get(tensor)) continue;
        const isApart = lives[t]!.at(-1)! < lives[u]![0]! || lives[u]!.at(-1)! < lives[t]![0]!;
        expect(isApart, `${t} and ${u}`).toBe(true);
      }
    });
    expect(bytes).toBeLessThan(temps.reduce((sum, tensor) => sum + tensor.bytes, 0) / 2);
  });

  it("counts a view as a use of its base", () => {
    const rec = new Recording("test");
    const base = rec.temp("base", [128]);
    const other = rec.temp("other", [64]);
    const last = rec.temp("last", [64]);
    rec.copy(other, base, { count: 64 });
    rec.copy(other, last);
    rec.copy(viewTensor(base, "half", [64], 64), last);
    const { slotOf } = planMemory([rec]);
    expect(slotOf.size).toBe(3);
    expect(new Set(slotOf.values()).size).toBe(3); // base lives to the end, through its view
  });
});
