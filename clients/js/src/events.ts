/**
 * Handlers by the name of an event, and their order: those of the name first,
 * then those for all. Whoever is added during a call is called from the next
 * event on; whoever is removed, not any more.
 */

/**
 * `using` needs the well-known symbol; where the engine has none yet, this key
 * stands in for it and `off()` does the same.
 */
export const disposeKey: typeof Symbol.dispose =
  Symbol.dispose ?? Symbol.for("Symbol.dispose");

/** What `on` returns: ends when `off` is called or at the end of `using`. */
export interface Subscription {
  off(): void;
  [Symbol.dispose](): void;
}

export function subscription(off: () => void): Subscription {
  return { off, [disposeKey]: off } as Subscription;
}

export type Handler = (data: any, meta: any) => void;

interface Entry {
  readonly fn: Handler;
  readonly once: boolean;
  active: boolean;
}

export class Handlers {
  readonly #named = new Map<string, readonly Entry[]>();
  #all: readonly Entry[] = [];
  readonly #onError: (error: unknown, event: string) => void;

  constructor(onError: (error: unknown, event: string) => void) {
    this.#onError = onError;
  }

  /** `event` null: for all events. */
  add(event: string | null, fn: Handler, once = false): Subscription {
    if (typeof fn !== "function") {
      throw new TypeError("A handler is a function");
    }
    const entry = { fn, once, active: true };
    this.#set(event, [...this.#get(event), entry]);
    return subscription(() => this.#remove(event, entry));
  }

  /** Removes one function, or all of a name. */
  remove(event: string | null, fn?: Handler): void {
    for (const entry of this.#get(event)) {
      if (fn === undefined || entry.fn === fn) {
        this.#remove(event, entry);
      }
    }
  }

  clear(): void {
    this.#named.clear();
    this.#all = [];
  }

  has(event: string): boolean {
    return this.#named.has(event);
  }

  /** Calls them. One that throws does not keep the others from the event. */
  call(event: string, data: unknown, meta: unknown): void {
    this.#run(event, this.#get(event), event, data, meta);
    this.#run(null, this.#all, event, data, meta);
  }

  #run(
    key: string | null, entries: readonly Entry[],
    event: string, data: unknown, meta: unknown,
  ): void {
    for (const entry of entries) {
      if (!entry.active) {
        continue;
      }
      if (entry.once) {
        this.#remove(key, entry);
      }
      try {
        const result: unknown = entry.fn(data, meta);
        if (result instanceof Promise) {
          result.catch((error) => this.#onError(error, event));
        }
      } catch (error) {
        this.#onError(error, event);
      }
    }
  }

  #get(event: string | null): readonly Entry[] {
    return event === null ? this.#all : this.#named.get(event) ?? [];
  }

  /* A list is never changed in place: a call may be walking along it. */
  #set(event: string | null, entries: readonly Entry[]): void {
    if (event === null) {
      this.#all = entries;
    } else if (entries.length === 0) {
      this.#named.delete(event);
    } else {
      this.#named.set(event, entries);
    }
  }

  #remove(event: string | null, entry: Entry): void {
    if (entry.active) {
      entry.active = false;
      this.#set(event, this.#get(event).filter((other) => other !== entry));
    }
  }
}

/** As the platform treats an error that nobody catches, without the throw. */
export function reportUnhandled(error: unknown): void {
  const { reportError } = globalThis as { reportError?: (e: unknown) => void };
  (reportError ?? console.error)(error);
}
