/** A report as one HTML file: no script, no network, charts as SVG. With `before`, each time is set against that of the other report. */
import type { Fact, Ratio, Report, Row, Series } from "./report.ts";

const escape = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);

/** Three digits that count. */
const short = (value: number): string =>
  value === 0
    ? "0"
    : Math.abs(value) >= 1e6 || Math.abs(value) < 1e-3
      ? value.toExponential(2)
      : String(Number(value.toPrecision(3)));

const time = (seconds: number): string =>
  seconds >= 1 ? `${short(seconds)} s` : seconds >= 1e-3 ? `${short(seconds * 1e3)} ms` : `${short(seconds * 1e6)} µs`;

const percent = (value: number): string => `${(value * 100).toFixed(0)} %`;
const mark = (met: boolean | undefined): string =>
  met === undefined ? "" : met ? '<b class="good">met</b>' : '<b class="bad">not met</b>';

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<div class="wide"><table><thead><tr>${head.map((h) => `<th>${h}</th>`).join("")}</tr></thead><tbody>${rows
    .map((cells) => `<tr>${cells.map((c) => `<td>${c}</td>`).join("")}</tr>`)
    .join("")}</tbody></table></div>`;

export function renderHtml(report: Report, before?: Report): string {
  const { environment, machine, suite } = report;
  const { adapter, ceilings } = environment;
  const title = `scanvas bench ${suite}${before ? ", compared" : ""}`;
  const about: [string, string][] = [
    ["date", report.date],
    ["commit", report.commit || "unknown"],
    ["runtime", environment.runtime],
    ["flags", environment.flags.join(" ")],
    ["adapter", `${adapter.vendor} ${adapter.architecture} ${adapter.device} ${adapter.description}`],
    ["features", environment.features.join(", ")],
    ["subgroup matrices", adapter.matrices.join(", ") || "none"],
    [
      "limits",
      Object.entries(environment.limits)
        .map(([k, v]) => `${k} ${v}`)
        .join(", "),
    ],
    [
      "kernels chosen",
      Object.entries(environment.variants)
        .map((pair) => pair.join(" "))
        .join(", "),
    ],
    ...(ceilings
      ? [
          [
            "ceilings",
            `${short(ceilings.flopsPerSecond / 1e9)} GFLOP/s, ${short(ceilings.bytesPerSecond / 1e9)} GB/s`,
          ] as [string, string],
        ]
      : []),
    ["machine", `${machine.cpu}, ${machine.cores} cores, ${short(machine.memory / 2 ** 30)} GiB, ${machine.system}`],
    ["options", JSON.stringify(report.options)],
  ];
  const groups = [...new Set(report.rows.map(({ group }) => group))];
  const charts = [...new Set(report.series.map(({ chart }) => chart))];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>${STYLE}</style></head><body>
<h1>${title}</h1>
${adapter.software ? '<p class="warning">Software adapter: a CPU did this work. The times say nothing about a GPU; ratios within one run do say something.</p>' : ""}
${report.quick ? '<p class="warning">A quick run: small shapes and single samples. It shows that everything works, not how fast it is.</p>' : ""}
${report.notes.map((note) => `<p>${escape(note)}</p>`).join("\n")}
${before ? `<p>Against ${escape(before.date)}, commit ${escape(before.commit)}, ${escape(before.environment.runtime)}. Times of different runs or machines compare only as well as the machines were idle.</p>` : ""}
${report.facts.length ? `<h2>Figures</h2>${factTable(report.facts, before?.facts)}` : ""}
${report.ratios.length ? `<h2>Ratios, pair by pair</h2>${ratioChart(report.ratios)}${ratioTable(report.ratios, before?.ratios)}` : ""}
${charts.map((chart) => `<h2>${escape(chart)}</h2>${lineChart(report.series.filter((s) => s.chart === chart))}`).join("\n")}
${groups
  .map(
    (group) =>
      `<h2>${escape(group)}</h2>${rowTable(
        report.rows.filter((r) => r.group === group),
        before,
      )}`,
  )
  .join("\n")}
<h2>Of this run</h2>${table(
    ["", ""],
    about.map(([k, v]) => [k, escape(v)]),
  )}
</body></html>
`;
}

