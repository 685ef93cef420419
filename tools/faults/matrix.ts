/**
 * What can go wrong for people, one row a fault, with the tests that show that the engine lives with it. `docs/faults.md` is written
 * from here (npm run faults); tests/faults/matrix.test.ts holds it to the tests that there are.
 */

export interface Fault {
  id: string;
  /** What goes wrong. */
  fault: string;
  /** What the engine does then. */
  then: string;
  /** File under tests/ and title as in its source: "describe > it". */
  tests: readonly (readonly [file: string, title: string])[];
  /** What no headless browser can show, and how to see it in the page. */
  manual?: string;
}

const FAULTS = "weights/faults.test.ts";
const SMALL = "sixteen small shards > $name > at the %s";
const LOAD = "weights/load.test.ts";
const MODELS = "weights/models.test.ts";
const STORAGE = "weights/browser.test.ts";
const ERRORS = "pipeline/errors.test.ts";
const FUZZ = "faults/fuzz.test.ts";
const LOSS = "faults/device_loss.test.ts";
const LACK = "faults/out_of_memory.test.ts";
const TABS = "faults/browser.test.ts";
const WORKER = "faults/worker.test.ts";
const STEADY = "pipeline/steady.test.ts";
const BROWSER = "browser/pipeline.test.ts";
const ONNX = "browser/onnx.test.ts";
const MANIFEST = "weights/manifest.test.ts";
const HEADER = "weights/safetensors.test.ts";
const PACKAGE = "package/package.test.ts";
const ELEMENT = "element/element.test.ts";
const SAFETY = "page/safety.test.ts";
const TWELVE = "a model of twelve pieces";
const LOST = "a device that is lost";
const NO_ROOM = "a GPU without room";
const IMPOSSIBLE = "a pipeline that is asked for the impossible";
const CANNOT = "a model that cannot be loaded";
const WRONG = "faults/wrong_kernel.test.ts";
const KERNELS = "kernels against their CPU twins, at default limits > * > *";

