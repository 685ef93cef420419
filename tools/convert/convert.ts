/**
 * Packs a pipeline directory (model contract, section 1) into the files the engine downloads: manifest.json, shards of at most
 * 32 MiB per component, tokenizer files. Resumable: every finished shard is recorded with its hash in `.convert.json`, and a
 * rerun keeps what is recorded and still the same. The same input gives the same bytes, with any number of threads.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { ScanvasError } from "../../src/errors.ts";
import type { ComponentManifest, ComponentName, FileEntry, Manifest, Shard } from "../../src/weights/manifest.ts";
import { checkManifest } from "../../src/weights/manifest.ts";
import { layoutFor } from "./check.ts";
import type { Dtypes } from "./dtypes.ts";
import { parseDtypes } from "./dtypes.ts";
import type { Loss } from "./encode.ts";
import { openSource } from "./open.ts";
import type { Pipeline, PipelineComponent } from "./pipeline.ts";
import { readPipeline } from "./pipeline.ts";
import { writeFiles } from "./pool.ts";
import type { FilePlan } from "./shards.ts";
import { planShards, tensorEntries } from "./shards.ts";
import type { Written } from "./write.ts";
import { ChunkHasher } from "./write.ts";

export interface ConvertOptions {
  /** Storage type of the large matrices, see `parseDtypes`; the sensitive small ones are always f32. Default "f16". */
  dtype?: string;
  /** Where the model comes from and its licence, for the manifest. Defaults: directory name, model card or "unknown". */
  source?: string;
  licence?: string;
  /** Called after each shard, with `kept` when an earlier run had written it. */
  onShard?: (file: string, bytes: number, kept: boolean) => void;
  /** Measure what every tensor that is written in this run loses: `losses` of the report. */
  measure?: boolean;
  /** Threads to write with; see `writeFiles`. */
  threads?: number;
}

/** `notes` are sentences for the user: unused tensors, clamped values. `written` counts files written in this run. */
export interface ConvertReport {
  manifest: Manifest;
  notes: string[];
  written: number;
  /** Bytes of the input's tensors that are used. */
  read: number;
  /** By component/tensor, |stored - given| / |given|; empty unless `measure`. */
  errors: Map<string, number>;
}

/** Raise when the bytes of an output change for the same input, so that a rerun writes them again. */
const LAYOUT_VERSION = 3;
const RECORD = ".convert.json";

/** What became of a shard: its manifest entry, and how many values were clamped to +-65504, by tensor. */
interface ShardRecord {
  input: string;
  shard: Shard;
  clamped: Record<string, number>;
}

interface ConversionRecord {
  layout: number;
  /** by component/file */
  shards: Record<string, ShardRecord>;
}

/**
 * `input` is a directory, or a pipeline whose sources need not be files.
 * @throws InvalidArgumentError for a dtype that is none; FormatError, TruncatedError for broken files; ModelConfigError for a
 * model the engine cannot run; TensorError for a missing or misshaped tensor; NumericalError for NaN or Inf among the weights
 */
export async function convert(
  input: string | Pipeline,
  out: string,
  options: ConvertOptions = {},
): Promise<ConvertReport> {
  if (typeof input === "string" && resolve(input) === resolve(out)) {
    throw new ScanvasError("InvalidArgumentError", `convert: --out is the input directory ${out}; choose another`);
  }
  const pipeline = typeof input === "string" ? await readPipeline(input) : input;
  const job = new Conversion(out, options, await readRecord(out));
  const components: Partial<Record<ComponentName, ComponentManifest>> = {};
  for (const component of pipeline.components) components[component.name] = await job.component(component);
  const manifest = checkManifest({
    format: "scanvas",
    version: 2,
    className: pipeline.className,
    source: options.source ?? pipeline.source,
    licence: options.licence ?? pipeline.licence,
    components,
    ...(pipeline.scheduler && { scheduler: pipeline.scheduler }),
    ...(pipeline.defaults && { defaults: pipeline.defaults }),
    ...(await job.tokenizerFiles(pipeline)),
    ...(pipeline.preview && { preview: pipeline.preview }),
  });
  await job.finish(manifest);
  return { manifest, notes: job.notes, written: job.written, read: job.read, errors: job.errors() };
}

async function readRecord(out: string): Promise<ConversionRecord> {
  try {
    const record = JSON.parse(await readFile(join(out, RECORD), "utf8")) as ConversionRecord;
    if (record.layout === LAYOUT_VERSION && typeof record.shards === "object") return record;
  } catch {
    // none yet, or not readable: start anew
  }
  return { layout: LAYOUT_VERSION, shards: {} };
}

/** One run: what was written, kept and noticed so far. */
class Conversion {
  readonly notes: string[] = [];
  written = 0;
  read = 0;
  private readonly dtypes: Dtypes;
  private readonly current = new Set<string>();
  private readonly losses = new Map<string, Loss>();

  constructor(
    private readonly out: string,
    private readonly options: ConvertOptions,
    private readonly record: ConversionRecord,
  ) {
    this.dtypes = parseDtypes(options.dtype ?? "f16");
  }

