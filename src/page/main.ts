/** The page: finds out whether it can run here, then puts the parts together. */
import type { App } from "./app.ts";
import { probeDevice } from "./device.ts";
import { h } from "./dom.ts";
import { Engine } from "./engine.ts";
import { Gallery } from "./gallery.ts";
import { listenForKeys, receiveFiles, receiveLinks } from "./input.ts";
import { fetchModels, Models } from "./models.ts";
import { Plans } from "./plans.ts";
import { Queue } from "./queue.ts";
import { createStore } from "./state.ts";
import { texts } from "./texts.ts";
import { restoreTheme } from "./theme.ts";
import { allowOwnScripts } from "./trusted.ts";
import { composer } from "./views/composer.ts";
import { galleryView } from "./views/gallery.ts";
import { header } from "./views/header.ts";
import { stage } from "./views/stage.ts";
import { toastRegion } from "./views/toast.ts";
import { unsupported } from "./views/unsupported.ts";

async function start(): Promise<void> {
  restoreTheme();
  allowOwnScripts();
  const device = await probeDevice();
  if (typeof device === "string") return document.body.replaceChildren(unsupported(device));

  const folder = new URL("./models/", document.baseURI);
  const store = createStore(await fetchModels(folder));
  store.set({ device });
  const engine = new Engine(folder);
  const models = new Models(store, engine);
  const gallery = await Gallery.open(store);
  const queue = new Queue(store, engine, models, gallery);
  const app: App = { store, engine, models, plans: new Plans(store, engine), gallery, queue };
  await models.refresh();
  const newest = store.state.pictures[0];
  if (newest) store.set({ outcome: { kind: "picture", id: newest.id } });

  receiveLinks(app);
  receiveFiles(app);
  listenForKeys(app);
  document.body.replaceChildren(
    header(app),
    h("main", {}, h("div", { class: "work" }, stage(app), composer(app)), galleryView(app)),
    toastRegion(),
  );
  if (import.meta.env.PROD) await navigator.serviceWorker?.register("./sw.js");
}

start().catch((error: unknown) => {
  document.body.replaceChildren(
    h(
      "main",
      { class: "unsupported" },
      h("h1", {}, texts.errors.noModels),
      h("p", {}, error instanceof Error ? error.message : String(error)),
    ),
  );
});
