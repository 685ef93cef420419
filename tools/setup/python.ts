/** The Python environment of `tools/distill`: a virtual environment in `.venv`, made once and again when pyproject.toml changes. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The interpreter of the environment, ready to run tests. Takes a few minutes and some gigabytes the first time (PyTorch). */
export function ensurePython(root: string, say: (line: string) => void): string {
  const venv = join(root, ".venv");
  const python = join(venv, "bin", "python");
  const stamp = join(venv, ".ready");
  const wanted = createHash("sha256")
    .update(readFileSync(join(root, "tools/distill/pyproject.toml")))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return python;
  const run = (program: string, args: string[]): void => {
    execFileSync(program, args, { stdio: ["ignore", "ignore", "inherit"], timeout: 1_800_000 });
  };
  say("setting up .venv for tools/distill: PyTorch, diffusers, transformers (minutes, some gigabytes) ...");
  try {
    run("python3", ["-m", "venv", "--clear", venv]);
  } catch {
    say("python3 has no venv: installing Debian's python3-venv ...");
    run("sh", [
      "-c",
      "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null",
    ]);
    run("python3", ["-m", "venv", "--clear", venv]);
  }
  run(python, [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "-e",
    `${join(root, "tools/distill")}[dev]`,
  ]);
  writeFileSync(stamp, wanted);
  return python;
}
