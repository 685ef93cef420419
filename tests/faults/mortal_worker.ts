/** The engine's worker, which fails or hangs when it is told to. */
import "../../src/worker/worker.ts";

addEventListener("message", ({ data }: MessageEvent<unknown>) => {
  if (data === "fail") throw new Error("told to fail");
  if (data === "hang") for (;;);
});
