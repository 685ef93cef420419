/** For each row of the matrix a guard that is taken out, and the test that must then fail: `npm run mutations`. */

export interface Mutation {
  /** Row of the matrix. */
  id: string;
  /** The guard, in words. */
  without: string;
  file: string;
  /** Text that is in the file once. */
  from: string;
  to: string;
  /** File under tests/ and title, as in the matrix. */
  test: readonly [file: string, title: string];
}

const LOSS = "faults/device_loss.test.ts";
const LACK = "faults/out_of_memory.test.ts";

export const MUTATIONS: readonly Mutation[] = [
  {
    id: "G1",
    without: "the latents of the last step, from which a picture goes on",
    file: "src/pipeline.ts",
    from: "const done = job.saved?.steps ?? 0;",
    to: "const done = 0;",
    test: [LOSS, "a device that is lost > at $stage $step costs no step that was done, and the picture is the same"],
  },
  {
    id: "G1",
    without: "the limit of what is made good",
    file: "src/allowance.ts",
    from: "this.#taken.length < this.limit",
    to: "this.#taken.length <= this.limit",
    test: [
      LOSS,
      "a device that is lost > three times within a minute ends in an error that says what to do; after a minute the pipeline works again",
    ],
  },
  {
    id: "G3",
    without: "the moment that a loss is waited for",
    file: "src/gpu/device.ts",
    from: "if (!(error instanceof ScanvasError)) {",
    to: "if (error === undefined) {",
    test: [LOSS, "a device that is lost > is what is reported, whatever the call says that fails first"],
  },
  {
    id: "G4",
    without: "guidance in passes where memory lacks",
    file: "src/pipeline.ts",
    from: 'const passes = gave("guidance in passes")',
    to: "const passes = false",
    test: [
      LACK,
      "a GPU without room > for a picture gets the memory of the text encoder, then takes guidance in passes; with room, the next size has all of it",
    ],
  },
  {
    id: "G4",
    without: "the look for a lack at buffers that are not counted",
    file: "src/gpu/device.ts",
    from: "if (lack && !this.lost &&",
    to: "if (!lack && this.lost &&",
    test: [
      LACK,
      "a GPU without room > for any one buffer, of the engine's own count or not, steps down once, and the picture is right",
    ],
  },
  {
    id: "G9",
    without: "the look at the flag that check_finite leaves",
    file: "src/session.ts",
    from: "if (stage === 0xffffffff) return;",
    to: "if (stage !== undefined) return;",
    test: [
      "pipeline/errors.test.ts",
      "a pipeline that is asked for the impossible > $what among the weights > is traced to $says",
    ],
  },
];
