/** Two pictures in one place with a slider between them. The slider is the browser's own: keys and screen readers know it. */
import type { App } from "../app.ts";
import { h } from "../dom.ts";
import type { Picture } from "../gallery_store.ts";
import { texts } from "../texts.ts";

const t = texts.comparison;

export function comparison(app: App, left: Picture, right: Picture): HTMLElement {
  const { width, height } = left.settings;
  const side = (picture: Picture, name: string): HTMLElement =>
    h("img", { class: name, src: app.gallery.urlOf(picture), alt: picture.settings.prompt, width, height });
  const slider = h("input", {
    type: "range",
    class: "split",
    min: 0,
    max: 100,
    step: 0.5,
    "aria-label": t.slider,
    "aria-valuetext": t.share(50),
    on: {
      input: () => {
        element.style.setProperty("--split", `${slider.value}%`);
        slider.setAttribute("aria-valuetext", t.share(Number(slider.value)));
      },
    },
  });
  slider.value = "50";
  const element = h("div", { class: "picture comparison" }, side(left, "left"), side(right, "right"), slider);
  element.style.setProperty("--ratio", `${width} / ${height}`);
  element.style.setProperty("--split", "50%");
  return element;
}
