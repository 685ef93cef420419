/** How fast something goes, by its last few seconds. */
export class Pace {
  readonly #seen: { time: number; done: number }[] = [];

  /** Tells how much is done by now; what was seen more than `WINDOW` ago is forgotten. */
  note(done: number, time = performance.now()): void {
    if (done < (this.#seen.at(-1)?.done ?? 0)) this.#seen.length = 0; // it began anew
    this.#seen.push({ time, done });
    while (this.#seen.length > 2 && time - this.#seen[0]!.time > WINDOW) this.#seen.shift();
  }

  /** Done a second; undefined while it is too early to say. */
  get rate(): number | undefined {
    const first = this.#seen[0];
    const last = this.#seen.at(-1);
    if (!first || !last || last.done <= first.done || last.time - first.time < 100) return undefined;
    return ((last.done - first.done) / (last.time - first.time)) * 1000;
  }

  /** Milliseconds until `total`. */
  remaining(total: number): number | undefined {
    const { rate } = this;
    return rate === undefined ? undefined : ((total - (this.#seen.at(-1)?.done ?? 0)) / rate) * 1000;
  }
}

const WINDOW = 5000; // milliseconds
