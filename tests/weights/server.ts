/** A web server that does wrong on order. Other origins may read it, as they may a CDN. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll } from "vitest";
import { type Source, sha256 } from "./dummy.ts";

/** Answers one request for a file instead of the server; `body` is what the file really is. */
export type Fault = (request: IncomingMessage, response: ServerResponse, body: Source) => unknown;

export interface FaultServer {
  url: string;
  /** path -> bytes */
  files: Map<string, Source>;
  /** path -> what the next requests get, one fault each; then the file again. `path@offset`: only requests for bytes from there; `"*"`: every path. */
  faults: Map<string, Fault[]>;
  /** Path, Range and If-Range of every request so far. */
  requests: { path: string; method: string; range?: string; ifRange?: string }[];
  /** Body bytes that went out so far. */
  sent: number;
  /** Requests being answered now, and the most there were. */
  open: number;
  most: number;
}

const STEP = 2 ** 16;
const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
});

export async function faultServer(files: Map<string, Source>): Promise<FaultServer> {
  const state: FaultServer = { url: "", files, faults: new Map(), requests: [], sent: 0, open: 0, most: 0 };
  const server = createServer((request, response) => {
    const path = new URL(request.url!, "http://x").pathname.slice(1);
    const { range, "if-range": ifRange } = request.headers;
    const method = request.method!;
    state.requests.push({ path, method, ...(range && { range }), ...(typeof ifRange === "string" && { ifRange }) });
    state.most = Math.max(state.most, ++state.open);
    response.on("close", () => state.open--);
    const write = response.write.bind(response);
    response.write = ((chunk: Uint8Array, ...rest: []) => {
      state.sent += chunk.length;
      return write(chunk, ...rest);
    }) as typeof response.write;
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Expose-Headers", "Content-Range, ETag");
    const body = files.get(path);
    const fault = [`${path}@${firstByte(request)}`, path, "*"]
      .map((key) => state.faults.get(key))
      .find((f) => f?.length);
    if (fault) fault.shift()!(request, response, body ?? new Uint8Array());
    else if (body) void whole(request, response, body);
    else response.writeHead(404, { "Content-Type": "text/html" }).end("<html>not found</html>");
  });
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return state;
}

/** Always the same fault, more often than anyone tries. */
export const always = (fault: Fault): Fault[] => Array.from({ length: 100 }, () => fault);

const etags = new WeakMap<Source, string>();
export function etagOf(body: Source): string {
  if (!etags.has(body)) etags.set(body, `"${sha256(body.subarray(0, 4096)).slice(0, 16)}-${body.length}"`);
  return etags.get(body)!;
}

function firstByte(request: IncomingMessage): number {
  return Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
}

/** First and last byte, and the head that goes with them, Content-Length apart. */
function span(request: IncomingMessage, body: Source) {
  const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const ifRange = request.headers["if-range"];
  const range = match && (ifRange === undefined || ifRange === etagOf(body)) ? match : undefined;
  const first = range ? Number(range[1]) : 0;
  const last = range?.[2] ? Math.min(Number(range[2]), body.length - 1) : body.length - 1;
  const head = {
    "Content-Type": "application/octet-stream",
    ETag: etagOf(body),
    ...(range && { "Content-Range": `bytes ${first}-${last}/${body.length}` }),
  };
  return { first, last, code: range ? 206 : 200, head };
}

/** Sends bytes [from, to) as fast as they are taken; stops when nobody listens. */
async function send(response: ServerResponse, body: Source, from: number, to: number): Promise<void> {
  for (let at = from; at < to && !response.destroyed; at += STEP) {
    if (response.write(body.subarray(at, Math.min(at + STEP, to)))) continue;
    const waiting = new AbortController();
    const { signal } = waiting;
    await Promise.race([once(response, "drain", { signal }), once(response, "close", { signal })]).catch(() => {});
    waiting.abort();
  }
}

/** The right answer, ranges and all. */
export const whole: Fault = async (request, response, body) => {
  const { first, last, code, head } = span(request, body);
  response.writeHead(code, { ...head, "Content-Length": last + 1 - first });
  await send(response, body, first, last + 1);
  response.end();
};

/** 200 with other bytes. */
export const instead =
  (bytes: Uint8Array | string, type = "application/octet-stream"): Fault =>
  (_request, response) => {
    response.writeHead(200, { "Content-Type": type });
    response.write(Buffer.from(bytes));
    response.end();
  };

/** The right answer, but one bit of it. */
export const flipped: Fault = async (request, response, body) => {
  const { first, last } = span(request, body);
  const bytes = new Uint8Array(body.subarray(first, last + 1));
  bytes[bytes.length >> 1] ^= 4;
  await whole(request, response, { length: body.length, subarray: (a, b) => bytes.subarray(a - first, b - first) });
};

export const status =
  (code: number, headers: Record<string, string> | (() => Record<string, string>) = {}): Fault =>
  (_request, response) =>
    void response.writeHead(code, typeof headers === "function" ? headers() : headers).end();

/** The right head and the first `share` of what was asked for, then `end`: the connection is cut unless told otherwise. */
export const cut =
  (share: number, end: (response: ServerResponse) => void = (response) => response.destroy()): Fault =>
  async (request, response, body) => {
    const { first, last, code, head } = span(request, body);
    response.writeHead(code, { ...head, "Content-Length": last + 1 - first });
    const to = first + Math.round(share * (last + 1 - first));
    await send(response, body, first, to);
    response.flushHeaders();
    setTimeout(() => end(response), 25); // what was written has left, and been read
  };

/** Sends a share and then nothing, without closing. */
export const stall = (share: number): Fault => cut(share, () => {});

/** Chunked and complete as HTTP goes, but only a share of it. */
export const short =
  (share: number): Fault =>
  async (request, response, body) => {
    const { first, last, code, head } = span(request, body);
    response.writeHead(code, head);
    await send(response, body, first, first + Math.round(share * (last + 1 - first)));
    response.end();
  };

/** The right answer to another question: the whole file whatever the Range. */
export const ignoreRange: Fault = async (_request, response, body) => {
  response.writeHead(200, { "Content-Length": body.length, ETag: etagOf(body) });
  await send(response, body, 0, body.length);
  response.end();
};

/** A Content-Length that is `by` bytes too large or, negative, too small; the body is right as far as it may go. */
export const miscounted =
  (by: number): Fault =>
  async (request, response, body) => {
    const { first, last, code, head } = span(request, body);
    const length = last + 1 - first + by;
    response.writeHead(code, { ...head, "Content-Length": length });
    await send(response, body, first, Math.min(last + 1, first + length));
    if (by < 0) response.end();
    else setTimeout(() => response.destroy(), 5);
  };

/** The whole file, compressed on the way. */
export const gzipped: Fault = (_request, response, body) => {
  const bytes = gzipSync(body.subarray(0, body.length));
  response.writeHead(200, { "Content-Encoding": "gzip", "Content-Length": bytes.length });
  response.write(bytes);
  response.end();
};
