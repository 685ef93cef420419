/**
 * Matrices that a q4 model keeps at 8 bits. `shared.weight` is looked up, not multiplied, so that its errors do not average out. The others are
 * where measuring found most of eps's error (docs/weights.md): what the text comes in through, and the transformer's first and last block.
 */
export function staysPrecise(name: string, blocks: number): boolean {
  const block = /^transformer_blocks\.(\d+)\./.exec(name)?.[1];
  const isEnd = block !== undefined && [0, blocks - 1].includes(Number(block));
  return isEnd || name === "shared.weight" || name.startsWith("caption_projection.");
}
