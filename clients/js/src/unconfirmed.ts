/**
 * Events that went out and wanted no answer. They are kept until the server is
 * known to have read them, because it has answered something that was sent
 * later: it reads a connection in order. What is left when the connection ends
 * may be lost, and its sender is told.
 */
export interface UnconfirmedOwner<Item> {
  /** Asks the server for an answer; settles with it or with the connection. */
  ask(): Promise<unknown>;
  lost(item: Item): void;
}

/* Asked after so many, or after so long, whatever comes first. */
const ASK_COUNT = 100;
const ASK_MS = 1000;
/* A server that answers nothing must not cost memory without bounds. */
const COUNT_MAX = 10_000;

export class Unconfirmed<Item> {
  readonly #owner: UnconfirmedOwner<Item>;
  #items: Item[] = [];
  /** How many there were before the first of these. */
  #base = 0;
  #isAsking = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(owner: UnconfirmedOwner<Item>) {
    this.#owner = owner;
  }

  /** What `confirm` is given when an answer to a message sent now comes. */
  get mark(): number {
    return this.#base + this.#items.length;
  }

  add(item: Item): void {
    if (this.#items.length === COUNT_MAX) {
      this.confirm(this.#base + COUNT_MAX / 2);
    }
    this.#items.push(item);
    this.#schedule();
  }

  /** Everything up to this mark has arrived. */
  confirm(mark: number | undefined): void {
    if (mark !== undefined && mark > this.#base) {
      this.#items.splice(0, mark - this.#base);
      this.#base = mark;
    }
  }

  /** The connection ended. */
  lose(): void {
    for (const item of this.clear()) {
      this.#owner.lost(item);
    }
  }

  /** Forgets all. */
  clear(): Item[] {
    const items = this.#items;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#base += items.length;
    this.#items = [];
    return items;
  }

  #schedule(): void {
    if (this.#isAsking || this.#items.length === 0) {
      return;
    }
    if (this.#items.length >= ASK_COUNT) {
      void this.#ask();
    } else {
      this.#timer ??= setTimeout(() => void this.#ask(), ASK_MS);
    }
  }

  async #ask(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isAsking = true;
    try {
      await this.#owner.ask();
    } catch {
      /* The connection ended, and has told what is lost. */
    }
    this.#isAsking = false;
    this.#schedule();
  }
}
