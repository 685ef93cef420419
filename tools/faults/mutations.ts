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

export const MUTATIONS: readonly Mutation[] = [
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
];
