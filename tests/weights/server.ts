/** A web server that does wrong on order. */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll } from "vitest";

/** Answers one request for a file instead of the server; `body` is what the file really is. */
export type Fault = (request: IncomingMessage, response: ServerResponse, body: Uint8Array) => void;

export interface FaultServer {
  url: string;
  /** path -> bytes */
  files: Map<string, Uint8Array>;
  /** path -> what the next requests get, one fault each; then the file again. `"*"`: every path. */
  faults: Map<string, Fault[]>;
  /** path and Range of every request so far. */
  requests: { path: string; range?: string }[];
  /** Body bytes written so far. */
  sent: number;
  /** Requests being answered now, and the most there were. */
  open: number;
  most: number;
}

const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
});

export async function faultServer(files: Map<string, Uint8Array>): Promise<FaultServer> {
  const state: FaultServer = { url: "", files, faults: new Map(), requests: [], sent: 0, open: 0, most: 0 };
  const server = createServer((request, response) => {
    const path = new URL(request.url!, "http://x").pathname.slice(1);
    const { range } = request.headers;
    state.requests.push({ path, ...(range && { range }) });
    state.most = Math.max(state.most, ++state.open);
    response.on("close", () => state.open--);
    const write = response.write.bind(response);
    response.write = ((chunk: Uint8Array, ...rest: []) => {
      state.sent += chunk.length;
      return write(chunk, ...rest);
    }) as typeof response.write;
    const body = files.get(path);
    const fault = state.faults.get(path)?.shift() ?? state.faults.get("*")?.shift();
    if (fault) fault(request, response, body ?? new Uint8Array());
    else if (body) whole(request, response, body);
    else response.writeHead(404, { "Content-Type": "text/html" }).end("<html>not found</html>");
  });
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return state;
}

/** The right answer, ranges and all. */
export const whole: Fault = (request, response, body) => {
  const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const first = match ? Number(match[1]) : 0;
  const last = match?.[2] ? Number(match[2]) : body.length - 1;
  response.writeHead(match ? 206 : 200, {
    "Content-Type": "application/octet-stream",
    "Content-Length": last - first + 1,
    ...(match && { "Content-Range": `bytes ${first}-${last}/${body.length}` }),
  });
  response.write(body.subarray(first, last + 1));
  response.end();
};

/** 200 with other bytes. */
export const instead =
  (bytes: Uint8Array | string, type = "application/octet-stream"): Fault =>
  (_request, response) =>
    void response.writeHead(200, { "Content-Type": type }).end(bytes);

export const status =
  (code: number, headers: Record<string, string> = {}): Fault =>
  (_request, response) =>
    void response.writeHead(code, headers).end();

/** Starts the right answer and resets the connection after `bytes` of it. */
export const cut =
  (bytes: number): Fault =>
  (request, response, body) => {
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    response.writeHead(from ? 206 : 200, {
      "Content-Length": body.length - from,
      ...(from && { "Content-Range": `bytes ${from}-${body.length - 1}/${body.length}` }),
    });
    response.write(body.subarray(from, from + bytes), () => response.destroy());
  };

/** Chunked and complete as HTTP goes, but only `bytes` of the file. */
export const short =
  (bytes: number): Fault =>
  (_request, response, body) => {
    response.writeHead(200);
    response.write(body.subarray(0, bytes));
    response.end();
  };

/** The right answer to another question: the whole file whatever the Range. */
export const ignoreRange: Fault = (_request, response, body) => {
  response.writeHead(200, { "Content-Length": body.length });
  response.write(body);
  response.end();
};

/** Sends `bytes` bytes and then nothing, without closing. */
export const stall =
  (bytes: number): Fault =>
  (_request, response, body) => {
    response.writeHead(200, { "Content-Length": body.length });
    response.write(body.subarray(0, bytes));
  };
