import { Recording } from "./recording.ts";
import type { Tensor } from "./tensor.ts";

/** Where every temporary tensor of some recordings will live, known before a byte is allocated. */
export interface MemoryPlan {
  /** Bytes of each shared buffer. */
  readonly slots: readonly number[];
  /** Which shared buffer each temporary tensor uses. */
  readonly slotOf: ReadonlyMap<Tensor, number>;
  /** Sum of `slots`: the workspace that all these recordings need, since they never run at once. */
  readonly bytes: number;
}

/**
 * Plans the temporaries of `recordings` (which run one after the other) into shared buffers. A tensor lives from its first to
 * its last command; within a recording two tensors share a buffer only if their lives do not touch. Whole buffers are shared, not
 * ranges of one buffer, because WebGPU forbids binding one buffer for reading and for writing in the same dispatch.
 * `owned` are tensors that will get memory of their own but have none yet. Greedy by size for shared objects: Pisarchyk & Lee 2020 (arXiv 2001.03288).
 */
export function planMemory(recordings: readonly Recording[], owned: Iterable<Tensor> = []): MemoryPlan {
  const apart = new Set(owned);
  const slots: number[] = [];
  const slotOf = new Map<Tensor, number>();
  for (const recording of recordings) {
    const lives = new Map<Tensor, { first: number; last: number }>();
    recording.commands.forEach((command, i) => {
      for (const tensor of Recording.touched(command)) {
        if (tensor.buffer || apart.has(tensor)) continue; // weights and the like have memory of their own
        const life = lives.get(tensor);
        if (life) life.last = i;
        else lives.set(tensor, { first: i, last: i });
      }
    });
    const taken: { first: number; last: number }[][] = slots.map(() => []);
    const bySize = [...lives].sort(([a], [b]) => b.bytes - a.bytes);
    for (const [tensor, life] of bySize) {
      const free = slots
        .map((_, slot) => slot)
        .filter((slot) => taken[slot]!.every((other) => other.last < life.first || other.first > life.last));
      // The tightest slot that is large enough, else the largest free one (it grows), else a new one.
      const fitting = free.filter((slot) => slots[slot]! >= tensor.bytes).sort((a, b) => slots[a]! - slots[b]!)[0];
      const slot = fitting ?? free.sort((a, b) => slots[b]! - slots[a]!)[0] ?? slots.push(0) - 1;
      slots[slot] = Math.max(slots[slot]!, tensor.bytes);
      (taken[slot] ??= []).push(life);
      slotOf.set(tensor, slot);
    }
  }
  return { slots, slotOf, bytes: slots.reduce((sum, bytes) => sum + bytes, 0) };
}
