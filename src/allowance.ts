/** Something that is allowed only so often: `take` answers false when it was taken `limit` times within the last `span` milliseconds. */
export class Allowance {
  readonly #taken: number[] = [];

  constructor(
    readonly limit: number,
    private readonly span = 60_000,
    private readonly now = (): number => performance.now(),
  ) {}

  take(): boolean {
    while (this.#taken.length > 0 && this.#taken[0]! <= this.now() - this.span) this.#taken.shift();
    return this.#taken.length < this.limit && this.#taken.push(this.now()) > 0;
  }
}
