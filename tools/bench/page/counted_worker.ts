/** The engine's own worker, its calls to WebGPU counted. */
import "./count_calls.ts"; // first
import "../../../src/worker/worker.ts";
