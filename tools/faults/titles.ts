/** Titles of the tests in a file as they stand in its source, "describe > it", without running it; `$name` and `%s` stay as they are. */
import { readFileSync } from "node:fs";
import ts from "typescript";

const BLOCKS = ["describe", "it", "test"];

export function titlesOf(path: string): string[] {
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true);
  const titles: string[] = [];
  const visit = (node: ts.Node, above: readonly string[]): void => {
    const block = ts.isCallExpression(node) ? blockOf(node) : undefined;
    if (!block) return void ts.forEachChild(node, (child) => visit(child, above));
    const path = [...above, block.title];
    if (block.kind !== "describe") titles.push(path.join(" > "));
    else ts.forEachChild(node, (child) => visit(child, path));
  };
  visit(source, []);
  return titles;
}

/** `it("...")`, `it.each(...)("...")`, `describe...` with what is called; a title that is computed is "*". */
function blockOf(call: ts.CallExpression): { kind: string; title: string } | undefined {
  let callee: ts.Expression = call.expression;
  while (!ts.isIdentifier(callee)) {
    if (ts.isPropertyAccessExpression(callee) || ts.isCallExpression(callee)) callee = callee.expression;
    else return undefined;
  }
  const [title] = call.arguments;
  const isBody = call.arguments.slice(1).some((one) => ts.isArrowFunction(one) || ts.isFunctionExpression(one));
  if (!BLOCKS.includes(callee.text) || !title || !isBody) return undefined;
  return { kind: callee.text, title: ts.isStringLiteralLike(title) ? title.text : "*" };
}

/** Whether a test that ran, "describe > it" with everything filled in, is one of this title. */
export function isOf(title: string, name: string): boolean {
  const pattern = title
    .split(/(\$[\w.]+|%[sdifjo#]|\*)/)
    .map((part, i) => (i % 2 ? ".*" : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")))
    .join("");
  return new RegExp(`^${pattern}$`, "s").test(name);
}
