/** The ONNX text encoder as load() uses it. */
import { createOnnxEncoder, type OnnxEncoder, type OnnxOptions, type OnnxSource } from "../../src/encode/onnx.ts";
import { openFiles } from "../../src/weights/file.ts";

type Options = Pick<OnnxOptions, "provider" | "wasmPaths"> & { kept?: boolean };

const create = async (source: OnnxSource, { kept, ...options }: Options): Promise<OnnxEncoder> =>
  createOnnxEncoder(source, { ...options, retryDelay: 10, directory: kept ? await openFiles() : undefined });

const ending = async (work: Promise<unknown>): Promise<{ name: string; message: string }> => {
  const error = await work.then(
    () => new Error("nothing was thrown"),
    (reason: unknown) => reason as Error,
  );
  return { name: error.name, message: error.message };
};

export const encoders = {
  /** Removes all files that an earlier run has kept. */
  async forget() {
    const directory = (await openFiles())!;
    for await (const name of directory.keys()) await directory.removeEntry(name);
  },

  /** Each list of ids `cycles` times, released in between. */
  async encode(source: OnnxSource, options: Options, lists: readonly (readonly number[])[], cycles: number) {
    const encoder = await create(source, options);
    const rows: number[][][] = [];
    for (let cycle = 0; cycle < cycles; cycle++) {
      const results = [];
      for (const ids of lists) results.push([...(await encoder.encode(Int32Array.from(ids)))]);
      rows.push(results);
      await encoder.release();
    }
    await encoder.dispose();
    const { kind, provider, width } = encoder;
    return { kind, provider, width, rows };
  },

  /** While another holds the file: then there is no room for it in storage. Workers only. */
  async encodeBlocked(source: OnnxSource, ids: readonly number[]) {
    const file = await (await openFiles())!.getFileHandle(`${source.sha256}.bin`, { create: true });
    const access = await (
      file as unknown as { createSyncAccessHandle(): Promise<{ close(): void }> }
    ).createSyncAccessHandle();
    try {
      return await encoders.encode(source, { provider: "wasm", kept: true }, [ids], 1);
    } finally {
      access.close();
    }
  },

  async fails(source: OnnxSource, options: Options) {
    return ending(create(source, options));
  },

  async failsOn(source: OnnxSource, options: Options, ids: number[]) {
    const encoder = await create(source, options);
    const first = await ending(encoder.encode(Int32Array.from(ids)));
    await encoder.dispose();
    return [first, await ending(encoder.encode(Int32Array.from(ids)))];
  },

  /** Aborts a run of many tokens as soon as it has begun; a second one is asked at once, and must be right. */
  async abort(source: OnnxSource, options: Options, many: readonly number[], ids: readonly number[]) {
    const encoder = await create(source, options);
    const order: string[] = [];
    const controller = new AbortController();
    const long = ending(encoder.encode(Int32Array.from(many), controller.signal)).then((end) => {
      order.push("aborted");
      return end;
    });
    const next = encoder.encode(Int32Array.from(ids)).then((rows) => {
      order.push("encoded");
      return [...rows];
    });
    await new Promise((resolve) => setTimeout(resolve, 0));
    controller.abort();
    const early = await ending(encoder.encode(Int32Array.from(ids), controller.signal));
    const result = { long: await long, early, rows: await next, order };
    await encoder.dispose();
    return result;
  },
};
