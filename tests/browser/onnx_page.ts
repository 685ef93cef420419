/** What onnx.test.ts does in the page: the ONNX text encoder in the page's own thread and in a worker. Answers are plain data. */
import { load, type GenerateRequest, type LoadOptions } from "../../src/index.ts";
import { encoders } from "./onnx_scenarios.ts";

interface Sessions {
  made: number;
  open: number;
  openAtLastSubmit: number;
}

declare global {
  interface Window {
    encoders: typeof encoders;
    pictures: typeof pictures;
    inWorker: <T>(scenario: keyof typeof encoders, ...args: unknown[]) => Promise<T>;
  }
}

/** The pictures of `requests`, one after the other, and the runtime's sessions after each. */
async function pictures(url: string, textEncoder: LoadOptions["textEncoder"], requests: GenerateRequest[]) {
  const channel = new BroadcastChannel("onnx sessions");
  const createWorker = (): Worker =>
    new Worker(new URL("./onnx_counted_worker.ts", import.meta.url), { type: "module" });
  const pipeline = await load(url, { createWorker, ...(textEncoder && { textEncoder }) });
  const made: { pixels: number[]; sessions: Sessions }[] = [];
  for (const request of requests) {
    const { images } = await pipeline.generate(request);
    const told = new Promise<Sessions>((resolve) => {
      channel.onmessage = ({ data }) => resolve(data as Sessions);
    });
    channel.postMessage("?");
    made.push({ pixels: [...images[0]!.data], sessions: await told });
  }
  await pipeline.dispose();
  channel.close();
  return made;
}

window.encoders = encoders;
window.pictures = pictures;
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
