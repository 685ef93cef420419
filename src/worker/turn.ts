/**
 * The GPU is one tab's at a time: memory for a model in each of several tabs is memory for none. The tab that works holds a Web Lock, and
 * keeps it, with its models in GPU memory, until another one asks: an idle tab then parks its models at once, a busy one after its work.
 * A lock goes with its tab, however that ends. Pipelines of one page share its turn. Where there are no locks, everybody works.
 */
import { ScanvasError, throwIfAborted } from "../errors.ts";

const NAME = "scanvas:gpu";

/** A pipeline, as far as turns are concerned. */
export interface Player {
  /** Gives its GPU memory back; nothing of it runs. */
  park(): Promise<unknown>;
  /** Ends what runs: another tab has the GPU now. */
  evict(error: ScanvasError): void;
}

export interface TurnOptions {
  signal?: AbortSignal | undefined;
  /** Do not wait for another tab to finish: end its work. */
  takeOver?: boolean | undefined;
  /** Called when another tab has the GPU. */
  onWait?: () => void;
}

export class Turn {
  readonly #players = new Set<Player>();
  #running = 0;
  #giveBack: (() => void) | undefined;
  #taking: Promise<void> | undefined;
  /** Ends the patience of the request that waits. */
  #hurry: AbortController | undefined;
  readonly #channel: BroadcastChannel | undefined;

  constructor(private readonly locks: LockManager | undefined = globalThis.navigator?.locks) {
    if (!locks || typeof BroadcastChannel === "undefined") return;
    this.#channel = new BroadcastChannel(NAME);
    this.#channel.onmessage = () => void this.#passOn(true).catch(() => undefined);
    (this.#channel as { unref?(): void }).unref?.(); // Node would wait for it
  }

  /** Runs `work` when this page has the GPU. @throws AbortError while waiting; TakenOverError when another tab took it in the midst */
  async run<T>(player: Player, work: () => Promise<T>, options: TurnOptions = {}): Promise<T> {
    this.#running++;
    try {
      await this.#take(options);
      this.#players.add(player);
      return await work();
    } finally {
      this.#running--;
      this.#passOn().catch(() => undefined);
    }
  }

  /** `player` has no GPU memory any more. */
  leave(player: Player): void {
    this.#players.delete(player);
    if (this.#players.size === 0 && this.#running === 0) this.#release();
  }

  async #take(options: TurnOptions): Promise<void> {
    while (this.locks && !this.#giveBack) {
      throwIfAborted(options.signal);
      // One request for the page; who comes later waits for it with a signal of his own, or makes it take the GPU over.
      if (options.takeOver) this.#hurry?.abort();
      this.#taking ??= this.#request(options).finally(() => (this.#taking = undefined));
      await orAborted(this.#taking, options.signal).catch((error: unknown) => {
        throwIfAborted(options.signal);
        if (!(error instanceof ScanvasError)) throw error;
      });
    }
  }

  async #request({ signal, takeOver, onWait }: TurnOptions): Promise<void> {
    const hurry = (this.#hurry = new AbortController());
    if (takeOver) hurry.abort();
    const ask = (options: LockOptions): Promise<boolean> =>
      new Promise((resolve, reject) => {
        this.locks!.request(NAME, options, (lock) => {
          if (!lock) return resolve(false);
          const held = new Promise<void>((giveBack) => (this.#giveBack = giveBack));
          resolve(true);
          return held;
        }).catch((error: unknown) => {
          if (this.#giveBack) this.#lose();
          reject(error as Error);
        });
      });
    try {
      if (await ask({ ifAvailable: true })) return;
      onWait?.();
      this.#channel?.postMessage("wanted");
      const patience = AbortSignal.any([hurry.signal, ...(signal ? [signal] : [])]);
      await ask({ signal: patience }).catch((error: unknown) => {
        throwIfAborted(signal);
        if (!hurry.signal.aborted) throw error;
        return ask({ steal: true });
      });
    } catch (error) {
      throwIfAborted(signal);
      if (error instanceof DOMException && error.name === "SecurityError")
        this.#giveBack = () => undefined; // refused here, as in a sandboxed frame
      else throw error;
    }
  }

  /** Another tab took the lock over. */
  #lose(): void {
    this.#giveBack = undefined;
    const error = new ScanvasError(
      "TakenOverError",
      "scanvas: another tab took the GPU over; generate again to take it back",
    );
    for (const player of this.#players) player.evict(error);
    for (const player of this.#players) player.park().catch(() => undefined); // a dead one has nothing to give
    this.#players.clear();
  }

  /** Gives the GPU to a tab that waits, when nothing runs here. `wanted`: one says so; its request may not be there to be seen yet. */
  async #passOn(wanted = false): Promise<void> {
    const { pending = [] } = wanted ? {} : ((await this.locks?.query()) ?? {});
    const giveBack = this.#giveBack;
    if (this.#running > 0 || !giveBack || !(wanted || pending.some(({ name }) => name === NAME))) return;
    this.#giveBack = undefined; // whoever comes now asks anew
    const players = [...this.#players];
    this.#players.clear();
    await Promise.allSettled(players.map((player) => player.park()));
    giveBack();
  }

  #release(): void {
    this.#giveBack?.();
    this.#giveBack = undefined;
  }
}

/** Settles with `promise`, or as soon as `signal` is aborted. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
