/** The bar on top: name, model, device, colours. */
import type { App } from "../app.ts";
import { h, icon, setText } from "../dom.ts";
import { cardOf } from "../state.ts";
import { texts } from "../texts.ts";
import { nextTheme, setTheme, theme } from "../theme.ts";
import { button } from "./button.ts";
import { deviceDialog } from "./device_dialog.ts";
import { modelsDialog } from "./models_dialog.ts";

const t = texts.header;

export function header(app: App): HTMLElement {
  const { store } = app;
  const models = modelsDialog(app);
  const device = deviceDialog(app);
  const name = h("span");
  const ready = h("span", { class: "badge" }, icon("check"), h("span", {}, t.offlineReady));
  const open = h(
    "button",
    { type: "button", class: "button plain model", on: { click: () => models.showModal() } },
    icon("box"),
    h("span", { class: "hidden" }, t.model),
    name,
    ready,
  );
  const colours = h("button", {
    type: "button",
    class: "button plain bare",
    on: {
      click: () => {
        setTheme(nextTheme());
        showTheme();
      },
    },
  });
  const showTheme = (): void => {
    const current = theme();
    const label = t.theme[current];
    colours.setAttribute("aria-label", label);
    colours.title = label;
    colours.replaceChildren(icon(current === "auto" ? "auto" : current === "dark" ? "moon" : "sun"));
  };
  showTheme();

  store.watch(
    ({ settings, models: cards, stored }) => [settings.model, cards, stored],
    (id, _cards, stored) => {
      setText(name, cardOf(store.state, id).title);
      ready.hidden = !stored.get(id)?.complete;
    },
  );
  return h(
    "header",
    { class: "bar" },
    h("h1", {}, h("img", { src: "./icon.svg", alt: "", width: 26, height: 26 }), texts.name),
    h(
      "nav",
      { class: "row", "aria-label": texts.name },
      open,
      button(t.device, () => device.showModal(), { icon: "chip", look: "plain", bare: true }),
      colours,
    ),
    models,
    device,
  );
}
