/** A byte stream read through one small buffer, so that gigabytes leave no garbage behind. */

/** Bytes taken at once. */
const GULP = 2 ** 16;

export class ByteReader {
  private gulp = new ArrayBuffer(GULP);
  private readonly read: () => Promise<Uint8Array | undefined>;

  constructor(stream: ReadableStream<Uint8Array>) {
    try {
      const reader = stream.getReader({ mode: "byob" });
      this.read = async () => {
        const { done, value } = await reader.read(new Uint8Array(this.gulp));
        if (value) this.gulp = value.buffer; // lent away, come back under another name
        return done ? undefined : value;
      };
    } catch {
      const reader = stream.getReader(); // a browser whose streams bring their own buffers
      this.read = async () => (await reader.read()).value;
    }
  }

  /** The next bytes, valid until the next call; undefined at the end. */
  next(): Promise<Uint8Array | undefined> {
    return this.read();
  }
}
