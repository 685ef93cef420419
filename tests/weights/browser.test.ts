/** The loader in Chromium: real files, locks, quotas and memory. */
import type { BrowserContext, Page } from "playwright";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { openPage } from "../../tools/headless/session.ts";
import { dummyModel, type DummyModel, sha256 } from "./dummy.ts";
import type { Loaded, Scenarios } from "./scenarios.ts";
import { cut, faultServer, type FaultServer, stall } from "./server.ts";

const MIB = 2 ** 20;
type Place = "page" | "worker";
const PLACES: Place[] = ["page", "worker"];

let page: Page;
let context: BrowserContext;
let closePage: () => Promise<void>;

vi.setConfig({ testTimeout: 60_000 }); // each takes a second or a few

beforeAll(async () => {
  ({ page, close: closePage } = await openPage("tests/weights/page.html", () => {}, { fresh: true }));
  context = page.context();
  await page.waitForFunction(() => "loader" in window);
});
afterAll(() => closePage?.());

const call = <K extends keyof Scenarios>(
  place: Place,
  name: K,
  args: Parameters<Scenarios[K]>,
  where = page,
): Promise<Awaited<ReturnType<Scenarios[K]>>> =>
  where.evaluate(([place, name, args]) => (window.loader[place][name] as (...args: unknown[]) => unknown)(...args), [
    place,
    name,
    args,
  ] as [Place, K, unknown[]]) as Promise<Awaited<ReturnType<Scenarios[K]>>>;

const load = (place: Place, url: string, options: { hash?: boolean; twice?: boolean } = {}, where = page) =>
  call(place, "load", [url, options], where);

async function another(url = page.url()): Promise<Page> {
  const other = await context.newPage();
  await other.goto(url);
  await other.waitForFunction(() => "loader" in window);
  return other;
}

/** One tensor a shard, within a chunk: what `load` answers when all is right. */
function expectedHashes({ manifest, files }: DummyModel): Record<string, string> {
  const { shards, tensors } = manifest.components.transformer!;
  return Object.fromEntries(
    Object.entries(tensors).map(
      ([
        name,
        {
          parts: [{ shard, offset, bytes }],
        },
      ]) => [`${name} 0`, sha256(files.get(shards[shard].file)!.subarray(offset, offset + bytes))],
    ),
  );
}

