/**
 * From callbacks to `for await`.
 */
import { localError } from "./errors.js";

export interface StreamOptions {
  /**
   * Events that may wait for the reader; one more ends the stream with an
   * error, because there is no way to slow down a server. Default 1000.
   */
  max?: number;
  signal?: AbortSignal;
}

/**
 * What `start` pushes, until it ends it, the reader breaks out or the signal
 * fires. `start` is called at once, so nothing is missed before the first
 * `next`; it returns how to stop.
 */
export function messages<T>(
  start: (push: (item: T) => void, end: (error?: unknown) => void) =>
    () => void,
  { max = 1000, signal }: StreamOptions,
): AsyncGenerator<T, void> {
  let items: T[] = [];
  let error: unknown;
  let hasEnded = false;
  let wake = () => {};
  let stop = () => {};

  const end = (why?: unknown) => {
    if (!hasEnded) {
      hasEnded = true;
      error = why;
      stop();
      signal?.removeEventListener("abort", aborted);
      wake();
    }
  };
  const aborted = () => end(signal!.reason);
  const off = start((item) => {
    if (hasEnded) {
      return;
    }
    if (items.length >= max) {
      end(localError("reader_too_slow", `More than ${max} events wait`));
      return;
    }
    items.push(item);
    wake();
  }, end);
  stop = off;
  if (hasEnded) {
    off();
  }
  signal?.addEventListener("abort", aborted);
  if (signal?.aborted) {
    aborted();
  }

  async function* read(): AsyncGenerator<T, void> {
    for (;;) {
      const batch = items;
      items = [];
      yield* batch;
      if (items.length === 0) {
        if (hasEnded) {
          break;
        }
        await new Promise<void>((resolve) => { wake = resolve; });
      }
    }
    if (error !== undefined) {
      throw error;
    }
  }

  const inner = read();
  return Object.assign(Object.create(inner) as AsyncGenerator<T, void>, {
    next: () => inner.next(),
    /* Also before the first `next`, where a generator's own `finally` has not
       been entered and would not run. */
    return: () => {
      end();
      return inner.return();
    },
    throw: (why: unknown) => {
      end();
      return inner.throw(why);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  });
}
