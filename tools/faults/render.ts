/** docs/faults.md: the matrix, its mutations and their last results. */
import { MATRIX, type Fault } from "./matrix.ts";
import { MUTATIONS } from "./mutations.ts";
import { mutationKey, testKey, type Results } from "./results.ts";

const GROUPS: readonly (readonly [letter: string, title: string])[] = [
  ["G", "GPU"],
  ["S", "Network and storage"],
  ["X", "Security, worker, inputs"],
];

const HEAD = `# The fault matrix

What goes wrong for people, what the engine does then, and the tests that show it. Written by \`npm run faults\` (runs these tests) and \`npm run mutations\`
(takes each guard out: its test must fail); a test holds this page to both. In titles, \`$name\` and \`%s\` stand for every case.
`;

export function renderMatrix(results: Results, extra: readonly string[]): string {
  const open = MATRIX.filter(({ tests }) => tests.length === 0).map(({ id }) => id);
  const summary = `${MATRIX.length} rows, ${MATRIX.length - open.length} of them shown by tests${open.length ? `; still open: ${open.join(", ")}` : ""}.`;
  const rows = new Set(MUTATIONS.map(({ id }) => id)).size;
  const killers = MUTATIONS.filter((mutation) => (results.mutations[mutationKey(mutation)]?.failed ?? 0) > 0).length;
  const guards = `${MUTATIONS.length} guards in ${rows} rows; ${killers} of them were taken out and a test of their row failed.`;
  const groups = GROUPS.map(([letter, title]) =>
    [`## ${title}`, ...MATRIX.filter(({ id }) => id.startsWith(letter)).map((row) => renderRow(row, results))].join(
      "\n\n",
    ),
  );
  return [HEAD, `${summary} ${guards}`, "", groups.join("\n\n"), "", ...extra].join("\n").trimEnd() + "\n";
}

function renderRow({ id, fault, then, tests, manual }: Fault, results: Results): string {
  const lines = [
    ...tests.map((test) => `- \`${test[0]}\`: ${plain(test[1])}: ${outcome(results.tests[testKey(test)])}`),
    ...(tests.length ? [] : ["- open: no test yet"]),
    ...(manual ? [`- by hand: ${manual}`] : []),
    ...MUTATIONS.filter((mutation) => mutation.id === id).map(
      (mutation) => `- without ${mutation.without}: ${killed(results.mutations[mutationKey(mutation)])}`,
    ),
  ];
  return [`**${id}. ${fault}.** ${then ? `${then}.` : ""}`.trim(), "", ...lines].join("\n");
}

/** Titles with what Markdown would read as its own. */
const plain = (title: string): string => title.replace(/[*_<\\]/g, "\\$&");

function outcome(result: Results["tests"][string] | undefined): string {
  if (!result) return "not run";
  const count = `${result.passed} passed${result.failed ? `, ${result.failed} FAILED` : ""}`;
  return `**${count}** (${result.date})`;
}

function killed(result: Results["mutations"][string] | undefined): string {
  if (!result) return "not run";
  const count = result.failed === 1 ? "1 test fails" : `${result.failed} tests fail`;
  return result.failed ? `**${count}** (${result.date})` : `**NOTHING FAILS** (${result.date})`;
}
