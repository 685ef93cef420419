/**
 * Keeps the shell of the page (HTML, scripts, styles, icons) for visits without a network. Weights never pass here: the engine keeps
 * them itself, verified. The two names are filled in by the build.
 */
const CACHE = "scanvas-shell-190cfb6d3d1b";
const SHELL = ["./","models/models.json","assets/index-BCmL7xHL.js","assets/index-D5hNLX9b.css","assets/self_check-BMw5Z4EC.js","assets/worker-B2mynx7k.js","assets/zip-DDxDi2is.js","icon-192.png","icon-512.png","icon-maskable-512.png","icon.svg","manifest.webmanifest"];
const MODELS = new URL("models/models.json", self.registration.scope).href;

self.addEventListener("install", (event) => {
  // Past the HTTP cache: the files of one version belong together.
  const requests = SHELL.map((file) => new Request(new URL(file, self.registration.scope), { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

self.addEventListener("activate", (event) => {
  const removeOld = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("scanvas-shell-") && name !== CACHE) await caches.delete(name);
    }
  };
  event.waitUntil(removeOld());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  url.hash = url.search = "";
  if (request.method !== "GET" || !url.href.startsWith(self.registration.scope)) return;
  if (url.href === MODELS) event.respondWith(fresh(request));
  else if (request.mode === "navigate") event.respondWith(kept(self.registration.scope, request));
  else if (SHELL.some((file) => new URL(file, self.registration.scope).href === url.href)) {
    event.respondWith(kept(url.href, request));
  }
});

/** What the shell holds, else the network. */
async function kept(url, request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(url, { ignoreVary: true })) ?? fetch(request);
}

/** The network's, else the last one seen. */
async function fresh(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(MODELS, response.clone());
    return response;
  } catch (error) {
    const last = await cache.match(MODELS);
    if (last) return last;
    throw error;
  }
}
