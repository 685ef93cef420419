/** All pictures of this browser, newest first. */
import type { App } from "../app.ts";
import { h, replaceChildren, setText } from "../dom.ts";
import type { Picture } from "../gallery_store.ts";
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
        on: { click: () => store.set({ selected: picture.id }) },
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
      replaceChildren(grid, ...pictures.map(({ id }) => tiles.get(id)!));
      setText(count, pictures.length > 0 ? t.count(pictures.length) : "");
      empty.hidden = pictures.length > 0;
      actions.hidden = pictures.length === 0;
    },
  );
  store.watch(
    ({ selected, outcome, running, pictures }) => [
      selected ?? (!running && outcome?.kind === "picture" ? outcome.id : undefined),
      pictures,
    ],
    (id) => {
      for (const [one, element] of tiles) {
        element.firstElementChild!.setAttribute("aria-current", String(one === id));
      }
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
