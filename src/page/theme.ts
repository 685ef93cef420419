/** Light, dark, or what the system says; kept for the next visit. */
const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEY = "scanvas-theme";

export function theme(): Theme {
  const kept = document.documentElement.dataset.theme;
  return THEMES.find((one) => one === kept) ?? "auto";
}

export const nextTheme = (): Theme => THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]!;

export function setTheme(chosen: Theme): void {
  document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // storage is refused: it lasts as long as the page
  }
}

export function restoreTheme(): void {
  try {
    const kept = localStorage.getItem(KEY);
    document.documentElement.dataset.theme = THEMES.find((one) => one === kept) ?? "auto";
  } catch {
    document.documentElement.dataset.theme = "auto";
  }
}