function rowTable(rows: readonly Row[], before: Report | undefined): string {
  const old = new Map(before?.rows.map((r) => [`${r.group}|${r.name}`, r]));
  const anyFlops = rows.some((r) => r.flops);
  const anyShare = rows.some((r) => r.share !== undefined);
  const head = [
    "case",
    "median",
    "quartiles",
    "samples",
    "first run",
    ...(anyFlops ? ["GFLOP/s"] : []),
    ...(anyShare ? ["GB/s", "of bound"] : []),
    ...(before ? ["before", "before / now"] : []),
    "right?",
  ];
  return table(
    head,
    rows.map((r) => {
      const was = old.get(`${r.group}|${r.name}`);
      const { against, error, tolerance, passed } = r.check;
      return [
        escape(r.name),
        time(r.median),
        `${time(r.low)} to ${time(r.high)}`,
        String(r.samples.length),
        r.warmup.map(time).join(", "),
        ...(anyFlops ? [r.flops ? short(r.flops / r.median / 1e9) : ""] : []),
        ...(anyShare
          ? [r.bytes ? short(r.bytes / r.median / 1e9) : "", r.share === undefined ? "" : bar(r.share)]
          : []),
        ...(before ? [was ? time(was.median) : "", was ? short(was.median / r.median) : "new"] : []),
        `${passed ? '<b class="good">yes</b>' : '<b class="bad">NO</b>'} <small>${short(error)} of ${short(tolerance)}, ${escape(against)}</small>`,
      ];
    }),
  );
}

const bar = (share: number): string =>
  `<span class="bar"><i style="width:${Math.min(100, share * 100).toFixed(1)}%"></i></span> ${percent(share)}`;

function ratioTable(ratios: readonly Ratio[], before: readonly Ratio[] | undefined): string {
  const old = new Map(before?.map((r) => [r.name, r]));
  return table(
    ["", "slow / fast", "median", "quartiles", "pairs", "goal", ...(before ? ["before"] : [])],
    ratios.map((r) => [
      escape(r.name),
      `${escape(r.slow)} / ${escape(r.fast)}`,
      short(r.median),
      `${short(r.low)} to ${short(r.high)}`,
      String(r.pairs.length),
      r.goal === undefined ? "" : `${r.goal} ${mark(r.met)}`,
      ...(before ? [old.has(r.name) ? short(old.get(r.name)!.median) : "new"] : []),
    ]),
  );
}

function factTable(facts: readonly Fact[], before: readonly Fact[] | undefined): string {
  const old = new Map(before?.map((f) => [f.name, f]));
  const goal = ({ goal, met }: Fact): string =>
    goal ? `${"atMost" in goal ? `at most ${goal.atMost}` : `at least ${goal.atLeast}`} ${mark(met)}` : "";
  return table(
    ["", "value", "goal", ...(before ? ["before"] : [])],
    facts.map((f) => [
      escape(f.name),
      `${short(f.value)} ${escape(f.unit)}`,
      goal(f),
      ...(before ? [old.has(f.name) ? short(old.get(f.name)!.value) : "new"] : []),
    ]),
  );
}

