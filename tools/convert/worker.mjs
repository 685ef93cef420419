// A thread that writes files: TypeScript through tsx, whoever started it.
import { register } from "tsx/esm/api";

register();
await import("./worker.ts");
