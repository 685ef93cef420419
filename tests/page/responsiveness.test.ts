// The page's own thread while pictures are made: the Long Tasks API, and the trace of the same seconds for what each task really computed.
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { hostSite } from "../../tools/site/host.ts";
import { generate, pictures, ready, visit } from "./site.ts";

const LONG = 50; // milliseconds, as the Long Tasks API has it

interface TraceEvent {
  name: string;
  pid: number;
  tid: number;
  dur?: number; // microseconds of wall time
  tdur?: number; // microseconds of the thread's own time
  args: { name?: string };
}

it("has no task over 50 ms in the page's thread from the download to the last picture", async () => {
  const site = await hostSite();
  const visitor = await visit(site, { hash: "#steps=4&width=64&height=64&seed=7&count=2" });
  const { page } = visitor;
  const path = join(tmpdir(), `scanvas-trace-${process.pid}.json`);
  try {
    await ready(page);
    await page.evaluate(() => {
      const tasks: number[] = [];
      Object.assign(window, { tasks });
      new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({
        type: "longtask",
      });
    });
    const browser = visitor.context.browser()!;
    await browser.startTracing(page, {
      path,
      categories: ["toplevel", "__metadata"],
    });
    await generate(page);
    await pictures(page, 2);
    await browser.stopTracing();
    const tasks = await page.evaluate(() => (window as unknown as { tasks: number[] }).tasks);
    const { traceEvents } = JSON.parse(await readFile(path, "utf8")) as { traceEvents: TraceEvent[] };
    console.log(
      tasks,
      traceEvents.length,
      [...new Set(traceEvents.filter((e) => e.tdur).map((e) => e.name))].slice(0, 40),
      traceEvents.filter((e) => (e.dur ?? 0) > LONG * 1000).map((e) => [e.name, e.pid, e.tid, e.dur, e.tdur]),
    );
    expect(visitor.wrongs).toEqual([]);
  } finally {
    await rm(path, { force: true });
    await visitor.close();
    await site.close();
  }
});
