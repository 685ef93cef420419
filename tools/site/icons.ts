/** `npm run icons`: the PNG renditions of public/icon.svg, drawn by the browser. Run it when the drawing changes. */
import { readFile, writeFile } from "node:fs/promises";
import { chromium } from "playwright";
import { ensureBrowser } from "../setup/browser.ts";

const SIZES = [
  { file: "icon-192.png", size: 192, scale: 1 },
  { file: "icon-512.png", size: 512, scale: 1 },
  { file: "icon-maskable-512.png", size: 512, scale: 1.25 }, // what a round mask cuts off is ground
];

const svg = await readFile("public/icon.svg", "utf8");
const browser = await chromium.launch({
  executablePath: ensureBrowser(console.error).executable,
  args: ["--no-sandbox"],
});
const page = await browser.newPage();
for (const { file, size, scale } of SIZES) {
  await page.setViewportSize({ width: size, height: size });
  await page.setContent(
    `<style>body{margin:0;overflow:hidden;background:transparent}svg{width:${size}px;height:${size}px;scale:${scale}}</style>${svg}`,
  );
  await writeFile(`public/${file}`, await page.screenshot({ omitBackground: true }));
}
await browser.close();
