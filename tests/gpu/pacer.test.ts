// Submits of a length that the last ones teach, two of them at a time: on a clock that is made up, so that every millisecond is exact.
import { describe, expect, it } from "vitest";
import { IN_FLIGHT, Pacer, TARGETS, type Pace } from "../../src/gpu/pacer.ts";

/** A GPU that does what it is given in order, each submit in the time that `cost` says; its clock stands still but for that. */
class FakeQueue {
  clock = 0;
  /** Milliseconds of each submit that was done. */
  readonly lengths: number[] = [];
  most = 0;
  #waiting = 0;
  #last = Promise.resolve();
  /** Milliseconds that the next submit will take. */
  next = 0;

  submit(): undefined {}

  onSubmittedWorkDone(): Promise<undefined> {
    const length = this.next;
    this.most = Math.max(this.most, ++this.#waiting);
    const done = this.#last.then(() => {
      this.clock += length;
      this.lengths.push(length);
      this.#waiting--;
    });
    this.#last = done;
    return done as Promise<undefined>;
  }
}

/** Gives the GPU `flops` in pieces of at least `least`, as long as the pacer wants them; `rateOf`: what it does in a millisecond by then. */
async function work(
  { queue, pacer, pace }: ReturnType<typeof device>,
  flops: number,
  rateOf: (done: number) => number,
  least = 1e4,
): Promise<void> {
  for (let done = 0; done < flops;) {
    const some = Math.max(least, Math.floor(pacer.budget(pace) / least) * least);
    queue.next = some / rateOf(done);
    pacer.submit(undefined as unknown as GPUCommandBuffer, some, pace);
    while (pacer.busy) await pacer.turn();
    done += some;
  }
}

function device(flopsPerSecond: number): { queue: FakeQueue; pacer: Pacer; pace: Pace } {
  const queue = new FakeQueue();
  const pacer = new Pacer(queue as unknown as GPUQueue, () => queue.clock);
  pacer.expect(flopsPerSecond);
  return { queue, pacer, pace: pacer.pace() };
}

describe("the pacer", () => {
  it.each([
    { kind: "fast", flops: 1e12, target: TARGETS.fast },
    { kind: "slow", flops: 5e9, target: TARGETS.slow },
  ])("finds submits of $target ms on a $kind device, however fast its program goes", async ({ flops, target }) => {
    for (const factor of [1 / 30, 1 / 3, 1, 2, 10]) {
      const one = device(flops);
      expect(one.pacer.target).toBe(target);
      const rate = (flops / 1000) * factor;
      await work(one, 400 * target * rate, () => rate);
      const settled = one.queue.lengths.slice(20);
      expect(settled.length).toBeGreaterThan(20);
      expect(Math.max(...settled), `longest at ${factor}`).toBeLessThanOrEqual(target * 1.001);
      expect(Math.min(...settled.slice(0, -1)), `shortest at ${factor}`).toBeGreaterThan(target * 0.95);
    }
  });

  it("has two submits in flight and no more, so that the GPU never waits", async () => {
    const one = device(1e12);
    await work(one, 1e12, () => 1e9);
    expect(one.queue.most).toBe(IN_FLIGHT);
    expect(IN_FLIGHT).toBe(2);
  });

  it("shortens the submits at once where kernels get slower, and lengthens them again slowly", async () => {
    const one = device(1e12);
    // Of 4 s of work, the second has kernels that do an eighth.
    const rate = (done: number): number => (done >= 1e12 && done < 1.125e12 ? 1e9 / 8 : 1e9);
    await work(one, 3e12, rate);
    const { lengths } = one.queue;
    const long = lengths.filter((length) => length > TARGETS.fast * 1.3);
    // Two were in flight before the first was measured, two more before a quarter of the pace was; an eighth then is.
    expect(long.length, long.join()).toBeLessThanOrEqual(4);
    expect(long.length).toBeGreaterThan(0);
    expect(lengths.at(-2)).toBeGreaterThan(TARGETS.fast * 0.95);
  });

  it("learns nothing from a submit that took longer to launch than to do, and recovers from a stall", () => {
    const clock = { now: 0 };
    let finish!: () => void;
    const queue = {
      submit() {},
      onSubmittedWorkDone: () => ({ then: (done: () => void) => void (finish = done) }), // done when the test says so
    };
    const pacer = new Pacer(queue as unknown as GPUQueue, () => clock.now);
    pacer.expect(1e12);
    const pace = pacer.pace();
    const submit = (flops: number, milliseconds: number): number => {
      pacer.submit(undefined as unknown as GPUCommandBuffer, flops, pace);
      clock.now += milliseconds;
      finish();
      return pace.rate;
    };
    expect(submit(1e3, 2)).toBe(1e9); // one small dispatch at the end of a program
    expect(submit(3e10, 30)).toBe(1e9);
    expect(submit(3e10, 0)).toBe(1.25e9); // a clock too coarse
    expect(submit(3e10, 6000)).toBe(1.25e9 / 4); // the machine slept
    for (let i = 0; i < 7; i++) submit(pacer.budget(pace), pacer.budget(pace) / 1e9);
    expect(pace.rate).toBe(1e9);
  });

  it("waits for what is in flight of any program, not of one", async () => {
    const { queue, pacer } = device(1e12);
    queue.next = 5;
    for (const pace of [pacer.pace(), pacer.pace(), pacer.pace()]) {
      while (pacer.busy) await pacer.turn();
      pacer.submit(undefined as unknown as GPUCommandBuffer, 1, pace);
    }
    expect(queue.most).toBe(2);
  });

  it("goes on after a wait that failed, as it does when the device is lost", async () => {
    const queue = { submit() {}, onSubmittedWorkDone: () => Promise.reject(new Error("lost")) };
    const pacer = new Pacer(queue as unknown as GPUQueue);
    for (let i = 0; i < 3; i++) {
      pacer.submit(undefined as unknown as GPUCommandBuffer, 1, pacer.pace());
      while (pacer.busy) await pacer.turn();
    }
    expect(pacer.busy).toBe(false);
  });
});
