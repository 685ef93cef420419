import type { Plan, Progress, ScanvasError, StoredModel } from "../index.ts";
import type { DeviceFacts } from "./device.ts";
import type { Picture } from "./gallery_store.ts";
import type { ModelCard } from "./model_card.ts";
import { defaultSettings, type Settings } from "./settings.ts";
import { Store } from "./store.ts";

/** Something to do: pictures, or only the download of the model. */
export interface Job {
  readonly id: number;
  readonly kind: "pictures" | "download";
  /** With the seed of the first picture. */
  readonly settings: Settings;
  /** Pictures that are done. */
  readonly done: number;
  readonly progress: JobProgress | undefined;
  /** The picture so far, small: 1 pixel for 8 x 8. */
  readonly preview: Progress["preview"];
}

export interface JobProgress extends Pick<Progress, "stage" | "step" | "total"> {
  /** The bytes come from this device, not over the network. */
  readonly isLocal: boolean;
  /** Steps a second, or bytes a second while downloading. */
  readonly rate: number | undefined;
  /** Milliseconds until the end of this stage. */
  readonly remaining: number | undefined;
}

/** What came of the job before. Without an error it was stopped. */
export type Outcome =
  | { readonly kind: "picture"; readonly id: number }
  | { readonly kind: "ended"; readonly job: Job; readonly error: ScanvasError | undefined };

export interface State {
  readonly models: readonly ModelCard[];
  /** By model id: what of it is on this device. */
  readonly stored: ReadonlyMap<string, StoredModel>;
  /** By `planKey`: what a picture would need; "unknown" where it could not be worked out. */
  readonly plans: ReadonlyMap<string, Plan | "unknown">;
  readonly settings: Settings;
  readonly lastSeed: number | undefined;
  readonly running: Job | undefined;
  readonly waiting: readonly Job[];
  readonly outcome: Outcome | undefined;
  /** The picture that was chosen in the gallery; undefined follows the work. */
  readonly selected: number | undefined;
  /** The picture beside the chosen one, with a slider between them. */
  readonly compared: number | undefined;
  /** Newest first. */
  readonly pictures: readonly Picture[];
  readonly device: DeviceFacts | undefined;
}

export type AppStore = Store<State>;

export function createStore(models: readonly ModelCard[]): AppStore {
  return new Store<State>({
    models,
    stored: new Map(),
    plans: new Map(),
    settings: defaultSettings(models[0]!),
    lastSeed: undefined,
    running: undefined,
    waiting: [],
    outcome: undefined,
    selected: undefined,
    compared: undefined,
    pictures: [],
    device: undefined,
  });
}

export function cardOf({ models }: State, id: string): ModelCard {
  return models.find((card) => card.id === id) ?? models[0]!;
}

export function updateSettings(store: AppStore, patch: Partial<Settings>): void {
  store.set({ settings: { ...store.state.settings, ...patch } });
}

/** Takes settings from outside: a model that is not here stays the chosen one. */
export function adoptSettings(store: AppStore, found: Partial<Settings>): void {
  const { models, settings } = store.state;
  const known = models.some(({ id }) => id === found.model);
  updateSettings(store, { ...found, model: known ? found.model! : settings.model });
}

/** What the stage shows: the chosen picture, else the work that goes on, else what came of the last. */
export type Shown =
  | { readonly kind: "picture"; readonly picture: Picture }
  | { readonly kind: "comparison"; readonly picture: Picture; readonly other: Picture }
  | { readonly kind: "job"; readonly job: Job }
  | { readonly kind: "ended"; readonly job: Job; readonly error: ScanvasError | undefined }
  | undefined;

export function shown({ selected, compared, running, outcome, pictures }: State): Shown {
  const picture = (id: number): Shown => {
    const [found, other] = [id, compared].map((wanted) => pictures.find((one) => one.id === wanted));
    if (!found) return undefined;
    return other ? { kind: "comparison", picture: found, other } : { kind: "picture", picture: found };
  };
  if (selected !== undefined) return picture(selected);
  if (running) return { kind: "job", job: running };
  if (outcome?.kind === "ended") return outcome;
  return outcome ? picture(outcome.id) : undefined;
}
