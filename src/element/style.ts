const css = `
:host {
  --_accent: var(--scanvas-accent, #3b5bdb);
  display: inline-block;
  position: relative;
  inline-size: 24rem;
  max-inline-size: 100%;
  color: var(--scanvas-color, inherit);
  font: var(--scanvas-font, 0.875rem/1.4 system-ui, sans-serif);
}
:host([hidden]), [hidden] { display: none !important; }
[part="frame"] {
  display: grid;
  position: relative;
  overflow: hidden;
  min-block-size: 4rem;
  border-radius: var(--scanvas-radius, 0.5rem);
  background: var(--scanvas-background, color-mix(in srgb, currentColor 8%, transparent));
}
[part="frame"] > * { grid-area: 1 / 1; min-inline-size: 0; }
[part="image"], slot[name="poster"]::slotted(*) {
  display: block;
  inline-size: 100%;
  block-size: 100%;
  object-fit: var(--scanvas-fit, contain);
}
[part="panel"] {
  align-self: end;
  z-index: 1;
  display: grid;
  gap: 0.5rem;
  justify-items: start;
  padding: 0.75rem;
}
[part="panel"]:not([data-empty]) { background: var(--scanvas-panel, color-mix(in srgb, Canvas 88%, transparent)); color: CanvasText; }
[part="progress"] { display: grid; gap: 0.25rem; inline-size: 100%; }
[part="bar"] { inline-size: 100%; accent-color: var(--_accent); }
[part="message"] { margin: 0; overflow-wrap: anywhere; }
[part="message"][data-error] { color: var(--scanvas-error, light-dark(#b02a37, #ff8f98)); }
[part="button"] {
  font: inherit;
  padding: 0.5rem 0.875rem;
  min-block-size: 2.5rem;
  border: 0;
  border-radius: calc(var(--scanvas-radius, 0.5rem) / 1.5);
  background: var(--_accent);
  color: var(--scanvas-accent-color, #fff);
  cursor: pointer;
}
[part="button"]:focus-visible { outline: 0.1875rem solid currentColor; outline-offset: 0.125rem; }
.live { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (forced-colors: active) { [part="button"] { border: 1px solid ButtonText; } }
`;

let sheet: CSSStyleSheet | undefined;

/** One sheet for all elements. Constructed, since a strict Content Security Policy refuses inline styles; made late, since servers have none. */
export function styleSheet(): CSSStyleSheet {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
  }
  return sheet;
}
