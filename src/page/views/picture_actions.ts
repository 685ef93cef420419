/** What can be done with a picture. */
import type { App } from "../app.ts";
import { h } from "../dom.ts";
import { fileName } from "../format.ts";
import type { Picture } from "../gallery_store.ts";
import { toHash } from "../link.ts";
import { adoptSettings } from "../state.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";
import { toast } from "./toast.ts";
import type { Viewer } from "./viewer.ts";

const t = texts.picture;

export function pictureActions(app: App, picture: Picture, viewer: Viewer): HTMLElement {
  const { settings, png } = picture;
  const { store, gallery, queue } = app;
  return h(
    "div",
    { class: "actions" },
    button(t.again, () => queue.add("pictures", { ...settings, seed: undefined }), { icon: "dice" }),
    button(t.use, () => adoptSettings(store, settings), { icon: "restore" }),
    button(t.download, () => download(png, fileName(settings.prompt, settings.seed)), { icon: "download" }),
    button(t.view, () => viewer.open(picture), { icon: "expand", bare: true, "data-focus": "view-large" }),
    button(t.compare, () => compare(app, picture), { icon: "compare", bare: true }),
    button(t.copy, () => copyPicture(png), { icon: "copy", bare: true }),
    button(t.share, () => share(toHash(settings)), { icon: "link", bare: true }),
    button(
      t.delete,
      async () => {
        await gallery.remove(picture.id);
        toast(t.deleted, { label: t.undo, run: () => gallery.restore(picture) });
      },
      { icon: "trash", bare: true },
    ),
  );
}

/** With the one made before it, or after it if it is the oldest: another one is a click in the gallery away. */
function compare({ store }: App, picture: Picture): void {
  const { pictures } = store.state;
  const at = pictures.findIndex(({ id }) => id === picture.id);
  const other = pictures[at + 1] ?? pictures[at - 1];
  if (other) store.set({ selected: picture.id, compared: other.id });
  else toast(t.nothingToCompare);
}

export function download(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser reads it after the click
}

async function copyPicture(png: Blob): Promise<void> {
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
    toast(t.copied);
  } catch {
    toast(t.copyFailed);
  }
}

async function share(hash: string): Promise<void> {
  const url = new URL(hash, location.href).href;
  history.replaceState(null, "", hash);
  await navigator.clipboard.writeText(url).catch(() => undefined); // the address bar has it too
  toast(t.shared);
}
