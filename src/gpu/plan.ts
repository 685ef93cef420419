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

/** The commands that a tensor is first and last used by. */
interface Life {
  readonly first: number;
  last: number;
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
    const lives = new Map<Tensor, Life>();
    recording.commands.forEach((command, i) => {
      for (const tensor of Recording.touched(command)) {
        if (tensor.buffer || apart.has(tensor)) continue; // weights and the like have memory of their own
        const life = lives.get(tensor);
        if (life) life.last = i;
        else lives.set(tensor, { first: i, last: i });
      }
    });
    const taken: Life[][] = slots.map(() => []);
    const bySize = [...lives].sort(([a], [b]) => b.bytes - a.bytes);
    for (const [tensor, life] of bySize) {
      // The tightest slot that is large enough, else the largest free one (it grows), else a new one.
      let slot = -1;
      for (let other = 0; other < slots.length; other++) {
        const [size, most] = [slots[other]!, slots[slot] ?? -1];
        const isBetter = size >= tensor.bytes ? most < tensor.bytes || size < most : size > most;
        if (isBetter && placeIn(taken[other]!, life) !== undefined) slot = other;
      }
      if (slot < 0) {
        slot = slots.push(0) - 1;
        taken.push([]);
      }
      slots[slot] = Math.max(slots[slot]!, tensor.bytes);
      taken[slot]!.splice(placeIn(taken[slot]!, life)!, 0, life);
      slotOf.set(tensor, slot);
    }
  }
  return { slots, slotOf, bytes: slots.reduce((sum, bytes) => sum + bytes, 0) };
}

/** Where among lives in order, none of which touch, `life` belongs; undefined if it touches one of them. */
function placeIn(lives: readonly Life[], life: Life): number | undefined {
  let [low, high] = [0, lives.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lives[middle]!.last < life.first) low = middle + 1;
    else high = middle;
  }
  return low === lives.length || lives[low]!.first > life.last ? low : undefined;
}
