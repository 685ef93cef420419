/**
 * A software Vulkan device with `shader-f16` and subgroup matrices, which SwiftShader lacks: Mesa's lavapipe from Debian's next release. Its
 * libraries are unpacked into a folder of their own, a newer C library among them; nothing is installed. `node` in that folder starts Node on
 * them through their own loader, so no right to mount anything is needed.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Lavapipe {
  /** Starts Node with lavapipe's libraries in place of the system's. */
  readonly node: string;
  /** What that Node needs to see lavapipe alone. */
  readonly env: Readonly<Record<string, string>>;
}

/** Mesa 25.0 of Debian 13 has f16 but no subgroup matrices; 26.1 of its successor has both. */
const SUITE = "forky";
const PACKAGES = ["mesa-vulkan-drivers", "libvulkan1", "libc6", "libgcc-s1", "libstdc++6"];
const MIRROR = process.env.SCANVAS_DEBIAN_MIRROR ?? "http://deb.debian.org/debian";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LIBRARIES = "usr/lib/x86_64-linux-gnu";

/** lavapipe, unpacked if need be: 67 MB to download, 200 MB on disk, some 15 seconds. Says what it does; does nothing twice. */
export function ensureLavapipe(say: (line: string) => void): Lavapipe {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "scanvas");
  const folder = join(cache, "lavapipe");
  const found: Lavapipe = { node: join(folder, "node"), env: environment(folder) };
  const stamp = join(folder, ".ready");
  const wanted = createHash("sha256")
    .update(readFileSync(fileURLToPath(import.meta.url)))
    .update(process.execPath)
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return found;
  if (process.platform !== "linux" || process.arch !== "x64" || !existsSync(KEYRING)) {
    throw new Error(
      `lavapipe is unpacked from Debian packages, for x86-64 Linux with ${KEYRING} (package debian-archive-keyring); this is ` +
        `${process.platform} ${process.arch}. Run the tests in a Debian container`,
    );
  }
  say(`setting up lavapipe, a software GPU with f16 and subgroup matrices, from Debian ${SUITE} ...`);
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, "lavapipe-"));
  try {
    const root = download(work);
    const libraries = join(root, LIBRARIES);
    for (const name of readdirSync(libraries)) {
      const unused = (name.startsWith("libvulkan_") && name !== "libvulkan_lvp.so") || name.startsWith("libVkLayer_");
      if (unused) rmSync(join(libraries, name));
    }
    const fresh = join(work, "fresh");
    mkdirSync(fresh);
    renameSync(libraries, join(fresh, "lib"));
    const icd = { file_format_version: "1.0.1", ICD: { api_version: "1.4.0", library_path: "libvulkan_lvp.so" } };
    writeFileSync(join(fresh, "lavapipe_icd.json"), JSON.stringify(icd));
    const lib = join(folder, "lib");
    const loader = `"${join(lib, "ld-linux-x86-64.so.2")}" --library-path "${lib}" --argv0 "$0"`;
    writeFileSync(join(fresh, "node"), `#!/bin/sh\nexec ${loader} "${process.execPath}" "$@"\n`, { mode: 0o755 });
    writeFileSync(join(fresh, ".ready"), wanted);
    rmSync(folder, { recursive: true, force: true });
    renameSync(fresh, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return found;
}

function environment(folder: string): Record<string, string> {
  const icd = join(folder, "lavapipe_icd.json");
  return {
    VK_DRIVER_FILES: icd,
    VK_ICD_FILENAMES: icd,
    VK_LOADER_LAYERS_DISABLE: "~implicit~", // the machine's own, built for its older Mesa
    XDG_RUNTIME_DIR: folder, // Mesa complains when it is unset
    LD_LIBRARY_PATH: "", // it would go before the loader's own path
  };
}

/** Fetches and unpacks the packages with all they depend on, by an apt whose state lies in `work`. Returns their root. */
function download(work: string): string {
  const root = join(work, "root");
  for (const part of ["lists/partial", "archives/partial", "root"]) mkdirSync(join(work, part), { recursive: true });
  writeFileSync(join(work, "status"), ""); // as if nothing was installed
  writeFileSync(join(work, "sources.list"), `deb [arch=amd64 signed-by=${KEYRING}] ${MIRROR} ${SUITE} main\n`);
  const settings = {
    "APT::Architecture": "amd64",
    "APT::Install-Recommends": "false",
    "APT::Sandbox::User": "root",
    "APT::Update::Error-Mode": "any",
    "Acquire::Languages": "none",
    "Debug::NoLocking": "true",
    "Dir::State": work,
    "Dir::State::lists": join(work, "lists"),
    "Dir::State::status": join(work, "status"),
    "Dir::State::extended_states": join(work, "extended_states"),
    "Dir::Cache": work,
    "Dir::Cache::archives": join(work, "archives"),
    "Dir::Etc::sourcelist": join(work, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::Etc::preferences": "/dev/null",
    "Dir::Etc::preferencesparts": "/dev/null",
    "Dir::Log": work,
  };
  const config = join(work, "apt.conf");
  writeFileSync(
    config,
    Object.entries(settings)
      .map(([name, value]) => `${name} "${value}";\n`)
      .join(""),
  );
  const run = (program: string, args: string[]): void => {
    try {
      const env = { ...process.env, APT_CONFIG: config };
      execFileSync(program, args, { stdio: ["ignore", "ignore", "pipe"], timeout: 600_000, env });
    } catch (error) {
      const detail = String((error as { stderr?: Buffer }).stderr ?? error).trim();
      throw new Error(`lavapipe: ${program} ${args[0]} failed: ${detail.split("\n").at(-1)}`, { cause: error });
    }
  };
  run("apt-get", ["-q", "update"]);
  run("apt-get", ["-q", "install", "-y", "--download-only", ...PACKAGES]);
  const archives = join(work, "archives");
  for (const name of readdirSync(archives).filter((file) => file.endsWith(".deb"))) {
    run("dpkg-deb", ["-x", join(archives, name), root]);
  }
  return root;
}
