/** What onnx.test.ts does in the page: the ONNX text encoder in the page's own thread and in a worker. Answers are plain data. */
import { encoders } from "./onnx_scenarios.ts";

declare global {
  interface Window {
    encoders: typeof encoders;
    inWorker: <T>(scenario: keyof typeof encoders, ...args: unknown[]) => Promise<T>;
  }
}

window.encoders = encoders;
window.inWorker = (scenario, ...args) =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./onnx_worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data: { result, error } }) => {
      worker.terminate();
      if (error) reject(new Error(error));
      else resolve(result);
    };
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage([scenario, args]);
  });
