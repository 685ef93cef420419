/** The engine's own worker, which tells on request how many sessions of the ONNX runtime were made, and how many are still there. */
import { InferenceSession } from "onnxruntime-web/jspi"; // which the engine takes in Chromium
import "../../src/worker/worker.ts";

const counts = { made: 0, open: 0, openAtLastSubmit: 0 };

const create = InferenceSession.create.bind(InferenceSession) as (...args: unknown[]) => Promise<{
  release(): Promise<void>;
}>;
Object.assign(InferenceSession, {
  create: async (...args: unknown[]) => {
    const session = await create(...args);
    const release = session.release.bind(session);
    counts.made++;
    counts.open++;
    session.release = async () => {
      await release();
      counts.open--;
    };
    return session;
  },
});

// The runtime works on the CPU here: whatever is submitted is the picture's.
const submit = GPUQueue.prototype.submit;
GPUQueue.prototype.submit = function (...args) {
  counts.openAtLastSubmit = counts.open;
  return submit.apply(this, args);
};

const channel = new BroadcastChannel("onnx sessions");
channel.onmessage = ({ data }) => data === "?" && channel.postMessage({ ...counts });
