/**
 * All that a client sends, until it is on its way, refused, or lost: each
 * message is told of once.
 */
import {
  asData, checkName, packetSize, type Envelope,
} from "./codec.js";
import type { Connection } from "./connection.js";
import { localError, type PealError } from "./errors.js";
import { defaultOutbox, Outbox, type OutboxItem } from "./outbox.js";
import { Requests, type Waiting } from "./requests.js";
import type {
  EmitOptions, Options, RequestOptions, WaitOptions, Watched,
} from "./types.js";
import { Unconfirmed } from "./unconfirmed.js";

export interface SenderOwner {
  readonly options: Options;
  readonly connection: Connection;
  tell<W extends keyof Watched>(what: W, news: Watched[W]): void;
  ping(): Promise<unknown>;
}

interface Item extends OutboxItem {
  /** The request that it is, if it wants an answer. */
  waiting: Waiting | undefined;
}

/** Something to wait for, with the bounds that an application set. */
export interface Wait {
  readonly promise: Promise<unknown>;
  done(error?: unknown, value?: unknown): void;
}

const TIMEOUT_MS = 10_000;

export class Sender {
  readonly #owner: SenderOwner;
  readonly requests = new Requests();
  readonly outbox: Outbox<Item>;
  readonly #unconfirmed: Unconfirmed<Item>;
  messageBytesMax = Infinity;
  sent = 0;
  sentBytes = 0;
  dropped = 0;

