/** Runs one scenario a message, where files are written by synchronous handles. */
import { encoders } from "./onnx_scenarios.ts";

onmessage = async ({ data: [scenario, args] }: MessageEvent<[keyof typeof encoders, never[]]>) => {
  const work = (encoders[scenario] as (...args: never[]) => Promise<unknown>)(...args);
  postMessage(
    await work.then(
      (result) => ({ result }),
      (error: unknown) => ({ error: String(error) }),
    ),
  );
};
