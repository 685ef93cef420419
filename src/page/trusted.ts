/**
 * The page's policy lets no string become code, but a worker's and a service worker's address are strings to the browser. This default
 * policy lets scripts of this site's own folder through and nothing else; markup and code have no way at all.
 */
interface PolicyFactory {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): unknown;
}

export function allowOwnScripts(): void {
  const { trustedTypes } = globalThis as { trustedTypes?: PolicyFactory };
  trustedTypes?.createPolicy("default", {
    createScriptURL(url) {
      if (new URL(url, document.baseURI).origin === location.origin) return url;
      throw new TypeError(`scanvas: a script of another origin was refused: ${url}`);
    },
  });
}