describe("a model of twelve pieces", () => {
  const model = dummyModel(Array<number>(12).fill(MIB));
  const hashes = expectedHashes(model);
  const known = [...model.files.values()].map((file) => sha256(file.subarray(0, file.length)));
  let server: FaultServer;
  beforeEach(async () => {
    server = await faultServer(new Map(model.files));
    await call("page", "clear", []);
  });

  const expectRight = (loaded: Loaded): void => expect([loaded.error, loaded.hashes]).toEqual([undefined, hashes]);
  /** Nothing partial, no lock left behind. */
  const expectSound = async (): Promise<void> => {
    for (const name of await call("page", "files", [])) {
      if (!name.endsWith(".json")) expect(known).toContain(name);
    }
    await expect.poll(() => call("page", "locks", [])).toEqual({ held: 0, pending: 0 });
  };

  it.each(PLACES)("is stored by the %s and comes back, there and in the other", async (place) => {
    const first = await load(place, server.url);
    expectRight(first);
    expect([first.complete, first.problem]).toEqual([true, undefined]);
    expect(server.requests.filter(({ method }) => method !== "GET")).toEqual([]); // no preflights
    const { sent } = server;
    for (const again of PLACES) expectRight(await load(again, server.url));
    expect(server.sent - sent).toBe(2 * model.files.get("manifest.json")!.length);
    await expectSound();
  });

  it.each(PLACES)("loads without a network in the %s", async (place) => {
    await load(place, server.url);
    await context.setOffline(true);
    try {
      const loaded = await load(place, server.url);
      expectRight(loaded);
      expect(loaded.complete).toBe(true);
    } finally {
      await context.setOffline(false);
    }
  });

  it("resumes across origins without a preflight", async () => {
    const { file } = model.manifest.components.transformer!.shards[4];
    server.faults.set(file, [cut(0.5), cut(0.5)]);
    expectRight(await load("worker", server.url));
    const asked = server.requests.filter(({ path }) => path === file);
    expect(asked.length).toBe(3);
    for (const { method, ifRange } of server.requests) expect([method, ifRange]).toEqual(["GET", undefined]);
    expect(server.sent).toBeLessThan(1.1 * model.bytes);
  });

  it.each(PLACES)("is shared by two tabs that load it at once, in their %s", async (place) => {
    const other = await another();
    try {
      const both = await Promise.all([load(place, server.url), load(place, server.url, {}, other)]);
      both.forEach(expectRight);
      expect(server.sent).toBeLessThan(1.1 * model.bytes);
      await expectSound();
    } finally {
      await other.close();
    }
  });

  it("goes on in the second tab when the first dies amid its downloads", async () => {
    const other = await another();
    const shards = model.manifest.components.transformer!.shards.slice(0, 4);
    for (const { file } of shards) server.faults.set(file, [stall(0.5)]);
    void load("worker", server.url, {}, other).catch(() => {});
    await expect.poll(() => call("page", "locks", []).then(({ held }) => held)).toBe(4);
    const second = load("page", server.url);
    await expect.poll(() => call("page", "locks", []).then(({ pending }) => pending)).toBe(4);
    await other.close();
    expectRight(await second);
    await expectSound();
  });

  it("is fetched by the second tab itself when the first gives up, and settles at once when it is cancelled", async () => {
    const other = await another();
    try {
      const shards = model.manifest.components.transformer!.shards.slice(0, 4);
      for (const { file } of shards) server.faults.set(file, [stall(0.5)]);
      const first = load("worker", server.url, {}, other);
      await expect.poll(() => call("page", "locks", []).then(({ held }) => held)).toBe(4);
      const cancelled = load("page", server.url);
      await expect.poll(() => call("page", "locks", []).then(({ pending }) => pending)).toBe(4);
      await call("page", "abort", []);
      const ending = await cancelled;
      expect(ending.error).toMatch(/^AbortError/);
      const second = load("page", server.url);
      await expect.poll(() => call("page", "locks", []).then(({ pending }) => pending)).toBe(4);
      await call("worker", "abort", [], other);
      expect((await first).error).toMatch(/^AbortError/);
      expectRight(await second);
      await expectSound();
    } finally {
      await other.close();
    }
  });

  it("survives the end of the worker that writes it", async () => {
    const other = await another();
    const loading = load("worker", server.url, {}, other).catch(() => {});
    await expect.poll(() => call("page", "files", []).then((names) => names.length)).toBeGreaterThan(3);
    await other.evaluate(() => window.loader.endWorker());
    expectRight(await load("page", server.url));
    await expectSound();
    await other.close();
    await loading;
  });

  let origins = 0;
  describe.each(PLACES)("with little room, in the %s", (place) => {
    // four files that a page writes at once are each checked for themselves: together they may be too large
    const [lack, most] = place === "worker" ? [1, 11] : [3.5 * MIB, 8];
    it.each([
      ["none", () => 1, 0],
      ["half", (bytes: number) => bytes / 2, 5],
      [`all but ${lack} bytes`, (bytes: number) => bytes - lack, most],
    ])("%s", async (_, room, least) => {
      // an origin of its own: what others remove counts for a while
      const host = `room-${++origins}.localhost`;
      const other = await another(page.url().replace("127.0.0.1", host));
      const cdp = await context.newCDPSession(other);
      const { origin } = new URL(other.url());
      expect(await call("page", "files", [], other)).toEqual([]);
      await cdp.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: room(model.bytes) });
      const loaded = await load(place, server.url, {}, other);
      expectRight(loaded);
      expect(loaded.complete).toBe(false);
      expect(loaded.problem).toMatch(/^weights were not kept on this device: no room for \d+ bytes/);
      const pieces = (await call("page", "files", [], other)).filter((name) => !name.endsWith(".json"));
      expect(pieces.length).toBeGreaterThanOrEqual(least);
      expect(pieces.length).toBeLessThan(model.files.size);
      for (const name of pieces) expect(known).toContain(name);

      await cdp.send("Storage.overrideQuotaForOrigin", { origin });
      const { sent } = server;
      const after = await load(place, server.url, {}, other);
      expectRight(after);
      expect(after.complete).toBe(true);
      expect(server.sent - sent).toBeLessThanOrEqual((13 - least) * 1.01 * MIB);
      await other.close();
    });
  });

  it.each(PLACES)("is listed and removed by the %s", async (place) => {
    expect(await call(place, "list", [])).toEqual([]);
    expect(await call("worker", "prefetch", [server.url])).toBe(true);
    const tokenizer = model.files.get("tokenizer/tokenizer.json")!.length;
    const [listed] = await call(place, "list", []);
    expect(listed).toMatchObject({ url: server.url, bytes: model.bytes, present: model.bytes - tokenizer });
    await load("worker", server.url);
    expect(await call(place, "list", [])).toMatchObject([{ complete: true, present: model.bytes }]);
    const { usage, quota, persisted } = await call(place, "estimate", []);
    expect(usage).toBeGreaterThan(model.bytes);
    expect(quota).toBeGreaterThan(usage);
    expect(typeof persisted).toBe("boolean");
    expect(typeof (await call(place, "persist", []))).toBe("boolean");
    expect(await call(place, "remove", [server.url])).toBe(true);
    expect([await call(place, "list", []), await call("page", "files", [])]).toEqual([[], []]);
  });
});

