#!/usr/bin/env node
// The command `scanvas`: the tools are TypeScript, run as they are through tsx.
import { register } from "tsx/esm/api";

register();
const { main } = await import("./cli.ts");
await main(process.argv);