export const MATRIX: readonly Fault[] = [
  // GPU
  {
    id: "G1",
    fault: "The device is lost: driver reset, sleep, reclaim",
    then: "A new device, the weights from storage, on from the last step; at most two a minute, then an error that offers the low tier",
    tests: [
      [LOSS, `${LOST} > at $stage $step costs no step that was done, and the picture is the same`],
      [LOSS, `${LOST} > in the second of two pictures does not cost the first`],
      [LOSS, `${LOST} > between two pictures is replaced`],
      [LOSS, `${LOST} > while the model loads is replaced too`],
      [
        LOSS,
        `${LOST} > three times within a minute ends in an error that says what to do; after a minute the pipeline works again`,
      ],
      [
        LOSS,
        `${LOST} > and whose weights are no longer to be had ends in an error that says so; with them, the pipeline works again`,
      ],
      [TABS, "a tab > that loses its GPU more often than it may loads at the low tier the next time"],
      [TABS, "a GPU process that dies > at any step of a picture, again and again, changes none of them"],
      [TABS, "a GPU process that the browser does not start again > is an error that says so, and the page lives on"],
      [ERRORS, `${IMPOSSIBLE} > says so when the device is lost in a step and may not be replaced, and ever after`],
      ["faults/allowance.test.ts", "an allowance > is used up, and there again when its span is over"],
    ],
  },
  {
    id: "G2",
    fault: "Own teardown is reported as a loss",
    then: "Nothing is reported, and every buffer is gone",
    tests: [
      [STEADY, "while pictures are made > frees every buffer when it is disposed"],
      [LOSS, `${LOST} > by dispose() is no loss: nothing is loaded again`],
    ],
  },
  {
    id: "G3",
    fault: "The API lies after a loss",
    then: "After any failed call the loss is waited for a moment, and is what is reported",
    tests: [
      [LOSS, `${LOST} > is what is reported, whatever the call says that fails first`],
      [LOSS, `${LOST} > amid the trial of kernels lets nothing be concluded of them`],
    ],
  },
  {
    id: "G4",
    fault: "GPU memory is exhausted",
    then: "The text encoder is streamed, guidance taken in passes, activations in small parts; then an error with the bytes",
    tests: [
      [LACK, `${NO_ROOM} > for the weights of the text encoder streams them from the start`],
      [
        LACK,
        `${NO_ROOM} > for a picture gets the memory of the text encoder, then takes guidance in passes; with room, the next size has all of it`,
      ],
      [
        LACK,
        `${NO_ROOM} > is asked for less at every step of the ladder; the error has the numbers, and the next picture is right`,
      ],
      [
        LACK,
        `${NO_ROOM} > for any one buffer, of the engine's own count or not, steps down once, and the picture is right`,
      ],
      [LACK, `${NO_ROOM} > even for the weights is refused with the bytes, and leaves nothing`],
    ],
  },
  {
    id: "G5",
    fault: "Default limits: 128 MiB bindings, 256 MiB buffers",
    then: "Everything runs on them; what cannot is refused before anything is allocated",
    tests: [
      [STEADY, "while pictures are made > has exactly WebGPU's default limits, and works on them"],
      [ERRORS, `${IMPOSSIBLE} > refuses $what, and goes on`],
    ],
  },
  {
    id: "G6",
    fault: "No shader-f16",
    then: "f32 arithmetic is the default, with its own memory plan; f16 variants are compiled in tests",
    tests: [
      ["gpu/device.test.ts", "a device > without f16 is what an adapter without it gives, asked for or not"],
      ["kernels/kernels.test.ts", KERNELS],
      ["lavapipe/kernels.test.ts", "kernels in f16 against their CPU twins > * > *"],
    ],
  },
  {
    id: "G7",
    fault: "Long work freezes the screen or trips the watchdog",
    then: "Long kernels are cut by rows and heads, with the same bits; submits are cut by the time that earlier ones took, two at a time",
    tests: [
      ["gpu/pacer.test.ts", "the pacer > finds submits of $target ms on a $kind device, however fast its program goes"],
      ["gpu/pacer.test.ts", "the pacer > waits for what is in flight of any program, not of one"],
      [
        "pipeline/pace.test.ts",
        "the pace of submits > makes the same picture at any pace, with two submits in flight at most",
      ],
      [
        "model/denoiser.test.ts",
        "the denoiser in parts > $batch x $height x $width tokens: $groups groups of heads, $bands bands of rows",
      ],
      [
        "model/full_size.test.ts",
        "the full-size model > binds within $limit bytes and keeps no dispatch long at $width x $height",
      ],
    ],
    manual: "No watchdog ends a dispatch on a software adapter: watch the page's frame rate while it works",
  },
  {
    id: "G8",
    fault: "Compiling stalls the first picture",
    then: "Pipelines are compiled asynchronously, each once; the second picture compiles none",
    tests: [
      [
        STEADY,
        "while pictures are made > makes nothing but the readback of the picture when the size and the prompts are those of the last one",
      ],
      [
        "pipeline/warm.test.ts",
        "the shipped model > compiles nothing and uploads only the prompt and the noise for a second picture of another prompt",
      ],
    ],
  },
  {
    id: "G9",
    fault: "NaN or Inf becomes a black picture",
    then: "A bit test on every block's output; the error names the first bad block, no picture is returned",
    tests: [[ERRORS, `${IMPOSSIBLE} > $what among the weights > is traced to $says`]],
  },
  {
    id: "G10",
    fault: "f16 overflows",
    then: "Sums and the residual stream are f32; the converter clamps and counts",
    tests: [
      ["numbers/half.test.ts", "f16 > clamps and counts what lies beyond +-65504"],
      ["lavapipe/kernels.test.ts", "kernels in f16 against their CPU twins > * > *"],
    ],
  },
  {
    id: "G11",
    fault: "Wrong numbers on one GPU or driver",
    then: "Kernels are held to plain arithmetic before a device's first picture; a wrong one is replaced, remembered, and named by the self-check",
    tests: [
      [WRONG, "a kernel that is wrong on this device > of %s is found and replaced"],
      [WRONG, "a kernel that is wrong on this device > is remembered, so that it is looked for once"],
      [WRONG, "a kernel that is wrong on this device > is told of by the self-check"],
      [WRONG, "a kernel that is wrong on this device > does not reach the picture"],
      [WRONG, "a kernel that is wrong on this device > is an error where no other is right"],
    ],
  },
  {
    id: "G12",
    fault: "A software adapter is used unseen",
    then: "The adapter's kind is told",
    tests: [[TABS, "an adapter > of software is told, in words and as such"]],
  },
  {
    id: "G13",
    fault: "ONNX Runtime and the engine on different devices",
    then: "Embeddings cross as plain numbers, so no device is shared; a software adapter leaves ONNX to the CPU",
    tests: [
      [ONNX, "agrees with transformers on every prompt, again and again after a release"],
      [ONNX, "leaves a software adapter for the CPU, and gives no reason to complain on the console"],
    ],
  },
  {
    id: "G14",
    fault: "ONNX Runtime's pool grows",
    then: "Its session is released before a picture is made",
    tests: [
      [ONNX, "makes the pictures of our own encoder, and keeps no session meanwhile"],
      [ONNX, "agrees with transformers on every prompt, again and again after a release"],
    ],
  },
  {
    id: "G15",
    fault: "A leak over many pictures",
    then: "Every buffer is counted; the same size has the same bytes each time",
    tests: [
      [STEADY, "while pictures are made > keeps nothing over 20 pictures of two sizes"],
      ["faults/soak.test.ts", "makes the same pictures to the end, settles everything and keeps nothing"],
    ],
  },
  {
    id: "G16",
    fault: "Concurrent calls corrupt state",
    then: "One job at a time, in order",
    tests: [
      [BROWSER, "runs what is asked at once one after the other, in order; one cancelled while it waits settles first"],
      [
        "pipeline/scheduler.test.ts",
        "the queue of jobs > runs one at a time, in order, whatever happens to those before",
      ],
    ],
  },
  {
    id: "G17",
    fault: "A stop arrives while something starts",
    then: "The job settles within a step at any stage, and the next one is right",
    tests: [
      [
        "pipeline/pace.test.ts",
        "the pace of submits > submits nothing after a cancel in submit $nth of $stage, and goes on",
      ],
      ["pipeline/pace.test.ts", "the pace of submits > does not wait for the compiler when it is cancelled"],
      [ERRORS, `${IMPOSSIBLE} > stops within a step when cancelled $when, and goes on`],
      [ERRORS, `${IMPOSSIBLE} > does nothing at all when the signal was aborted before`],
      [BROWSER, "stops when the signal is aborted at $stage $step, and goes on"],
    ],
  },
  {
    id: "G18",
    fault: "Many tabs, each with all its GPU memory",
    then: "One tab works at a time; an idle one parks its models when another asks",
    tests: [
      [
        TABS,
        "tabs that share a GPU > take turns: an idle one parks, a busy one is waited for or ended, a dead one is no obstacle",
      ],
    ],
  },
  {
    id: "G19",
    fault: "A tab in the background, sleep, freeze",
    then: "Work waits, and goes on from the last step, with a new device if the old one is gone; signs of life are counted, not timed",
    tests: [
      [TABS, "a GPU process that dies > while the tab is frozen costs nothing: the picture goes on when it wakes"],
      [LOSS, `${LOST} > between two pictures is replaced`],
    ],
    manual: "No headless browser hides a tab: switch to another tab, or close the lid, while a picture is made",
  },
  {
    id: "G20",
    fault: "The system kills the tab",
    then: "The next visit loads at the low tier, and says why",
    tests: [
      [
        TABS,
        "a tab > that the system killed at work loads at the low tier the next time, and says why; one that was left does not",
      ],
    ],
  },

  // Network and storage
  {
    id: "S1",
    fault: "The storage is full",
    then: "The model loads all the same; nothing partial stays; the numbers are told",
    tests: [
      [STORAGE, `${TWELVE} > with little room, in the %s > %s`],
      [LOAD, "many shards > load although the storage has room for %s"],
    ],
  },
  {
    id: "S2",
    fault: "The browser evicts pieces",
    then: "Only what is missing is fetched",
    tests: [[LOAD, "many shards > pieces that were evicted are fetched again, and they alone"]],
  },
  {
    id: "S3",
    fault: "A damaged or half file in the storage",
    then: "Each piece is hashed when it is read, and fetched again when it is wrong",
    tests: [[LOAD, "many shards > a stored piece that is damaged is fetched again, and it alone: %s"]],
  },
  {
    id: "S4",
    fault: "The host sends a web page with status 200",
    then: "It is named as such, and nothing of it is stored",
    tests: [[FAULTS, SMALL]],
  },
  { id: "S5", fault: "A Git LFS pointer in place of weights", then: "It is named as such", tests: [[FAULTS, SMALL]] },
  {
    id: "S6",
    fault: "The host cuts large files",
    then: "Shards of at most 32 MiB; a short body is resumed or named",
    tests: [[FAULTS, SMALL]],
  },
  {
    id: "S7",
    fault: "The connection drops, addresses expire",
    then: "Resumed at the last byte, by If-Range; at most 1.1 times the bytes",
    tests: [
      [FAULTS, SMALL],
      [FAULTS, "sixteen small shards > every answer is cut half-way"],
      [FAULTS, "sixteen small shards > a refused address is made anew"],
    ],
  },
  {
    id: "S8",
    fault: "A wrong or missing Content-Length",
    then: "Sizes come from the manifest; progress never passes its end",
    tests: [[FAULTS, SMALL]],
  },
  {
    id: "S9",
    fault: "429 and 5xx",
    then: "Waits as long as Retry-After says, at most four requests at once",
    tests: [
      [FAULTS, SMALL],
      [LOAD, "faults > wait as long as Retry-After says"],
      [LOAD, "many shards > come in order, at most four requests and four buffers at a time"],
    ],
  },
  {
    id: "S10",
    fault: "The model is updated and old parts mix with new",
    then: "Pieces are named by their hash; the old version goes when the new one is complete",
    tests: [
      [MODELS, "a new version > takes the place of the old one when it is there, and fetches only what changed"],
      [MODELS, "a new version > leaves the old one whole while it is not all there"],
      [
        FAULTS,
        "sixteen small shards > a file that changes for another in the middle of it is named, and stays out of the store",
      ],
    ],
  },
  {
    id: "S11",
    fault: "Two writers, files seen half-written",
    then: "A rename is the commit; tabs take turns by piece",
    tests: [
      [STORAGE, `${TWELVE} > is shared by two tabs that load it at once, in their %s`],
      [STORAGE, `${TWELVE} > survives the end of the worker that writes it`],
    ],
  },
  {
    id: "S12",
    fault: "Storage handles in conflict, locks left behind",
    then: "Waits a moment, then loads without storage; locks go with their tab",
    tests: [
      ["weights/store.test.ts", "a store whose file a dying worker still holds > waits for it"],
      [
        "weights/store.test.ts",
        "a store whose file a dying worker still holds > gives up after a while, says so, and works again later",
      ],
      [STORAGE, `${TWELVE} > goes on in the second tab when the first dies amid its downloads`],
      [LOAD, "many shards > load although the store fails at everything"],
    ],
  },
  {
    id: "S13",
    fault: "Nothing works on http:// in a local network",
    then: "The error says why",
    tests: [[TABS, "an adapter > that an insecure page cannot have is an error that says why"]],
  },
  {
    id: "S14",
    fault: "The JavaScript heap holds the model twice",
    then: "Four buffers of 8 MiB, whatever the model's size",
    tests: [
      [STORAGE, "a model of 256 MiB > takes less than 64 MiB of the worker, from the network and from the store"],
    ],
  },
  {
    id: "S15",
    fault: "No network",
    then: "A stored model loads without one",
    tests: [
      [STORAGE, `${TWELVE} > loads without a network in the %s`],
      [MODELS, "a model that was loaded once > loads without a network, with one vain request"],
    ],
  },

  // Security, worker, inputs
  {
    id: "X1",
    fault: "A hostile safetensors header",
    then: "Every check of the reference, and stricter ones",
    tests: [
      [HEADER, "headers, against the safetensors library > $name"],
      [
        HEADER,
        "headers, against the safetensors library > accepts no mutation that the library refuses, and only sound files",
      ],
      [HEADER, "2,000 random mutations > does not hang on 20 MB of brackets, quotes or digits"],
      [FUZZ, "ten thousand damaged > safetensors headers"],
      [FUZZ, "ten thousand damaged > prompt packs"],
    ],
  },
  {
    id: "X2",
    fault: "A file name that leads out of the model's folder",
    then: "Plain names only, resolved under the folder",
    tests: [
      [MANIFEST, "a converted model's manifest > takes only plain file names: not %j"],
      [FUZZ, "ten thousand damaged > with a converted model > shard names"],
      [LOAD, "faults > of the address are named"],
      [LOAD, "faults > by a redirect to an unencrypted address are refused"],
    ],
  },
  {
    id: "X3",
    fault: "Swapped weights",
    then: "SHA-256 of every piece, and of the manifest by `integrity`",
    tests: [
      [ERRORS, `${CANNOT} > $what`],
      [FAULTS, SMALL],
      [MODELS, "a model that was loaded once > loads without a request when its manifest is pinned"],
      [ELEMENT, "takes the model that its integrity names, and no other"],
    ],
  },
  {
    id: "X4",
    fault: "Markup in prompts, metadata, names, errors",
    then: "Text becomes text nodes only; settings from links and pictures are checked one by one",
    tests: [
      [SAFETY, "shows prompts as they are: in the form, the stage, the gallery, its files and its titles"],
      [SAFETY, "takes links for settings only"],
      [SAFETY, "takes the texts of a picture for settings only"],
      [SAFETY, "a host that lies > shows a list of models and their words as text"],
      [SAFETY, "a host that lies > has its manifest quoted, not run, when it is refused"],
      [FUZZ, "ten thousand damaged > links"],
      [FUZZ, "ten thousand damaged > pictures with settings"],
    ],
  },
  {
    id: "X5",
    fault: "A strict content security policy",
    then: "No eval, no blob workers, no inline styles",
    tests: [
      [PACKAGE, "a Vite app > breaks no rule of a strict Content Security Policy"],
      [PACKAGE, "a static page > works under Trusted Types, with a worker of its own"],
      [SAFETY, "enforces its policy: no markup from strings, no eval, no worker and no request elsewhere"],
    ],
  },
  {
    id: "X6",
    fault: "The worker's script lies on another origin",
    then: "`createWorker`, and an error that names it",
    tests: [
      [PACKAGE, "a static page > takes the package from another origin, by an import map and a worker of its own"],
    ],
  },
  {
    id: "X7",
    fault: "A manifest that carries code or huge numbers",
    then: "Data only: closed lists of keys, every number bounded",
    tests: [
      [MANIFEST, "a converted model's manifest > with %s is a %s"],
      [MANIFEST, "a converted model's manifest > does not let __proto__ in as a tensor"],
      [FUZZ, "ten thousand damaged > with a converted model > manifests"],
    ],
  },
  {
    id: "X8",
    fault: "A hostile tokenizer or prompt",
    then: "No regular expressions from files; any text is tokenised or refused",
    tests: [
      ["text/tokenizer.test.ts", "loadTokenizer > refuses %s"],
      ["text/tokenizer.test.ts", "tokenize > cuts a 10,000-character prompt to the length asked for"],
      [FUZZ, "ten thousand damaged > tokenizers"],
      [FUZZ, "ten thousand damaged > prompts: any text at all has ids in range"],
      [FUZZ, "ten thousand damaged > requests, as attributes and pages make them"],
    ],
  },
  {
    id: "X9",
    fault: "The worker dies, hangs or never starts",
    then: "Every open promise is rejected with a WorkerCrashedError",
    tests: [
      [WORKER, "a worker > that gives no sign of life is given up, and all that is open with it"],
      [WORKER, "a worker > that works for hours, and answers, is left alone"],
      [WORKER, "a worker > that fails at work takes along what is open, and says why"],
      [TABS, "a worker at work > that fails or hangs is given up; a new one makes the picture"],
      [BROWSER, "calls a worker dead whose script is not there, soon"],
      [BROWSER, "settles what runs when the worker dies, and all that comes after"],
    ],
  },
  {
    id: "X10",
    fault: "Silently wrong tokens",
    then: "The ids of transformers on every script",
    tests: [["text/tokenizer.test.ts", "the %s tokenizer > gives the ids that transformers gives"]],
  },
  {
    id: "X11",
    fault: "An import on a server crashes",
    then: "Importing touches no document",
    tests: [[PACKAGE, "on a server > imports without a document, and registers nothing"]],
  },
  {
    id: "X12",
    fault: "The element is moved, removed, changed a hundred times",
    then: "One run at a time, the last attributes win, the engine is shared",
    tests: [
      [ELEMENT, "makes few pictures of a hundred changes one after the other, and the last wins"],
      [ELEMENT, "gives up when it is removed while it generates, and begins again where it is put back"],
    ],
  },
  {
    id: "X13",
    fault: "A result comes too late; addresses leak",
    then: "What a worker says of a job that ended goes unheard; a picture's address goes with the picture",
    tests: [
      [WORKER, "a worker > is not heard any more on a picture that ended; the next one is its own"],
      ["faults/addresses.test.ts", "the address of a picture > goes with it, and another comes back with it"],
    ],
  },
];

export const ROWS: readonly string[] = [
  ...Array.from({ length: 20 }, (_, i) => `G${i + 1}`),
  ...Array.from({ length: 15 }, (_, i) => `S${i + 1}`),
  ...Array.from({ length: 13 }, (_, i) => `X${i + 1}`),
];
