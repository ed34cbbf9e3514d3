/**
 * Requests that wait for their answers. Each has one outcome: an answer, an
 * error of the server, its timeout, its signal, the end of the connection that
 * it was sent on, or the end of the client.
 */
import type { Id } from "./codec.js";
import { localError, type PealError } from "./errors.js";

export interface Waiting {
  readonly id: number;
  readonly promise: Promise<unknown>;
  /**
   * Called when it is on its way, and can be lost with the connection. `mark`
   * comes back with the answer.
   */
  sent(mark: number): void;
  /** The outcome, if there was none yet. */
  fail(error: unknown): void;
}

interface Entry {
  /** Of what was sent before it; undefined: it waits in the outbox. */
  mark: number | undefined;
  settle(error: unknown, value?: unknown): void;
}

export class Requests {
  readonly #entries = new Map<Id, Entry>();
  #lastId = 0;

  get size(): number {
    return this.#entries.size;
  }

  /** `onEnd` is called first thing when there is an outcome. */
  open(
    what: string, timeoutMs: number, signal?: AbortSignal, onEnd?: () => void,
  ): Waiting {
    const id = ++this.#lastId;
    let settle!: Entry["settle"];
    const promise = new Promise<unknown>((resolve, reject) => {
      const aborted = () => settle(signal!.reason);
      /* From there on a timer would fire at once. */
      const timer = timeoutMs > 0 && timeoutMs < 2 ** 31
        ? setTimeout(() => settle(localError(
          "timeout", `No answer to ${what} within ${timeoutMs} ms`)), timeoutMs)
        : undefined;
      settle = (error, value) => {
        if (this.#entries.delete(id)) {
          clearTimeout(timer);
          signal?.removeEventListener("abort", aborted);
          onEnd?.();
          error === undefined ? resolve(value) : reject(error);
        }
      };
      signal?.addEventListener("abort", aborted);
    });
    const entry: Entry = { mark: undefined, settle };
    this.#entries.set(id, entry);
    if (signal?.aborted) {
      settle(signal.reason);
    }
    return {
      id, promise, sent: (mark) => { entry.mark = mark; }, fail: settle,
    };
  }

  /** An answer came: returns the mark, if anybody still waits for it. */
  resolve(id: Id | undefined, value: unknown): number | undefined {
    const entry = this.#entries.get(id!);
    entry?.settle(undefined, value);
    return entry?.mark;
  }

  reject(id: Id, error: PealError): number | undefined {
    const entry = this.#entries.get(id);
    entry?.settle(error);
    return entry?.mark;
  }

  /** The connection ended: what went out on it has no answer any more. */
  failSent(error: PealError): void {
    for (const entry of [...this.#entries.values()]) {
      if (entry.mark !== undefined) {
        entry.settle(error);
      }
    }
  }

  failAll(error: PealError): void {
    for (const entry of [...this.#entries.values()]) {
      entry.settle(error);
    }
  }
}
