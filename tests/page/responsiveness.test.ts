// The page's own thread while pictures are made, by the Long Tasks API.
import { expect, it } from "vitest";
import { hostSite, type Host } from "../../tools/site/host.ts";
import { generate, pictures, ready, visit } from "./site.ts";

/** The tasks over 50 ms in the page's thread from the download to the second picture, milliseconds. */
async function longTasks(site: Host): Promise<number[]> {
  const visitor = await visit(site, { hash: "#steps=4&width=64&height=64&seed=7&count=2" });
  const { page } = visitor;
  try {
    await ready(page);
    await page.evaluate(() => {
      const tasks: number[] = [];
      (window as unknown as { tasks: number[] }).tasks = tasks;
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
    expect(visitor.wrongs).toEqual([]);
    return found;
  } finally {
    await visitor.close();
  }
}

it("has no task over 50 ms in the page's thread from the download to the last picture", async () => {
  const site = await hostSite();
  try {
    // The count is of wall time: a busy machine makes a short task long now and then. A task of ours is long in every visit.
    const visits: number[][] = [];
    while (visits.length < 3 && visits.at(-1)?.length !== 0) visits.push(await longTasks(site));
    expect(visits.at(-1), `milliseconds of tasks over 50 ms, by visit: ${JSON.stringify(visits)}`).toEqual([]);
  } finally {
    await site.close();
  }
});
