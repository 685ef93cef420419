/** `<scanvas-image>` as a class. Importing it registers nothing and needs no browser; `scanvas/element/define` registers it. */
export { ScanvasImage } from "./scanvas_image.ts";
export type { AbortDetail, ErrorDetail, GeneratedDetail, ScanvasImageEventMap, StepDetail } from "./events.ts";
export type { SharedLoadOptions } from "./engine.ts";
