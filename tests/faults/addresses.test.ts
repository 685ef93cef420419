// What the page holds of its pictures ends with them.
import { resolveObjectURL } from "node:buffer";
import { describe, expect, it, vi } from "vitest";
import { Gallery } from "../../src/page/gallery.ts";
import type { Picture } from "../../src/page/gallery_store.ts";
import type { Settings } from "../../src/page/settings.ts";
import type { AppStore, State } from "../../src/page/state.ts";

/** As much of the page's state as the gallery looks at; nobody watches it. */
function storeOf(): AppStore {
  let state = { pictures: [] } as unknown as State;
  const set = (patch: Partial<State>): void => void (state = { ...state, ...patch });
  return {
    get state() {
      return state;
    },
    set,
  } as unknown as AppStore;
}

const pictureOf = (id: number): Picture => ({
  id,
  created: 0,
  settings: {} as Settings,
  png: new Blob([`${id}`]),
  milliseconds: 1,
});

const isAlive = (url: string): boolean => resolveObjectURL(url) !== undefined;

describe("the address of a picture", () => {
  it("goes with it, and another comes back with it", async () => {
    const created = vi.spyOn(URL, "createObjectURL");
    const gallery = await Gallery.open(storeOf());
    const pictures = [1, 2, 3].map(pictureOf);
    for (const picture of pictures) await gallery.restore(picture);
    const urls = pictures.map((picture) => gallery.urlOf(picture));
    expect(pictures.map((picture) => gallery.urlOf(picture))).toEqual(urls);
    expect(created).toHaveBeenCalledTimes(3);
    expect(urls.map(isAlive)).toEqual([true, true, true]);

    await gallery.remove(2);
    expect(urls.map(isAlive)).toEqual([true, false, true]);
    await gallery.restore(pictures[1]);
    const again = gallery.urlOf(pictures[1]);
    expect(isAlive(again)).toBe(true);

    await gallery.clear();
    expect([...urls, again].map(isAlive)).toEqual([false, false, false, false]);
    await gallery.restore(pictures[0]);
    expect(isAlive(gallery.urlOf(pictures[0]))).toBe(true);
  });
});
