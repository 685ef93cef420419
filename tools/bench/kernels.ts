/** `npm run bench:kernels`: every kernel's bench cases, as shares of what this device reaches at best, beside onnxruntime-web's MatMul. */
import { mkdir, writeFile } from "node:fs/promises";
import { openPage } from "../headless/session.ts";
import type { Row } from "./page.ts";

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const only = process.argv[2];
const { page, close } = await openPage("tools/bench/page.html", say);
try {
  await page.waitForFunction(() => "bench" in window);
  const adapter = await page.evaluate(() => window.bench.start());
  const ceilings = await page.evaluate(() => window.bench.ceilings());
  const giga = (value: number): string => (value / 1e9).toFixed(2);
  say(
    `${adapter.vendor} ${adapter.architecture} ${adapter.description}${adapter.software ? " (SOFTWARE: not GPU speed)" : ""}`,
  );
  say(
    `ceilings: ${giga(ceilings.flopsPerSecond)} GFLOP/s, ${giga(ceilings.bytesPerSecond)} GB/s; matrix kernel: ${adapter.gemm}`,
  );
  say(
    `${"kernel".padEnd(14)} ${"case".padEnd(62)} ${"ms".padStart(10)} ${"GFLOP/s".padStart(9)} ${"GB/s".padStart(8)}  of ceiling`,
  );
  const rows: (Row & { share: number })[] = [];
  for (const id of await page.evaluate(() => window.bench.cases())) {
    if (only && !id.includes(only)) continue;
    const row = await page.evaluate((one) => window.bench.run(one), id);
    const seconds = row.milliseconds / 1000;
    const byArithmetic = row.flops > 0 && row.bytes === undefined;
    const share = byArithmetic
      ? row.flops / seconds / ceilings.flopsPerSecond
      : (row.bytes ?? 0) / seconds / ceilings.bytesPerSecond;
    rows.push({ ...row, share });
    const flops = row.flops > 0 ? giga(row.flops / seconds) : "";
    const bytes = row.bytes === undefined ? "" : giga(row.bytes / seconds);
    say(
      `${row.kernel.padEnd(14)} ${row.name.padEnd(62)} ${row.milliseconds.toFixed(2).padStart(10)} ${flops.padStart(9)} ${bytes.padStart(8)}  ${(share * 100).toFixed(0)} %`,
    );
  }
  // The scan is linear in tokens, attention is not: time per token, 4096 against 1024, in this very run.
  const growth: Record<string, number> = {};
  const perToken = (kernel: string, tokens: number): number | undefined => {
    const side = Math.sqrt(tokens);
    const row = rows.find(
      ({ kernel: k, name }) =>
        k === kernel &&
        name.includes(kernel === "ssd" ? `${side}x${side}` : `${tokens}x${tokens}`) &&
        name.includes(adapter.gemm === "register" ? "register" : ""),
    );
    return row && row.milliseconds / tokens;
  };
  for (const kernel of ["ssd", "attention"]) {
    const [small, large] = [perToken(kernel, 1024), perToken(kernel, 4096)];
    if (small === undefined || large === undefined) continue;
    growth[kernel] = large / small;
    say(`${kernel}: time per token at 4096 tokens is ${growth[kernel].toFixed(2)} times that at 1024`);
  }
  const n = 1024;
  const ours = await page.evaluate((id) => window.bench.ourMatmul(id), `gemm | ${adapter.gemm} 1024x1024x1024 f32`);
  const peer = await page.evaluate((size) => window.bench.peerMatmul(size), n);
  say(
    `MatMul ${n}^3 f32, wall clock: scanvas ${ours.toFixed(1)} ms, onnxruntime-web ${peer.milliseconds.toFixed(1)} ms: ${(peer.milliseconds / ours).toFixed(2)} times as fast`,
  );
  await mkdir("docs/benchmarks", { recursive: true });
  const report = {
    date: new Date().toISOString(),
    adapter,
    ceilings,
    rows,
    matmul1024: { scanvas: ours, onnxruntimeWeb: peer },
  };
  await writeFile("docs/benchmarks/kernels.json", `${JSON.stringify(report, undefined, 1)}\n`);
} finally {
  await close();
}