describe("a model of 256 MiB", () => {
  it("takes less than 64 MiB of the worker, from the network and from the store", async () => {
    const model = dummyModel(Array<number>(8).fill(32 * MIB - 4096));
    const server = await faultServer(model.files);
    await call("page", "clear", []);
    const inspect = await workerInspector();
    const used = async (): Promise<number> => {
      const usage = await inspect("Runtime.getHeapUsage");
      return usage.usedSize + usage.backingStorageSize;
    };
    await inspect("HeapProfiler.collectGarbage");
    const before = await used();
    await call("worker", "hold", [20 * MIB]);
    expect((await used()) - before).toBeGreaterThan(20 * MIB); // array buffers are seen
    await call("worker", "hold", [0]);

    for (const from of ["network", "store"]) {
      await inspect("HeapProfiler.collectGarbage"); // the ring of the load before
      let running = true;
      const loading = load("worker", server.url, { hash: false, twice: from === "store" });
      const done = loading.finally(() => (running = false));
      let most = 0;
      let samples = 0;
      for (; running; samples++) {
        most = Math.max(most, await used());
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const loaded = await done;
      expect([loaded.error, loaded.problem, loaded.complete]).toEqual([undefined, undefined, true]);
      expect(loaded.buffers).toBe(32 * MIB);
      expect(samples, "samples").toBeGreaterThan(10);
      expect((most - before) / MIB, `MiB from the ${from}`).toBeLessThan(64);
    }
    await call("page", "clear", []);
  });

  /** Sends commands of the DevTools protocol to the page's worker. */
  async function workerInspector(): Promise<(method: string) => Promise<Record<string, number>>> {
    const cdp = await context.newCDPSession(page);
    const attached = new Promise<string>((resolve) => {
      cdp.on("Target.attachedToTarget", ({ sessionId }) => resolve(sessionId));
    });
    await cdp.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
    const sessionId = await attached;
    const open = new Map<number, (result: Record<string, number>) => void>();
    cdp.on("Target.receivedMessageFromTarget", ({ message }) => {
      const { id, result } = JSON.parse(message) as { id: number; result: Record<string, number> };
      open.get(id)?.(result);
    });
    let last = 0;
    return (method) =>
      new Promise((resolve, reject) => {
        const id = ++last;
        open.set(id, resolve);
        cdp.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id, method }) }).catch(reject);
      });
  }
});
