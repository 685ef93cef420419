/** What soak.test.ts does in the page, by the public API alone. Every promise that it was given is counted until it settles. */
import { load, type GenerateRequest, type Pipeline } from "../../src/index.ts";

declare global {
  interface Window {
    soak: typeof soak;
  }
}

let pipeline: Pipeline;
let open = 0;

/** Names of errors instead of errors, "" for none. */
async function endOf(promise: Promise<unknown>): Promise<string> {
  open++;
  try {
    await promise;
    return "";
  } catch (error) {
    return (error as Error).name;
  } finally {
    open--;
  }
}

const soak = {
  load: (url: string) => endOf(load(url, { limits: "default" }).then((one) => (pipeline = one))),

  /** SHA-256 of the picture's numbers. */
  async picture(request: GenerateRequest): Promise<string> {
    let hash = "";
    const end = await endOf(
      pipeline.generate(request).then(async ({ images }) => {
        const digest = await crypto.subtle.digest("SHA-256", images[0].data);
        hash = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      }),
    );
    return end || hash;
  },

  /** Aborts at the `nth` sign of progress; a picture that has fewer is finished. */
  abort(request: GenerateRequest, nth: number): Promise<string> {
    const controller = new AbortController();
    let seen = 0;
    const onProgress = (): void => void (++seen === nth && controller.abort());
    return endOf(pipeline.generate(request, { signal: controller.signal, onProgress }));
  },

  /** Disposes of the pipeline while it works and while another job waits, and a second time. */
  async dispose(request: GenerateRequest): Promise<string[]> {
    const jobs = [endOf(pipeline.generate(request)), endOf(pipeline.generate(request))];
    const ends = [endOf(pipeline.dispose()), endOf(pipeline.dispose())];
    return Promise.all([...jobs, ...ends]);
  },

  gpuBytes: async () => (await pipeline.gpuMemory()).bytes,

  open: () => open,
};

window.soak = soak;
