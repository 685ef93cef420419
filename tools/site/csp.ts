/**
 * What the page may do. The page carries it as a meta element, so that any static host will do; servers that can should send it as a
 * header too (`npm run preview` does), because a worker obeys only the header of its own script.
 */
const DIRECTIVES: Record<string, string> = {
  "default-src": "'none'",
  "script-src": "'self'",
  "style-src": "'self'",
  "img-src": "'self' blob:",
  "connect-src": "'self'",
  "worker-src": "'self'",
  "manifest-src": "'self'",
  "base-uri": "'none'",
  "form-action": "'none'",
  "require-trusted-types-for": "'script'",
  "trusted-types": "default",
};

export const CSP = Object.entries(DIRECTIVES)
  .map(([name, value]) => `${name} ${value}`)
  .join("; ");

/** As a header it can also say who may frame the page. */
export const HEADERS: Record<string, string> = {
  "Content-Security-Policy": `${CSP}; frame-ancestors 'self'`,
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};
