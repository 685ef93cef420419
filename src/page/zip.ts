/** All pictures in one file. PNGs are compressed already, so they are stored, one after the other, leaving the page responsive. */
import { Zip, ZipPassThrough } from "fflate";

const SLICE = 2 ** 20; // bytes between two breaths

export async function zip(files: readonly { name: string; blob: Blob }[]): Promise<Blob> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const archive = new Zip((error, data) => {
    if (error) throw error;
    parts.push(data as Uint8Array<ArrayBuffer>);
  });
  for (const { name, blob } of files) {
    const entry = new ZipPassThrough(name);
    archive.add(entry);
    for (let at = 0; at < blob.size; at += SLICE) {
      entry.push(new Uint8Array(await blob.slice(at, at + SLICE).arrayBuffer()), at + SLICE >= blob.size);
    }
  }
  archive.end();
  return new Blob(parts, { type: "application/zip" });
}
