/** A project that has installed the packed package, and pages of it in a real browser. */
import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { chromium, type Browser, type Page } from "playwright";
import { CHROMIUM_FLAGS } from "../../tools/headless/session.ts";
import { findBrowser } from "../../tools/setup/browser.ts";

export const execute = promisify(execFile);

/** Bundlers and compilers that consumers have; exact, so that a test fails for our reasons only. */
const TOOLS = ["vite@8.3.8", "webpack@5.111.1", "typescript@6.0.3"];

export interface Consumer {
  readonly folder: string;
  /** Bytes of the tarball. */
  readonly tarball: number;
  /** Files in the tarball. */
  readonly files: readonly string[];
  write(file: string, text: string): Promise<void>;
  /** Runs a program of the project; the output. */
  run(program: string, ...args: string[]): Promise<string>;
  /** Starts a server of the project; the address that it prints. */
  serve(program: string, ...args: string[]): Promise<string>;
  remove(): Promise<void>;
}

export async function makeConsumer(): Promise<Consumer> {
  const folder = await mkdtemp(join(tmpdir(), "scanvas-consumer-"));
  const packed = await execute("npm", ["pack", "--json", "--pack-destination", folder], { maxBuffer: 2 ** 24 });
  const json = packed.stdout.slice(packed.stdout.indexOf("[\n")); // prepack may have spoken before
  const [pack] = JSON.parse(json) as [{ filename: string; size: number; files: { path: string }[] }];
  await writeFile(join(folder, "package.json"), '{ "name": "consumer", "private": true, "type": "module" }');
  const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
  await execute("npm", ["install", ...quiet, "--save-exact", `./${pack.filename}`, ...TOOLS], { cwd: folder });
  const servers: ReturnType<typeof spawn>[] = [];
  const bin = (program: string): string => join(folder, "node_modules/.bin", program);
  return {
    folder,
    tarball: pack.size,
    files: pack.files.map(({ path }) => path),
    async write(file, text) {
      await mkdir(dirname(join(folder, file)), { recursive: true });
      await writeFile(join(folder, file), text);
    },
    async run(program, ...args) {
      const command = program === "node" ? process.execPath : bin(program);
      try {
        return (await execute(command, args, { cwd: folder })).stdout;
      } catch (error) {
        const { stdout, stderr } = error as { stdout: string; stderr: string };
        throw new Error(`${program} ${args.join(" ")}: ${stdout}${stderr}`, { cause: error });
      }
    },
    async serve(program, ...args) {
      const child = spawn(bin(program), args, { cwd: folder, env: { ...process.env, NO_COLOR: "1" } });
      servers.push(child);
      let output = "";
      return new Promise((resolve, reject) => {
        const hear = (chunk: Buffer): void => {
          output += chunk.toString();
          const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(output)?.[0];
          if (url) resolve(url);
        };
        child.stdout.on("data", hear);
        child.stderr.on("data", hear);
        child.on("close", () => reject(new Error(`${program} ${args.join(" ")} ended: ${output}`)));
      });
    },
    async remove() {
      for (const server of servers) server.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: findBrowser()!.executable,
    headless: false, // channel-less Playwright would start the headless shell, which has no WebGPU
    args: [...CHROMIUM_FLAGS, "--headless=new"],
  });

/** What a page of a consumer tells. `pixels`: of the element's canvas. */
export interface Visit {
  pixels: number[];
  /** Console errors and page errors. */
  complaints: string[];
  workers: number;
}

/** Opens `url` in a fresh profile and waits until its element has made a picture. */
export async function visit(browser: Browser, url: string): Promise<Visit> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("pageerror", ({ message }) => complaints.push(message));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    await page.goto(url);
    const pixels = await picture(page, complaints);
    return { pixels, complaints, workers: page.workers().length };
  } finally {
    await context.close();
  }
}

async function picture(page: Page, complaints: string[]): Promise<number[]> {
  const state = await page
    .waitForFunction(
      () => {
        const element = document.querySelector("scanvas-image");
        if (!element?.shadowRoot) return false;
        const canvas = element.shadowRoot.querySelector("canvas")!;
        const error = element.shadowRoot.querySelector("[data-error]")?.textContent;
        if (error) return { error };
        if (canvas.hidden) return false;
        return { pixels: [...canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height).data] };
      },
      undefined,
      { timeout: 120_000 },
    )
    .catch((error: Error) => {
      throw new Error(`${error.message}; the page said: ${complaints.join("; ")}`);
    });
  const { pixels, error } = (await state.jsonValue()) as { pixels?: number[]; error?: string };
  if (!pixels) throw new Error(`${error}; the page said: ${complaints.join("; ")}`);
  return pixels;
}
