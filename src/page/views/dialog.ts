/** The browser's own modal dialog: it keeps the focus inside, closes on Esc and gives the focus back. */
import { h, type Child } from "../dom.ts";
import { texts } from "../texts.ts";
import { button } from "./button.ts";

export function dialog(title: string, ...content: Child[]): HTMLDialogElement {
  const close = (): void => element.close();
  const heading = h("h2", { id: `dialog-${title.toLowerCase().replace(/[^a-z]+/g, "-")}` }, title);
  const element: HTMLDialogElement = h(
    "dialog",
    {
      class: "dialog",
      "aria-labelledby": heading.id,
      on: {
        click: (event) => {
          if (event.target === element) close(); // the backdrop
        },
      },
    },
    h(
      "div",
      { class: "dialog-body" },
      h(
        "div",
        { class: "dialog-head" },
        heading,
        button(texts.common.close, close, { icon: "close", look: "plain", bare: true }),
      ),
      ...content,
    ),
  );
  return element;
}

/** Asks once; the dialog is gone afterwards. */
export function confirmed(question: string, yes: string): Promise<boolean> {
  return new Promise((resolve) => {
    const answer = (value: string) => () => element.close(value);
    const element: HTMLDialogElement = h(
      "dialog",
      {
        class: "dialog small",
        "aria-label": question,
        on: {
          close: () => {
            element.remove();
            resolve(element.returnValue === "yes");
          },
        },
      },
      h(
        "div",
        { class: "dialog-body" },
        h("p", {}, question),
        h(
          "div",
          { class: "row end" },
          button(texts.common.cancel, answer("no")),
          button(yes, answer("yes"), { look: "danger" }),
        ),
      ),
    );
    document.body.append(element);
    element.showModal();
  });
}
