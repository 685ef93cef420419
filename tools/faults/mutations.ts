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
const TABS = "faults/browser.test.ts";
const WORKER = "faults/worker.test.ts";

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
    id: "G1",
    without: "time for the browser's GPU process to start again",
    file: "src/pipeline.ts",
    from: 'else if (lost && isNamed(error, "WebGPUUnavailableError") && ++waits <= ADAPTER_WAITS)',
    to: "else if (waits > 0)",
    test: [LOSS, "a device that is lost > while the model loads is replaced too"],
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
    id: "G3",
    without: "the look for a loss when a variant fails in the trial",
    file: "src/kernels/trial.ts",
    from: "await gpu.blame(error).catch(() => gpu.checkLost());",
    to: "void error;",
    test: [LOSS, "a device that is lost > amid the trial of kernels lets nothing be concluded of them"],
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
  {
    id: "G7",
    without: "what the pacer learns from the time that submits took",
    file: "src/gpu/pacer.ts",
    from: "if (rate < pace.rate && milliseconds <= this.target) return;",
    to: "if (rate !== undefined) return;",
    test: [
      "gpu/pacer.test.ts",
      "the pacer > finds submits of $target ms on a $kind device, however fast its program goes",
    ],
  },
  {
    id: "G7",
    without: "the wait while two submits are in flight",
    file: "src/gpu/program.ts",
    from: "while (pacer.busy) await this.gpu.wait(pacer.turn());",
    to: "",
    test: [
      "pipeline/pace.test.ts",
      "the pace of submits > makes the same picture at any pace, with two submits in flight at most",
    ],
  },
  {
    id: "G17",
    without: "the look at the signal before each submit",
    file: "src/gpu/program.ts",
    from: "    do {\n      throwIfAborted(signal);",
    to: "    do {",
    test: [
      "pipeline/pace.test.ts",
      "the pace of submits > submits nothing after a cancel in submit $nth of $stage, and goes on",
    ],
  },
  {
    id: "G17",
    without: "the end of the wait for the compiler",
    file: "src/gpu/device.ts",
    from: 'signal?.addEventListener("abort", giveUp);',
    to: "",
    test: ["pipeline/pace.test.ts", "the pace of submits > does not wait for the compiler when it is cancelled"],
  },
  {
    id: "G11",
    without: "the comparison with the CPU twin",
    file: "src/kernels/trial.ts",
    from: "error !== null && error <= tolerance;",
    to: "error !== null && tolerance > 0;",
    test: ["faults/wrong_kernel.test.ts", "a kernel that is wrong on this device > of %s is found and replaced"],
  },
  {
    id: "G11",
    without: "the trial's word on convolutions with few outputs",
    file: "src/kernels/conv2d.ts",
    from: 'rec.profile.variants[outputs <= 8 ? "convFew" : "conv"]',
    to: '(outputs <= 8 ? "register" : rec.profile.variants.conv)',
    test: ["faults/wrong_kernel.test.ts", "a kernel that is wrong on this device > does not reach the picture"],
  },
  {
    id: "G15",
    without: "the end of the last size's memory",
    file: "src/pipeline.ts",
    from: "this.#session?.session.dispose();",
    to: "",
    test: ["pipeline/steady.test.ts", "while pictures are made > keeps nothing over 20 pictures of two sizes"],
  },
  {
    id: "G12",
    without: "the names of software adapters",
    file: "src/gpu/device.ts",
    from: "/swiftshader|llvmpipe",
    to: "/llvmpipe",
    test: [TABS, "an adapter > of software is told, in words and as such"],
  },
  {
    id: "G18",
    without: "parking when another tab asks",
    file: "src/worker/turn.ts",
    from: "players.map((player) => player.park())",
    to: "[]",
    test: [
      TABS,
      "tabs that share a GPU > take turns: an idle one parks, a busy one is waited for or ended, a dead one is no obstacle",
    ],
  },
  {
    id: "G18",
    without: "a wait that each caller can end",
    file: "src/worker/turn.ts",
    from: "await orAborted(this.#taking, options.signal)",
    to: "await this.#taking",
    test: [
      TABS,
      "tabs that share a GPU > take turns: an idle one parks, a busy one is waited for or ended, a dead one is no obstacle",
    ],
  },
  {
    id: "G19",
    without: "a new device for the picture at work",
    file: "src/pipeline.ts",
    from: "if (isLoss(error) && !this.#disposed)",
    to: "if (isLoss(error) && this.#disposed)",
    test: [TABS, "a GPU process that dies > while the tab is frozen costs nothing: the picture goes on when it wakes"],
  },
  {
    id: "G20",
    without: "the mark that a dead tab left",
    file: "src/worker/marker.ts",
    from: "if (dead) beCautious(dead);",
    to: "",
    test: [
      TABS,
      "a tab > that the system killed at work loads at the low tier the next time, and says why; one that was left does not",
    ],
  },
  {
    id: "S13",
    without: "the look at what an insecure page has not",
    file: "src/weights/fetch.ts",
    from: "if (!subtle) {",
    to: "if (subtle === null) {",
    test: [TABS, "an adapter > that an insecure page cannot have is an error that says why"],
  },
  {
    id: "X9",
    without: "the count of missed signs of life",
    file: "src/worker/client.ts",
    from: "++missed > MISSED_PULSES",
    to: "++missed > Infinity",
    test: [WORKER, "a worker > that gives no sign of life is given up, and all that is open with it"],
  },
  {
    id: "X9",
    without: "the count that begins anew with every sign of life",
    file: "src/worker/client.ts",
    from: ".then(() => (missed = 0))",
    to: "",
    test: [WORKER, "a worker > that works for hours, and answers, is left alone"],
  },
  {
    id: "X13",
    without: "deaf ears for what comes too late",
    file: "src/worker/client.ts",
    from: "if (failed) return;",
    to: "",
    test: [WORKER, "a worker > is not heard any more on a picture that ended; the next one is its own"],
  },
  {
    id: "X13",
    without: "the end of an address",
    file: "src/page/gallery.ts",
    from: "if (url) URL.revokeObjectURL(url);",
    to: "",
    test: ["faults/addresses.test.ts", "the address of a picture > goes with it, and another comes back with it"],
  },
];
