/** Registers `<scanvas-image>`, where there is a registry and nobody did so before. */
import { ScanvasImage } from "./index.ts";

declare global {
  interface HTMLElementTagNameMap {
    "scanvas-image": ScanvasImage;
  }
}

if (globalThis.customElements && !customElements.get("scanvas-image")) {
  customElements.define("scanvas-image", ScanvasImage);
}
