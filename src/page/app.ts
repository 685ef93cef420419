/** What views need: the state and what can be done. */
import type { Engine } from "./engine.ts";
import type { Gallery } from "./gallery.ts";
import type { Models } from "./models.ts";
import type { Plans } from "./plans.ts";
import type { Queue } from "./queue.ts";
import type { AppStore } from "./state.ts";

export interface App {
  readonly store: AppStore;
  readonly engine: Engine;
  readonly models: Models;
  readonly plans: Plans;
  readonly gallery: Gallery;
  readonly queue: Queue;
}
