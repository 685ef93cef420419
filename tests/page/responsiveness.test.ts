// The page's own thread while pictures are made, by the Long Tasks API.
import { expect, it } from "vitest";
import { hostSite } from "../../tools/site/host.ts";
import { generate, pictures, ready, visit } from "./site.ts";

it("has no task over 50 ms in the page's thread from the download to the last picture", async () => {
  const site = await hostSite();
  const visitor = await visit(site, { hash: "#steps=4&width=64&height=64&seed=7&count=2" });
  const { page } = visitor;
  try {
    await ready(page);
    await page.evaluate(() => {
      const tasks: number[] = [];
      Object.assign(window, { tasks });
      new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({
        type: "longtask",
      });
    });
    const tasks = (): Promise<number[]> => page.evaluate(() => (window as unknown as { tasks: number[] }).tasks);
    await generate(page);
    await pictures(page, 2);
    const found = await tasks();
    // A task that is long by design, in the same page: were it not seen, an empty list would say nothing.
    await page.evaluate(
      () =>
        new Promise<void>((resolve) =>
          setTimeout(() => {
            const end = performance.now() + 120;
            while (performance.now() < end);
            resolve();
          }),
        ),
    );
    await expect.poll(async () => (await tasks()).length).toBeGreaterThan(found.length);
    expect(found, "milliseconds of tasks over 50 ms").toEqual([]);
    expect(visitor.wrongs).toEqual([]);
  } finally {
    await visitor.close();
    await site.close();
  }
});
