/** One picture as large as the window, down to its pixels: wheel, pinch and keys zoom, dragging and arrows move. */
import type { App } from "../app.ts";
import { h, setText } from "../dom.ts";
import type { Picture } from "../gallery_store.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";
import { Zoom } from "./zoom.ts";

const t = texts.viewer;
const FACTOR = 1.5; // of one key or button
const STEP = 80; // CSS pixels of one arrow key
const WHEEL = 0.002; // per unit of the wheel, e-fold

export interface Viewer {
  readonly element: HTMLDialogElement;
  open(picture: Picture): void;
}

export function viewer(app: App): Viewer {
  let zoom = new Zoom({ width: 1, height: 1 }, { width: 1, height: 1 });
  let shown: Picture | undefined;
  const image = h("img", { class: "pixels", draggable: "false" });
  const view = h("div", { class: "view", role: "group", tabindex: 0, autofocus: true, "aria-label": t.keys }, image);
  const percent = h("output", { class: "percent", "aria-live": "polite" });

  const size = (): { width: number; height: number } => ({ width: view.clientWidth, height: view.clientHeight });
  const draw = (): void => {
    image.style.transform = `translate(${zoom.x}px, ${zoom.y}px) scale(${zoom.scale})`;
    image.classList.toggle("crisp", !zoom.isFitted && zoom.scale > 1);
    view.classList.toggle("movable", !zoom.isFitted);
    setText(percent, t.percent(zoom.scale * 100));
    const at = app.store.state.pictures.findIndex(({ id }) => id === shown?.id);
    previous.disabled = at <= 0;
    next.disabled = at < 0 || at + 1 >= app.store.state.pictures.length;
    if (!element.contains(document.activeElement)) view.focus(); // a button that is disabled loses it
  };
  const act = (change: () => void) => (): void => {
    change();
    draw();
  };
  const show = (picture: Picture): void => {
    const { width, height, prompt } = picture.settings;
    shown = picture;
    image.src = app.gallery.urlOf(picture);
    image.alt = prompt;
    [image.width, image.height] = [width, height];
    zoom = new Zoom({ width, height }, size());
    draw();
  };
  const go = (by: number) => (): void => {
    const { pictures, selected } = app.store.state;
    const picture = pictures[pictures.findIndex(({ id }) => id === shown?.id) + by];
    if (!picture) return;
    show(picture);
    if (selected !== picture.id) app.store.set({ selected: picture.id });
  };
  const bare = { look: "plain", bare: true } as const;
  const previous = button(t.previous, go(-1), { icon: "left", ...bare });
  const next = button(t.next, go(1), { icon: "right", ...bare });
  const larger = act(() => zoom.to(zoom.scale * FACTOR));
  const smaller = act(() => zoom.to(zoom.scale / FACTOR));
  const fit = act(() => zoom.fit());
  const actual = act(() => zoom.to(1));
  const fullScreen = (): unknown =>
    (document.fullscreenElement ? document.exitFullscreen() : element.requestFullscreen()).catch(() => undefined);

  const keys: Record<string, () => unknown> = {
    "+": larger,
    "=": larger,
    "-": smaller,
    0: fit,
    1: actual,
    f: fullScreen,
    ArrowLeft: () => (zoom.isFitted ? go(-1)() : act(() => zoom.move(STEP, 0))()),
    ArrowRight: () => (zoom.isFitted ? go(1)() : act(() => zoom.move(-STEP, 0))()),
    ArrowUp: act(() => zoom.move(0, STEP)),
    ArrowDown: act(() => zoom.move(0, -STEP)),
  };
  const element: HTMLDialogElement = h(
    "dialog",
    {
      class: "viewer",
      "aria-label": t.label,
      on: {
        keydown: (event) => {
          const action = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
          if (!action) return;
          event.preventDefault();
          action();
        },
      },
    },
    view,
    h(
      "div",
      { class: "viewer-bar row" },
      previous,
      next,
      button(t.smaller, smaller, { icon: "minus", ...bare }),
      percent,
      button(t.larger, larger, { icon: "plus", ...bare }),
      button(t.fit, fit, { look: "plain" }),
      button(t.actual, actual, { look: "plain" }),
      button(t.fullScreen, fullScreen, { icon: "expand", ...bare }),
      button(texts.common.close, () => element.close(), { icon: "close", ...bare }),
    ),
  );
  element.addEventListener("close", () => document.fullscreenElement && void document.exitFullscreen());

  view.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { left, top } = view.getBoundingClientRect();
      zoom.to(zoom.scale * Math.exp(-event.deltaY * WHEEL), event.clientX - left, event.clientY - top);
      draw();
    },
    { passive: false },
  );
  view.addEventListener("dblclick", (event) => {
    const { left, top } = view.getBoundingClientRect();
    if (zoom.isFitted) zoom.to(Math.max(2 * zoom.scale, 1), event.clientX - left, event.clientY - top);
    else zoom.fit();
    draw();
  });
  listenForDrags(view, (dx, dy, factor, x, y) => {
    zoom.move(dx, dy);
    if (factor !== 1) zoom.to(zoom.scale * factor, x, y);
    draw();
  });
  new ResizeObserver(() => {
    if (!element.open) return;
    zoom.resize(size());
    draw();
  }).observe(view);

  return {
    element,
    open(picture) {
      element.showModal();
      show(picture);
    },
  };
}

/** One finger or the mouse moves; two fingers zoom about the point between them, (x, y) of the view. */
function listenForDrags(
  view: HTMLElement,
  onDrag: (dx: number, dy: number, factor: number, x: number, y: number) => void,
): void {
  const fingers = new Map<number, { x: number; y: number }>();
  const grip = (): { x: number; y: number; spread: number } => {
    const points = [...fingers.values()];
    const [a, b = a] = points as [{ x: number; y: number }, { x: number; y: number }?];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, spread: Math.hypot(a.x - b.x, a.y - b.y) };
  };
  view.addEventListener("pointerdown", (event) => {
    view.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  view.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = grip();
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const now = grip();
    const { left, top } = view.getBoundingClientRect();
    const factor = before.spread > 0 && now.spread > 0 ? now.spread / before.spread : 1;
    onDrag(now.x - before.x, now.y - before.y, factor, now.x - left, now.y - top);
  });
  for (const end of ["pointerup", "pointercancel"] as const)
    view.addEventListener(end, (event) => fingers.delete(event.pointerId));
}
