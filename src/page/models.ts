/** Which models there are, and what of them is on this device. */
import { listModels, removeModel, type StoredModel } from "../index.ts";
import type { Engine } from "./engine.ts";
import type { ModelCard } from "./model_card.ts";
import type { AppStore } from "./state.ts";

export class Models {
  constructor(
    private readonly store: AppStore,
    private readonly engine: Engine,
  ) {}

  async refresh(): Promise<void> {
    const found = await listModels();
    const stored = new Map<string, StoredModel>();
    for (const card of this.store.state.models) {
      const model = found.find(({ url }) => url === this.engine.urlOf(card));
      if (model) stored.set(card.id, model);
    }
    this.store.set({ stored });
  }

  isComplete(id: string): boolean {
    return this.store.state.stored.get(id)?.complete ?? false;
  }

  async remove(card: ModelCard): Promise<void> {
    await this.engine.release();
    await removeModel(this.engine.urlOf(card));
    await this.refresh();
  }
}

/** The list at `folder`. Its addresses must lie in it: the page talks to no other site. */
export async function fetchModels(folder: URL): Promise<ModelCard[]> {
  const response = await fetch(new URL("models.json", folder));
  if (!response.ok) throw new Error(`models.json: HTTP ${response.status}`);
  const cards = ((await response.json()) as ModelCard[]).filter(
    (card) => new URL(card.url, folder).origin === folder.origin,
  );
  if (cards.length === 0) throw new Error("models.json names no model");
  return cards;
}

/** Bytes still to download. */
export function missingBytes(card: ModelCard, stored: StoredModel | undefined): number {
  if (stored?.complete) return 0;
  return stored ? stored.bytes - stored.present : card.bytes;
}
