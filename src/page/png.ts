/**
 * Text in PNG files (PNG specification, section 11.3.3): written right after the header, read back with every length checked, because
 * the file may come from anywhere.
 */
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const HEADER_END = 8 + 25; // signature and IHDR
const MAX_TEXT = 65_536; // bytes of one chunk that are looked at
const MAX_CHUNKS = 10_000;

export interface PngText {
  /** 1 to 79 Latin-1 characters. */
  keyword: string;
  text: string;
}

/** `png` with text chunks put in: tEXt where Latin-1 will do, iTXt in UTF-8 else. */
export function addText(png: Uint8Array<ArrayBuffer>, texts: readonly PngText[]): Blob {
  const chunks = texts.map(({ keyword, text }) => {
    const latin = /^[\n\x20-\x7e\xa0-\xff]*$/.test(text);
    const body = latin ? latin1(text) : new TextEncoder().encode(text);
    const head = latin1(latin ? `${keyword}\0` : `${keyword}\0\0\0\0\0`); // iTXt: not compressed, no language
    return chunk(latin ? "tEXt" : "iTXt", head, body);
  });
  return new Blob([png.subarray(0, HEADER_END), ...chunks, png.subarray(HEADER_END)], { type: "image/png" });
}

/** Every uncompressed text of a PNG; none when it is not one. Damaged chunks end the search. */
export function readText(bytes: Uint8Array<ArrayBuffer>): PngText[] {
  if (!SIGNATURE.every((value, i) => bytes[i] === value)) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: PngText[] = [];
  let at = 8;
  for (let n = 0; n < MAX_CHUNKS && at + 12 <= bytes.length; n++) {
    const length = view.getUint32(at);
    const type = ascii(bytes.subarray(at + 4, at + 8));
    const end = at + 12 + length;
    if (end > bytes.length || type === "IEND") break;
    const data = bytes.subarray(at + 8, at + 8 + Math.min(length, MAX_TEXT));
    const text = type === "tEXt" ? readLatin(data) : type === "iTXt" ? readInternational(data) : undefined;
    if (text) found.push(text);
    at = end;
  }
  return found;
}

function readLatin(data: Uint8Array): PngText | undefined {
  const zero = data.indexOf(0);
  if (zero < 1 || zero > 79) return undefined;
  return { keyword: ascii(data.subarray(0, zero)), text: ascii(data.subarray(zero + 1)) };
}

function readInternational(data: Uint8Array): PngText | undefined {
  const zero = data.indexOf(0);
  if (zero < 1 || zero > 79 || data[zero + 1] !== 0) return undefined; // compressed
  const language = data.indexOf(0, zero + 3);
  const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
  if (translated < 0) return undefined;
  return {
    keyword: ascii(data.subarray(0, zero)),
    text: new TextDecoder().decode(data.subarray(translated + 1)),
  };
}

function chunk(type: string, ...parts: Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const out = new Uint8Array(12 + length);
  const view = new DataView(out.buffer);
  view.setUint32(0, length);
  out.set(latin1(type), 4);
  let at = 8;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  view.setUint32(8 + length, crc32(out.subarray(4, 8 + length)));
  return out;
}

/** One character a byte: Latin-1. */
function ascii(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

const latin1 = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** The checksum of PNG and zip, bit by bit: texts are short. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