  constructor(owner: SenderOwner) {
    this.#owner = owner;
    this.outbox = new Outbox<Item>(
      { ...defaultOutbox, ...owner.options.outbox }, {
        canSend: () => this.#hasRoom,
        send: (item) => this.#transmit(item),
        dropped: (item, error) => this.#drop(item, error),
        drained: (count) => owner.tell("drained", { count }),
      });
    this.#unconfirmed = new Unconfirmed<Item>({
      ask: () => owner.ping(),
      lost: (item) => this.#drop(item, localError(
        "connection_lost", "The connection ended; it may have arrived")),
    });
  }

  // --- For the application ---------------------------------------------------

  emit(event: string, data: unknown, options: EmitOptions): unknown {
    if (options.ack) {
      return this.ask(event, data, options);
    }
    const item = this.#pack(event, data, options, undefined);
    return item !== null && this.#deliver(item, options.queue) === null;
  }

  /** Never throws: what is wrong with a request rejects it. */
  async ask(
    event: string, data: unknown, options: RequestOptions,
    onSent?: (bytes: number) => void,
  ): Promise<unknown> {
    let item: Item | null = null;
    const waiting = this.#open(event, options,
      () => item !== null && this.outbox.cancel(item));
    if (options.signal?.aborted) {
      return waiting.promise;
    }
    const { sent } = waiting;
    waiting.sent = (mark) => {
      sent(mark);
      onSent?.(item!.bytes);
    };
    try {
      item = this.#pack(event, data, options, waiting);
      const error = item === null
        ? localError("cancelled", "A hook stopped it")
        : this.#deliver(item, options.queue);
      if (error !== null) {
        waiting.fail(error);
      }
    } catch (error) {
      waiting.fail(error);
    }
    return waiting.promise;
  }

  /** Ahead of the outbox, and never in it. */
  control(
    event: string, data: unknown, options: WaitOptions,
  ): Promise<unknown> {
    const waiting = this.#open(event, options);
    if (!this.#owner.connection.canSpeak) {
      waiting.fail(localError("not_open", "There is no connection"));
    } else if (!options.signal?.aborted) {
      const { ping } = this.#owner.connection;
      const { id } = waiting;
      waiting.sent(this.#unconfirmed.mark);
      if (event === "peal:ping" && ping !== undefined) {
        ping(() => this.answered({ event, id }, null));
      } else {
        this.write({ event, data, id });
      }
    }
    return waiting.promise;
  }

  write(envelope: Envelope): void {
    if (this.#owner.connection.canSpeak) {
      this.#owner.connection.send(
        this.#owner.options.codec!.encode(envelope));
    }
  }

  /** What is closed already will not bring it. */
  wait(what: string, options: WaitOptions): Wait {
    const waiting = this.#open(what, options);
    const { state } = this.#owner.connection;
    if (state.name === "closed") {
      waiting.fail(state.why);
    }
    return {
      promise: waiting.promise,
      done: (error, value) => error
        ? waiting.fail(error) : void this.requests.resolve(waiting.id, value),
    };
  }

  // --- What the connection tells ---------------------------------------------

  answered({ id, data }: Envelope, error: PealError | null): void {
    this.#unconfirmed.confirm(error === null
      ? this.requests.resolve(id, data) : this.requests.reject(id!, error));
  }

  lost(why: PealError): void {
    this.outbox.close();
    this.#unconfirmed.lose();
    this.requests.failSent(
      localError("connection_lost", "The connection ended first", why));
  }

  closed(why: PealError): void {
    this.outbox.close();
    if (why.name === "closed") {
      /* Our goodbye comes after all of them. */
      this.#unconfirmed.clear();
    } else {
      this.#unconfirmed.lose();
    }
    this.outbox.clear(why);
    this.requests.failAll(why);
  }

  // --- The way of a message --------------------------------------------------

  #open(what: string, options: WaitOptions, onEnd?: () => void): Waiting {
    return this.requests.open(
      what, options.timeout ?? this.#owner.options.timeout ?? TIMEOUT_MS,
      options.signal, onEnd);
  }

  #pack(
    event: string, data: unknown, { room }: EmitOptions,
    waiting: Waiting | undefined,
  ): Item | null {
    const { hooks, codec } = this.#owner.options;
    checkName("An event", event);
    if (room !== undefined) {
      checkName("A room", room);
    }
    if (hooks?.beforeEmit?.({ event, room, data }) === false) {
      return null;
    }
    const packet = codec!.encode(
      { event, room, id: waiting?.id, data: asData(data) });
    const bytes = packetSize(packet);
    if (bytes > this.messageBytesMax) {
      throw this.#tooLarge(bytes);
    }
    return { event, room, data, packet, bytes, waiting };
  }

  get #hasRoom(): boolean {
    return this.#owner.connection.bufferedBytes <
      this.outbox.options.highWaterBytes;
  }

  #tooLarge(bytes: number): PealError {
    return localError("too_large",
      `${bytes} bytes; the server takes ${this.messageBytesMax}`);
  }

  /** Sends it or lets it wait, or says why neither. */
  #deliver(item: Item, queue = true): PealError | null {
    const { isOpen, state } = this.#owner.connection;
    if (isOpen && this.outbox.count === 0 && this.#hasRoom) {
      this.#transmit(item);
      return null;
    }
    const error = state.name === "closed" ? state.why
      : !queue && !isOpen ? localError("not_open", "There is no connection")
      : this.outbox.add(item);
    if (error === null) {
      this.#owner.tell(
        "queued", { event: item.event, count: this.outbox.count });
    } else if (item.waiting === undefined) {
      this.#drop(item, error);
    }
    return error;
  }

  #transmit(item: Item): void {
    const { waiting, bytes } = item;
    /* The limit is known since it was packed, or is another server's. */
    if (bytes > this.messageBytesMax) {
      this.#drop(item, this.#tooLarge(bytes));
      return;
    }
    waiting?.sent(this.#unconfirmed.mark);
    if (this.#owner.connection.send(item.packet)) {
      this.sent++;
      this.sentBytes += bytes;
      /* Where there is no welcome, there is no answer to words, either. */
      if (waiting === undefined && this.outbox.options.confirm &&
          (this.#owner.options.codec!.welcome === undefined ||
           this.#owner.connection.ping !== undefined)) {
        this.#unconfirmed.add(item);
      }
    } else if (waiting === undefined) {
      this.#drop(item, localError("connection_lost", "The connection broke"));
    }
  }

  #drop({ event, room, data, waiting }: Item, error: PealError): void {
    this.dropped++;
    if (waiting === undefined) {
      this.#owner.tell("drop", { event, room, data, error });
    } else {
      waiting.fail(error);
    }
  }
}
