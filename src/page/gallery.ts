/** The pictures of this browser: kept, listed in the state, taken out again. */
import type { GeneratedImage } from "../index.ts";
import { fileName } from "./format.ts";
import { GalleryStore, type Picture } from "./gallery_store.ts";
import { withSettings } from "./parameters.ts";
import type { Settings } from "./settings.ts";
import type { AppStore } from "./state.ts";

export class Gallery {
  readonly #urls = new WeakMap<Blob, string>();

  private constructor(
    private readonly store: AppStore,
    private readonly kept: GalleryStore,
  ) {}

  static async open(store: AppStore): Promise<Gallery> {
    const kept = await GalleryStore.open();
    store.set({ pictures: await kept.all() });
    return new Gallery(store, kept);
  }

  /** Returns the picture's id. */
  async add(image: GeneratedImage, settings: Settings, milliseconds: number): Promise<number> {
    const png = await withSettings(await image.toBlob(), settings);
    const newest = this.store.state.pictures[0]?.id ?? 0;
    const id = Math.max(Date.now(), newest + 1); // ids are in the order of making
    await this.restore({ id, created: Date.now(), settings, png, milliseconds });
    return id;
  }

  /** Puts a picture in its place, also one that was removed. */
  async restore(picture: Picture): Promise<void> {
    await this.kept.put(picture).catch(() => undefined); // no room: it stays until the page is closed
    const pictures = [picture, ...this.store.state.pictures];
    this.store.set({ pictures: pictures.sort((a, b) => b.id - a.id) });
  }

  async remove(id: number): Promise<void> {
    await this.kept.remove(id);
    const { pictures, selected, compared, outcome } = this.store.state;
    for (const { png } of pictures.filter((picture) => picture.id === id)) this.#revoke(png);
    this.store.set({
      pictures: pictures.filter((picture) => picture.id !== id),
      ...(selected === id && { selected: undefined, compared: undefined }),
      ...(compared === id && { compared: undefined }),
      ...(outcome?.kind === "picture" && outcome.id === id && { outcome: undefined }),
    });
  }

  async clear(): Promise<void> {
    await this.kept.clear();
    for (const { png } of this.store.state.pictures) this.#revoke(png);
    this.store.set({ pictures: [], selected: undefined, compared: undefined, outcome: undefined });
  }

  /** All of them in a zip, oldest first. */
  async zip(): Promise<Blob> {
    const { zip } = await import("./zip.ts");
    const pictures = this.store.state.pictures.toReversed();
    const digits = String(pictures.length).length;
    return zip(
      pictures.map(({ png, settings }, i) => ({
        name: `${String(i + 1).padStart(digits, "0")}-${fileName(settings.prompt, settings.seed)}`,
        blob: png,
      })),
    );
  }

  /** An address of the picture in this page. */
  urlOf({ png }: Picture): string {
    let url = this.#urls.get(png);
    if (!url) this.#urls.set(png, (url = URL.createObjectURL(png)));
    return url;
  }

  #revoke(png: Blob): void {
    const url = this.#urls.get(png);
    if (url) URL.revokeObjectURL(url);
    this.#urls.delete(png); // put back, it needs another one
  }
}
