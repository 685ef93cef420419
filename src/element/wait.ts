import { ScanvasError } from "../index.ts";

/** `promise`, or an AbortError as soon as `signal` is aborted; what the promise does then is nobody's concern here. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new ScanvasError("AbortError", "scanvas: cancelled"));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Settles when `element` is in view or nearly so. */
export function inView(element: Element, signal: AbortSignal): Promise<void> {
  let observer: IntersectionObserver;
  const seen = new Promise<void>((resolve) => {
    observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && resolve(), {
      rootMargin: "200px",
    });
    observer.observe(element);
  });
  return unlessAborted(seen, signal).finally(() => observer.disconnect());
}
