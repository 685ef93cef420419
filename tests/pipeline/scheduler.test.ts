import { describe, expect, it } from "vitest";
import { Scheduler } from "../../src/worker/scheduler.ts";

/** A job that ends when it is told to, or when it is aborted. */
function manual() {
  let end!: (value: string) => void;
  let started = false;
  const done = new Promise<string>((resolve) => (end = resolve));
  const job = (signal: AbortSignal): Promise<string> => {
    started = true;
    const aborted = new Promise<string>((_, reject) =>
      signal.addEventListener("abort", () => reject(Object.assign(new Error("stopped"), { name: "AbortError" }))),
    );
    return Promise.race([done, aborted]);
  };
  return { job, end, started: () => started };
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

describe("the queue of jobs", () => {
  it("runs one at a time, in order, whatever happens to those before", async () => {
    const scheduler = new Scheduler();
    const order: string[] = [];
    let running = 0;
    const jobs = [3, 1, 2].map((ms, i) =>
      scheduler.enqueue(i, async () => {
        expect(++running).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, ms));
        running--;
        order.push(`job ${i}`);
        if (i === 1) throw new Error("job 1 failed");
        return i;
      }),
    );
    expect(await Promise.allSettled(jobs)).toMatchObject([
      { value: 0 },
      { reason: { message: "job 1 failed" } },
      { value: 2 },
    ]);
    expect(order).toEqual(["job 0", "job 1", "job 2"]);
  });

  it("settles a cancelled job at once while it waits, never starts it, and starts none early", async () => {
    const scheduler = new Scheduler();
    const [a, b, c] = [manual(), manual(), manual()];
    const first = scheduler.enqueue(1, a.job);
    const second = scheduler.enqueue(2, b.job);
    const third = scheduler.enqueue(3, c.job);
    scheduler.cancel(2);
    await expect(second).rejects.toMatchObject({ name: "AbortError" });
    await turn();
    expect([a.started(), b.started(), c.started()]).toEqual([true, false, false]);
    a.end("a");
    expect(await first).toBe("a");
    c.end("c");
    expect(await third).toBe("c");
    expect(b.started()).toBe(false);
  });

  it("tells a running job, and goes on with the next", async () => {
    const scheduler = new Scheduler();
    const [a, b] = [manual(), manual()];
    const first = scheduler.enqueue(1, a.job);
    const second = scheduler.enqueue(2, b.job);
    await turn();
    scheduler.cancel(1);
    scheduler.cancel(99); // unknown: nothing
    await expect(first).rejects.toMatchObject({ name: "AbortError" });
    b.end("b");
    expect(await second).toBe("b");
  });
});