  async component({ name, source: spec, config }: PipelineComponent): Promise<ComponentManifest> {
    const source = await openSource(spec);
    try {
      const { outputs, unused, bytes } = layoutFor(name, config, source);
      this.read += bytes;
      if (unused.length) this.notes.push(`${name}: ${unused.length} tensors not used: ${shorten(unused)}`);
      const plans = planShards(outputs, name, this.dtypes[name]);
      const missing: FilePlan[] = [];
      for (const plan of plans) if (!(await this.keep(plan, source.fingerprint))) missing.push(plan);
      if (missing.length) await this.begin(name, missing);
      const tasks = missing.map((plan) => ({ plan, path: join(this.out, plan.file) }));
      let i = 0;
      for await (const written of writeFiles(spec, tasks, this.options)) {
        await this.finishShard(name, inputHash(missing[i++], source.fingerprint), written);
      }
      const records = plans.map(({ file }) => this.record.shards[file]);
      for (const [tensor, count] of records.flatMap(({ clamped }) => Object.entries(clamped))) {
        this.notes.push(`${name}: ${tensor}: ${count} values beyond f16 were clamped to +-65504; f32 keeps them`);
      }
      const tensors = tensorEntries(plans);
      const weights = Object.values(tensors).reduce((sum, { bytes }) => sum + bytes, 0);
      return {
        config,
        dtype: this.dtypes[name],
        memory: { weights },
        shards: records.map(({ shard }) => shard),
        tensors,
      };
    } finally {
      await source.close();
    }
  }

  /** |stored - given| / |given| of every tensor of which this run measured all parts. */
  errors(): Map<string, number> {
    return new Map([...this.losses].map(([name, { difference, norm }]) => [name, Math.sqrt(difference / norm)]));
  }

  /** Whether an earlier run has written this shard, and it is still what it was. */
  private async keep(plan: FilePlan, fingerprint: string): Promise<boolean> {
    this.current.add(plan.file);
    const known = this.record.shards[plan.file];
    if (known?.input !== inputHash(plan, fingerprint)) return false;
    if ((await hashFile(join(this.out, plan.file)))?.join() !== known.shard.chunks.join()) return false;
    this.options.onShard?.(plan.file, plan.bytes, true);
    return true;
  }

  private async begin(component: ComponentName, missing: FilePlan[]): Promise<void> {
    for (const { file } of missing) delete this.record.shards[file];
    await mkdir(join(this.out, component), { recursive: true });
    // a manifest that names other bytes must not outlive them
    if (!this.written) await rm(join(this.out, "manifest.json"), { force: true });
  }

  private async finishShard(component: ComponentName, input: string, { shard, losses }: Written): Promise<void> {
    const clamped: Record<string, number> = {};
    for (const [tensor, loss] of Object.entries(losses)) {
      if (loss.clamped) clamped[tensor] = loss.clamped;
      if (!this.options.measure) continue;
      const sum = this.losses.get(`${component}/${tensor}`) ?? { clamped: 0, difference: 0, norm: 0 };
      sum.difference += loss.difference;
      sum.norm += loss.norm;
      this.losses.set(`${component}/${tensor}`, sum);
    }
    this.record.shards[shard.file] = { shard, clamped, input };
    await this.saveRecord();
    this.written++;
    this.options.onShard?.(shard.file, shard.bytes, false);
  }

  async tokenizerFiles({ tokenizer }: Pipeline): Promise<Pick<Manifest, "tokenizer" | "tokenizerConfig">> {
    const copy = async (name: string, path: string | undefined): Promise<FileEntry | undefined> => {
      if (!path) return undefined;
      const bytes = await readFile(path);
      const file = `tokenizer/${name}`;
      await mkdir(join(this.out, "tokenizer"), { recursive: true });
      if (await this.replace(file, bytes)) this.written++;
      return { file, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    };
    const json = await copy("tokenizer.json", tokenizer?.json);
    const config = await copy("tokenizer_config.json", tokenizer?.config);
    return { ...(json && { tokenizer: json }), ...(config && { tokenizerConfig: config }) };
  }

  /** Removes shards of an earlier, different conversion and writes the manifest last. */
  async finish(manifest: Manifest): Promise<void> {
    const stale = Object.keys(this.record.shards).filter((file) => !this.current.has(file));
    for (const file of stale) {
      await rm(join(this.out, file), { force: true });
      delete this.record.shards[file];
    }
    if (stale.length) await this.saveRecord();
    if (await this.replace("manifest.json", `${JSON.stringify(manifest, null, 1)}\n`)) this.written++;
  }

  private async saveRecord(): Promise<void> {
    const shards = Object.fromEntries(Object.entries(this.record.shards).sort(([a], [b]) => (a < b ? -1 : 1)));
    await this.replace(RECORD, `${JSON.stringify({ ...this.record, shards })}\n`);
  }

  /** Writes a small file through .part unless it is there with the same bytes; whether it wrote. */
  private async replace(file: string, data: string | Uint8Array): Promise<boolean> {
    const path = join(this.out, file);
    const old = await readFile(path).catch(() => undefined);
    if (old?.equals(Buffer.from(data))) return false;
    await writeFile(`${path}.part`, data);
    await rename(`${path}.part`, path);
    return true;
  }
}

/** Changes when the bytes of a shard may. */
function inputHash({ header, pieces }: FilePlan, fingerprint: string): string {
  return createHash("sha256")
    .update(header)
    .update(JSON.stringify([fingerprint, pieces]))
    .digest("hex");
}

function shorten(names: string[]): string {
  return names.length <= 6 ? names.join(", ") : `${names.slice(0, 5).join(", ")}, ... (${basename(names.at(-1)!)})`;
}

/** SHA-256 of the chunks of a file, undefined when it is not there. */
async function hashFile(path: string): Promise<string[] | undefined> {
  if (!(await stat(path).catch(() => undefined))?.isFile()) return undefined;
  const hasher = new ChunkHasher();
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hasher.update(chunk as Buffer);
  return hasher.digests();
}
