/**
 * What waits while it cannot be sent: bounded, in order, and let out at a pace
 * that does not drown a server to which a crowd has just returned.
 */
import { localError, type PealError } from "./errors.js";
import type { Packet } from "./codec.js";

export interface OutboxOptions {
  /** Messages that may wait. Default 1000. */
  max: number;
  /** Their bytes together. Default 4 MiB. */
  maxBytes: number;
  /**
   * Who goes when it is full: the one that has waited longest, or the one that
   * comes. Either is reported. Default "reject".
   */
  overflow: "drop-oldest" | "reject";
  /** Messages a second when it is let out, once open again. Default 1000. */
  rate: number;
  /**
   * With so many bytes on their way to the network, messages wait here.
   * Default 1 MiB.
   */
  highWaterBytes: number;
  /**
   * Ask the server now and then, while events without `ack` are sent, whether
   * they have arrived; those that a broken connection may have lost are then
   * told as drops with the error `connection_lost`. Default true.
   */
  confirm: boolean;
}

export const defaultOutbox: OutboxOptions = {
  max: 1000,
  maxBytes: 4 * 1024 * 1024,
  overflow: "reject",
  rate: 1000,
  highWaterBytes: 1024 * 1024,
  confirm: true,
};

export interface OutboxItem {
  readonly event: string;
  readonly room?: string | undefined;
  readonly data: unknown;
  readonly packet: Packet;
  readonly bytes: number;
  /** Set by the outbox. */
  waits?: boolean;
}

export interface OutboxOwner<Item> {
  /** Whether the next one may go now. */
  canSend(): boolean;
  send(item: Item): void;
  dropped(item: Item, error: PealError): void;
  /** The last of `count` has gone. */
  drained(count: number): void;
}

const TICK_MS = 20;

export class Outbox<Item extends OutboxItem> {
  options: OutboxOptions;
  readonly #owner: OutboxOwner<Item>;
  #items: Item[] = [];
  #first = 0;
  #count = 0;
  #bytes = 0;
  #isOpen = false;
  /** Until what had waited for the connection is out. */
  #isPaced = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #credit = 0;
  #creditAt = 0;
  #sent = 0;

  constructor(options: OutboxOptions, owner: OutboxOwner<Item>) {
    this.options = options;
    this.#owner = owner;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes it, or returns why not. */
  add(item: Item): PealError | null {
    const { max, maxBytes, overflow } = this.options;
    const fits = () =>
      this.#count < max && this.#bytes + item.bytes <= maxBytes;
    if (!fits()) {
      if (overflow === "reject" || max < 1 || item.bytes > maxBytes) {
        return localError(
          "outbox_full", `Already ${this.#count} messages wait`);
      }
      while (!fits()) {
        this.#owner.dropped(this.#shift()!, localError(
          "dropped", "Newer messages took the place of this one"));
      }
    }
    item.waits = true;
    this.#items.push(item);
    this.#count++;
    this.#bytes += item.bytes;
    this.#schedule();
    return null;
  }

  /** Takes it out again, if it still waits. */
  cancel(item: Item): void {
    if (item.waits) {
      item.waits = false;
      this.#count--;
      this.#bytes -= item.bytes;
      /* Those that were given up must not pile up while nothing goes out. */
      if (this.#items.length > 2 * this.#count + 64) {
        this.#items = this.#items.filter(({ waits }) => waits);
        this.#first = 0;
      }
    }
  }

  /** Begins to let them out. */
  open(): void {
    this.#isOpen = true;
    this.#isPaced = true;
    this.#sent = 0;
    this.#credit = 0;
    this.#creditAt = Date.now() - TICK_MS;
    this.#pump();
  }

  /** Stops: the rest waits for the next `open`. */
  close(): void {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Drops all, each with this error. */
  clear(error: PealError): void {
    for (let item = this.#shift(); item !== undefined; item = this.#shift()) {
      this.#owner.dropped(item, error);
    }
  }

  #shift(): Item | undefined {
    while (this.#first < this.#items.length) {
      const item = this.#items[this.#first++]!;
      if (item.waits) {
        this.cancel(item);
        return item;
      }
    }
    this.#items = [];
    this.#first = 0;
    return undefined;
  }

  #schedule(): void {
    if (this.#isOpen && this.#timer === undefined) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#pump();
      }, TICK_MS);
    }
  }

  #pump(): void {
    const rate = this.#isPaced ? this.options.rate : Infinity;
    const now = Date.now();
    /* A background page's timers come once a second: credit is by the clock. */
    const burst = Math.max(1, rate);
    const earned = Math.max(1, now - this.#creditAt) * rate / 1000;
    this.#credit = Math.min(burst, this.#credit + earned);
    this.#creditAt = now;
    while (this.#isOpen && this.#count > 0 && this.#credit >= 1 &&
           this.#owner.canSend()) {
      this.#credit--;
      this.#sent++;
      this.#owner.send(this.#shift()!);
    }
    if (this.#count > 0) {
      this.#schedule();
    } else {
      const count = this.#sent;
      this.#isPaced = false;
      this.#sent = 0;
      if (count > 0) {
        this.#owner.drained(count);
      }
    }
  }
}
