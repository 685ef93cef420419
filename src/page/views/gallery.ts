/** All pictures of this browser, newest first. */
import type { App } from "../app.ts";
import { arrange, h, setText } from "../dom.ts";
import type { Picture } from "../gallery_store.ts";
import { shown } from "../state.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";
import { confirmed } from "./dialog.ts";
import { download } from "./picture_actions.ts";

const t = texts.gallery;

export function galleryView(app: App): HTMLElement {
  const { store, gallery } = app;
  const count = h("span", { class: "quiet-text" });
  const grid = h("ul", { class: "grid" });
  const empty = h("p", { class: "empty quiet-text" }, t.empty);
  const actions = h(
    "div",
    { class: "row" },
    button(t.exportAll, async () => download(await gallery.zip(), t.archive), {
      icon: "archive",
      look: "plain",
      bare: true,
    }),
    button(
      t.deleteAll,
      async () => {
        if (await confirmed(t.confirmDelete(store.state.pictures.length), t.deleteAll)) await gallery.clear();
      },
      { icon: "trash", look: "plain", bare: true },
    ),
  );

  /** While two are compared, or with Shift, it becomes the second one. */
  const choose = (id: number, asSecond: boolean): void => {
    const now = shown(store.state);
    const first = now && "picture" in now ? now.picture.id : undefined;
    const isComparing = asSecond || now?.kind === "comparison";
    if (isComparing && first !== undefined && first !== id) store.set({ selected: first, compared: id });
    else store.set({ selected: id, compared: undefined });
  };
  const tiles = new Map<number, HTMLElement>();
  const tile = (picture: Picture): HTMLElement => {
    const { prompt, width, height } = picture.settings;
    const image = h("img", { src: gallery.urlOf(picture), alt: "", width, height, loading: "lazy", decoding: "async" });
    const open = h(
      "button",
      {
        type: "button",
        class: "tile",
        "aria-label": t.open(prompt),
        title: prompt,
        on: { click: (event) => choose(picture.id, event.shiftKey) },
      },
      image,
    );
    return h("li", {}, open);
  };

  store.watch(
    ({ pictures }) => [pictures],
    (pictures) => {
      for (const id of tiles.keys()) if (!pictures.some((picture) => picture.id === id)) tiles.delete(id);
      for (const picture of pictures) if (!tiles.has(picture.id)) tiles.set(picture.id, tile(picture));
      arrange(
        grid,
        pictures.map(({ id }) => tiles.get(id)!),
      );
      setText(count, pictures.length > 0 ? t.count(pictures.length) : "");
      empty.hidden = pictures.length > 0;
      actions.hidden = pictures.length === 0;
    },
  );
  store.watch(
    (state) => {
      const now = shown(state);
      return [
        now && "picture" in now ? now.picture.id : undefined,
        now?.kind === "comparison" ? now.other.id : undefined,
        state.pictures,
      ];
    },
    (first, second) => {
      for (const [id, element] of tiles)
        element.firstElementChild!.setAttribute("aria-current", String(id === first || id === second));
    },
  );
  return h(
    "section",
    { class: "gallery", "aria-label": t.title },
    h("header", { class: "row between" }, h("div", { class: "row" }, h("h2", {}, t.title), count), actions),
    grid,
    empty,
  );
}
