/**
 * Packs a pipeline directory (model contract, section 1) into the files the engine downloads: manifest.json, shards of at most
 * 32 MiB per component, tokenizer files. Resumable: every finished shard is recorded with its hash in `.convert.json`, and a
 * rerun keeps what is recorded and still the same. The same input gives the same bytes.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ScanvasError } from "../../src/errors.ts";
import type { ComponentManifest, ComponentName, FileEntry, Manifest, WeightDtype } from "../../src/weights/manifest.ts";
import { checkManifest } from "../../src/weights/manifest.ts";
import { layoutFor } from "./check.ts";
import type { Pipeline, PipelineComponent } from "./pipeline.ts";
import { readPipeline } from "./pipeline.ts";
import type { WrittenShard } from "./shards.ts";
import { ChunkHasher, planShards, tensorEntries, writeShard } from "./shards.ts";
import { openSource } from "./source.ts";

export interface ConvertOptions {
  /** Storage type of the large matrices; the sensitive small ones are always f32. Default f16. */
  dtype?: "f16" | "f32";
  /** Where the model comes from and its licence, for the manifest. Defaults: directory name, model card or "unknown". */
  source?: string;
  licence?: string;
  /** Called after each shard, with `kept` when an earlier run had written it. */
  onShard?: (file: string, bytes: number, kept: boolean) => void;
}

/** `notes` are sentences for the user: unused tensors, clamped values. `written` counts files written in this run. */
export interface ConvertReport {
  manifest: Manifest;
  notes: string[];
  written: number;
}

/** Raise when the bytes of an output change for the same input, so that a rerun writes them again. */
const LAYOUT_VERSION = 2;
const RECORD = ".convert.json";

interface ConversionRecord {
  layout: number;
  /** component/file -> what went in and what came out */
  shards: Record<string, WrittenShard & { input: string }>;
}

/**
 * @throws FormatError, TruncatedError for broken files; ModelConfigError for a model the engine cannot run; TensorError for a
 * missing or misshaped tensor; NumericalError for NaN or Inf among the weights
 */
export async function convert(input: string, out: string, options: ConvertOptions = {}): Promise<ConvertReport> {
  if (resolve(input) === resolve(out)) {
    throw new ScanvasError("InvalidArgumentError", `convert: --out is the input directory ${out}; choose another`);
  }
  const pipeline = await readPipeline(input);
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
  return { manifest, notes: job.notes, written: job.written };
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
  private readonly current = new Set<string>();

  constructor(
    private readonly out: string,
    private readonly options: ConvertOptions,
    private readonly record: ConversionRecord,
  ) {}

  async component({ name, directory, config }: PipelineComponent): Promise<ComponentManifest> {
    const dtype = this.options.dtype ?? "f16";
    const weight: WeightDtype = dtype === "f16" ? "F16" : "F32";
    const source = await openSource(directory);
    try {
      const { outputs, unused } = layoutFor(name, config, source);
      if (unused.length) this.notes.push(`${name}: ${unused.length} tensors not used: ${shorten(unused)}`);
      const plans = planShards(outputs, name, weight);
      const shards: WrittenShard[] = [];
      for (const plan of plans) {
        const key = JSON.stringify([source.fingerprint, weight, plan.pieces]);
        const inputHash = createHash("sha256").update(plan.header).update(key).digest("hex");
        shards.push(await this.shard(plan.file, inputHash, (path) => writeShard(plan, path, source)));
      }
      for (const { clamped } of shards) {
        for (const [tensor, count] of Object.entries(clamped)) {
          this.notes.push(`${name}: ${tensor}: ${count} values beyond f16 were clamped to +-65504; f32 keeps them`);
        }
      }
      return { config, dtype, shards: shards.map(({ shard }) => shard), tensors: tensorEntries(plans) };
    } finally {
      await source.close();
    }
  }

  private async shard(
    file: string,
    input: string,
    write: (path: string) => Promise<WrittenShard>,
  ): Promise<WrittenShard> {
    const path = join(this.out, file);
    this.current.add(file);
    const known = this.record.shards[file];
    if (known?.input === input && (await hashFile(path))?.join() === known.shard.chunks.join()) {
      this.options.onShard?.(file, known.shard.bytes, true);
      return known;
    }
    await mkdir(dirname(path), { recursive: true });
    // a manifest that names other bytes must not outlive them
    if (!this.written) await rm(join(this.out, "manifest.json"), { force: true });
    delete this.record.shards[file];
    const done = await write(path);
    this.record.shards[file] = { ...done, input };
    await this.replace(RECORD, `${JSON.stringify(this.record)}\n`);
    this.written++;
    this.options.onShard?.(file, done.shard.bytes, false);
    return done;
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
    if (stale.length) await this.replace(RECORD, `${JSON.stringify(this.record)}\n`);
    if (await this.replace("manifest.json", `${JSON.stringify(manifest, null, 1)}\n`)) this.written++;
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
