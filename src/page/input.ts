/** What reaches the page from outside its own form: keys, links with settings, dropped and pasted pictures. */
import type { App } from "./app.ts";
import { fromHash } from "./link.ts";
import { settingsOf } from "./parameters.ts";
import { adoptSettings } from "./state.ts";
import { texts } from "./texts.ts";
import { toast } from "./views/toast.ts";

const MAX_FILE = 64 * 2 ** 20; // bytes

/** Esc stops what runs, or ends a comparison, unless it closes a dialog. */
export function listenForKeys({ store, queue }: App): void {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (store.state.running) queue.stop();
    else store.set({ compared: undefined });
  });
}

/** Settings in the address, now and whenever it changes. */
export function receiveLinks({ store }: App): void {
  const receive = (): void => {
    const found = fromHash(location.hash);
    if (found) adoptSettings(store, found);
  };
  receive();
  addEventListener("hashchange", receive);
}

/** A PNG dropped on the page, or pasted, gives its settings to the form. */
export function receiveFiles({ store }: App): void {
  const receive = async (file: File | undefined): Promise<void> => {
    if (!file) return;
    const found = file.size <= MAX_FILE ? await settingsOf(file) : undefined;
    if (found) adoptSettings(store, found);
    toast(found ? texts.composer.paste : texts.composer.noSettings);
  };
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  let depth = 0; // dragenter and dragleave come for every element on the way
  const mark = (change: number): void => {
    depth = Math.max(depth + change, 0);
    document.body.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", (event) => hasFiles(event) && mark(1));
  document.addEventListener("dragleave", (event) => hasFiles(event) && mark(-1));
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(-depth);
    void receive(event.dataTransfer?.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) void receive(file);
  });
}
