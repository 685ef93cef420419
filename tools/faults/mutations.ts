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
];
