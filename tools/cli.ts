/** The command line: `scanvas <command>`. Each command lives in a file of its own that exports `command(): Command`. */
import { readFile } from "node:fs/promises";
import { Command, CommanderError } from "commander";

interface CommandModule {
  command(): Command;
}

/** Loaded only when called for, so that `convert` never starts a browser and a broken command does not take the rest along. */
const COMMANDS: { name: string; summary: string; load: () => Promise<CommandModule> }[] = [
  { name: "convert", summary: "pack a pipeline directory for the browser", load: () => import("./convert/command.ts") },
  { name: "generate", summary: "make a picture in a headless browser", load: () => headless("generate") },
  { name: "trace", summary: "record every intermediate tensor of a run", load: () => headless("trace") },
  { name: "embed", summary: "write the embeddings of a list of prompts", load: () => headless("embed") },
  { name: "inspect", summary: "show what a model directory holds", load: () => import("./inspect.ts") },
  {
    name: "synth",
    summary: "make up a model of full size with random weights",
    load: () => import("./synth/command.ts"),
  },
  { name: "bench", summary: "measure speed and memory, ours and others'", load: () => import("./bench/command.ts") },
  { name: "doctor", summary: "examine this device and every kernel on it", load: () => import("./doctor.ts") },
  { name: "serve", summary: "serve a directory to the browser", load: () => import("./serve.ts") },
];

function headless(name: string): Promise<CommandModule> {
  return import(`./headless/${name}.ts`) as Promise<CommandModule>;
}

/** The program with `wanted`, if it is one of ours, complete and the other commands by name only. */
export async function program(wanted: string | undefined): Promise<Command> {
  const manifest = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const root = new Command("scanvas").description("Text-to-image in the browser with WebGPU").version(manifest.version);
  root.exitOverride();
  for (const { name, summary, load } of COMMANDS) {
    const stub = new Command(name).description(summary).allowUnknownOption();
    root.addCommand(name === wanted ? strict((await load()).command()) : stub);
  }
  return root;
}

/** Usage errors end like every other error: one line, exit code 1. */
function strict(command: Command): Command {
  return command.exitOverride().showHelpAfterError("(--help shows the options)");
}

/** Runs `argv`; an error is one line, `name: message`, on stderr and exit code 1. */
export async function main(argv: string[]): Promise<void> {
  try {
    await (await program(argv.slice(2).find((word) => !word.startsWith("-")))).parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode; // commander has already written what there is to say
      return;
    }
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    process.stderr.write(`${name}: ${message}\n`);
    process.exitCode = 1;
  }
}
