/** One object of state. Views watch the parts they show and are told once a frame at most. */
export class Store<S extends object> {
  #state: S;
  #scheduled = false;
  readonly #watchers = new Set<() => void>();

  constructor(initial: S) {
    this.#state = initial;
  }

  get state(): Readonly<S> {
    return this.#state;
  }

  set(patch: Partial<S>): void {
    this.#state = { ...this.#state, ...patch };
    if (this.#scheduled) return;
    this.#scheduled = true;
    const run = (): void => {
      this.#scheduled = false;
      for (const watcher of [...this.#watchers]) watcher();
    };
    // A hidden page has no frames; its title and its live region still count.
    if (document.hidden) setTimeout(run, 100);
    else requestAnimationFrame(run);
  }

  /** Calls `show` now and whenever some part of what `select` returns is another value. Returns the end of it. */
  watch<T extends unknown[]>(
    select: (state: Readonly<S>) => readonly [...T],
    show: (...parts: { [K in keyof T]: NoInfer<T[K]> }) => void,
  ): () => void {
    let shown: readonly [...T] | undefined;
    const update = (): void => {
      const parts = select(this.#state);
      if (shown && parts.every((part, i) => Object.is(part, shown![i]))) return;
      shown = parts;
      show(...parts);
    };
    this.#watchers.add(update);
    update();
    return () => this.#watchers.delete(update);
  }
}