/** Bars from 0, a line at 1 and one at each goal. */
function ratioChart(ratios: readonly Ratio[]): string {
  const [width, left, line] = [900, 330, 22];
  const most = Math.max(1, ...ratios.flatMap((r) => [r.high, r.goal ?? 0])) * 1.1;
  const x = (value: number): number => left + (value / most) * (width - left - 60);
  const bars = ratios.map((r, i) => {
    const y = i * line;
    const colour = r.met === false ? "var(--bad)" : "var(--ink2)";
    return (
      `<text x="${left - 8}" y="${y + 15}" text-anchor="end">${escape(r.name.slice(0, 48))}</text>` +
      `<rect x="${left}" y="${y + 4}" width="${(x(r.median) - left).toFixed(1)}" height="14" fill="${colour}"/>` +
      `<line x1="${x(r.low).toFixed(1)}" x2="${x(r.high).toFixed(1)}" y1="${y + 11}" y2="${y + 11}" stroke="var(--ink)"/>` +
      (r.goal === undefined
        ? ""
        : `<line x1="${x(r.goal)}" x2="${x(r.goal)}" y1="${y + 1}" y2="${y + 21}" stroke="var(--ink)" stroke-dasharray="3 2"/>`) +
      `<text x="${(x(Math.max(r.median, r.high)) + 6).toFixed(1)}" y="${y + 15}">${short(r.median)}</text>`
    );
  });
  const height = ratios.length * line + 4;
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="ratios">${bars.join("")}<line x1="${x(1)}" x2="${x(1)}" y1="0" y2="${height}" stroke="var(--ink)" opacity=".4"/></svg>`;
}

const COLOURS = ["#0b6e99", "#c2410c", "#3f7d20", "#7c3aed", "#a16207", "#be185d", "#475569"];

/** Both axes logarithmic. */
function lineChart(series: readonly Series[]): string {
  const [width, height, left, right, top, bottom] = [900, 380, 70, 250, 14, 44];
  const all = series.flatMap((s) => s.points).filter(([x, y]) => x > 0 && y > 0);
  if (all.length === 0) return "";
  const range = (pick: 0 | 1): [number, number] => {
    const logs = all.map((p) => Math.log10(p[pick]));
    const [low, high] = [Math.min(...logs), Math.max(...logs)];
    return high - low < 0.1 ? [low - 0.1, high + 0.1] : [low, high];
  };
  const [x0, x1] = range(0);
  const [y0, y1] = range(1);
  const px = (x: number): number => left + ((Math.log10(x) - x0) / (x1 - x0)) * (width - left - right);
  const py = (y: number): number => height - bottom - ((Math.log10(y) - y0) / (y1 - y0)) * (height - top - bottom);
  const xs = [...new Set(all.map(([x]) => x))].sort((a, b) => a - b);
  const ticks = Array.from({ length: Math.floor(y1) - Math.ceil(y0) + 1 }, (_, i) => 10 ** (Math.ceil(y0) + i));
  const grid =
    xs
      .map(
        (x) =>
          `<line x1="${px(x)}" x2="${px(x)}" y1="${top}" y2="${height - bottom}" stroke="var(--line)"/><text x="${px(x)}" y="${height - bottom + 16}" text-anchor="middle">${x}</text>`,
      )
      .join("") +
    ticks
      .map(
        (y) =>
          `<line x1="${left}" x2="${width - right}" y1="${py(y)}" y2="${py(y)}" stroke="var(--line)"/><text x="${left - 6}" y="${py(y) + 4}" text-anchor="end">${short(y)}</text>`,
      )
      .join("");
  const lines = series.map((s, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const points = s.points.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`);
    const label = s.exponent === undefined ? s.name : `${s.name}: x^${s.exponent.toFixed(2)}`;
    return (
      `<polyline points="${points.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>` +
      points.map((p) => `<circle cx="${p.split(",")[0]}" cy="${p.split(",")[1]}" r="3" fill="${colour}"/>`).join("") +
      `<rect x="${width - right + 16}" y="${top + i * 20}" width="12" height="12" fill="${colour}"/><text x="${width - right + 34}" y="${top + i * 20 + 11}">${escape(label)}</text>`
    );
  });
  const { x, y } = series[0]!;
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(y)} against ${escape(x)}">${grid}${lines.join("")}<text x="${(left + width - right) / 2}" y="${height - 8}" text-anchor="middle">${escape(x)}</text><text x="14" y="${top + 150}" transform="rotate(-90 14 ${top + 150})" text-anchor="middle">${escape(y)}</text></svg>`;
}

const STYLE = `:root{color-scheme:light dark;--ink:#1b1b1b;--ink2:#5b8aa3;--line:#d8d8d8;--bad:#b91c1c;--good:#15803d;--paper:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e8e8e8;--ink2:#6fa8c7;--line:#3a3a3a;--bad:#f87171;--good:#4ade80;--paper:#141414}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1100px;margin:2rem auto;padding:0 1rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{border-bottom:1px solid var(--line);padding:.25rem .7rem;text-align:left;vertical-align:top}
td:first-child{min-width:9rem}.good{color:var(--good)}.bad{color:var(--bad)}.warning{border-left:4px solid var(--bad);padding-left:.8rem;font-weight:600}
svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}.bar{display:inline-block;width:80px;height:9px;background:var(--line)}.bar i{display:block;height:100%;background:var(--ink2)}`;
