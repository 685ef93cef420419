/** What pictures will need on this device, asked of the engine before anything large is fetched. One question at a time. */
import { plan, type Plan } from "../index.ts";
import type { Engine } from "./engine.ts";
import type { Settings } from "./settings.ts";
import { cardOf, type AppStore } from "./state.ts";

/** What a plan depends on. */
export type PlanSubject = Pick<Settings, "model" | "width" | "height" | "guidanceScale">;

/** Settings change with every key that is pressed; a plan takes a worker. */
const PATIENCE = 250; // milliseconds

/** Names a plan in `State.plans`. */
export const planKey = ({ model, width, height, guidanceScale }: PlanSubject): string =>
  `${model} ${width} ${height} ${guidanceScale > 1}`;

export class Plans {
  #last: Promise<unknown> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #asked = new Set<string>();

  constructor(
    private readonly store: AppStore,
    private readonly engine: Engine,
  ) {
    store.watch(
      ({ settings }) => [planKey(settings)],
      () => {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.ask(store.state.settings), PATIENCE);
      },
    );
  }

  /** The answer arrives in `State.plans`. One that failed is asked for again. */
  ask(subject: PlanSubject): void {
    const key = planKey(subject);
    if (this.#asked.has(key)) return;
    this.#asked.add(key);
    const { model, width, height, guidanceScale } = subject;
    const url = this.engine.urlOf(cardOf(this.store.state, model));
    const answer = async (): Promise<void> => {
      let found: Plan | "unknown" = "unknown";
      try {
        found = await plan(url, { width, height, guidanceScale });
      } catch {
        this.#asked.delete(key);
      }
      this.store.set({ plans: new Map(this.store.state.plans).set(key, found) });
    };
    this.#last = this.#last.then(answer);
  }
}
