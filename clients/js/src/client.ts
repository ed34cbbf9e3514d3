/**
 * The client as an application sees it: events, requests both ways, rooms.
 * connection.ts has its connection, sender.ts what goes out.
 */
import { Answers } from "./answers.js";
import { asData, checkName, pealCodec, type Envelope } from "./codec.js";
import { Connection, type Welcome } from "./connection.js";
import { localError, type PealError, serverError } from "./errors.js";
import {
  disposeKey, Handlers, reportUnhandled, type Subscription,
} from "./events.js";
import { sendFile } from "./file.js";
import { Listener } from "./listener.js";
import type { Room } from "./room.js";
import { Rooms } from "./rooms.js";
import { Sender } from "./sender.js";
import type { Dialers } from "./transport.js";
import type {
  AnyCalls, AnyEvents, Call, CallArgs, CallData, CallResult,
  ChangeableOptions, EmitOptions, FileOptions, Gap, Meta, Metrics,
  Name, Options, RequestOptions, State, WaitOptions, Watched,
} from "./types.js";
import type { Address } from "./url.js";

/**
 * A connection that comes back: events, requests both ways, rooms. Made by
 * `connect`; all methods may be called in any state, and every promise settles.
 */
export class Client<
  In extends object = AnyEvents, Calls extends object = AnyCalls,
  Out extends object = AnyEvents, Asks extends object = AnyCalls,
> extends Listener<In, Out> {
  #options: Options;
  readonly #connection: Connection;
  readonly #watchers = new Handlers((error) => reportUnhandled(error));
  readonly #sender: Sender;
  readonly #answers: Answers;
  readonly #rooms: Rooms;
  #received = 0;
  #missed = 0;
  #invalid = 0;
  #roundTripMs: number | undefined;
  #lastError: PealError | undefined;

  /** @internal Use `connect`. */
  constructor(address: Address, options: Options, dialers: Dialers) {
    super();
    this.#options = { codec: pealCodec, ...options };
    const self = this;
    const failed = (error: unknown, event: string) =>
      this.handlerFailed(error, event);
    this.#sender = new Sender({
      get options() { return self.#options; },
      get connection() { return self.#connection; },
      tell: (what, news) => this.#tell(what, news),
      ping: () => this.ping(),
    });
    this.#answers = new Answers({
      get codec() { return self.#options.codec!; },
      get messageBytesMax() { return self.#sender.messageBytesMax; },
      session: () =>
        this.#connection.canSpeak ? this.#connection.dialCount : null,
      write: (envelope) => this.#sender.write(envelope),
      failed,
    });
    this.#rooms = new Rooms({
      emit: (event, data, options) => this.#sender.emit(event, data, options),
      wait: (what, options) => this.#sender.wait(what, options),
      control: (event, data, options) =>
        this.#sender.control(event, data, options),
      session: () =>
        this.#connection.isOpen ? this.#connection.dialCount : null,
      watch: (what, fn) => this.watch(what, fn),
      isClosed: () => this.state.name === "closed",
      refused: (error) => this.#fail(error),
      failed,
    });
    this.#connection = new Connection(address, dialers, {
      get options() { return self.#options; },
      prepare: () => this.#prepare(),
      opened: (welcome) => this.#opened(welcome),
      lost: (why) => this.#lost(why),
      closed: (why) => this.#closed(why),
      state: (to, from) => this.#stateChanged(to, from),
      message: (envelope) => this.#receive(envelope),
      invalid: (error) => {
        this.#invalid++;
        this.#fail(localError("bad_message",
          "A message of the server cannot be read", error));
      },
      ping: () => this.ping().catch(() => {}),
    });
    if (options.autoConnect !== false) {
      this.connect();
    }
  }

  // --- The connection --------------------------------------------------------

  /** What it is doing now; `watch("state", fn)` tells of changes. */
  get state(): State {
    return this.#connection.state;
  }

  /** The id that the server gave this client: while it prepares or is open. */
  get id(): string | undefined {
    return this.#connection.id;
  }

  /** Dials, also after it was closed; at once, if it waits to dial again. */
  connect(): this {
    this.#connection.open();
    return this;
  }

  /** When it is open; throws when it will not be. */
  async ready(options: WaitOptions = {}): Promise<void> {
    const wait = this.#sender.wait("the connection", options);
    const look = () => {
      const { state } = this;
      if (state.name === "open") {
        wait.done();
      } else if (state.name === "closed") {
        wait.done(state.why);
      }
    };
    const watch = this.#watchers.add("state", look);
    look();
    try {
      await wait.promise;
    } finally {
      watch.off();
    }
  }

  /**
   * Ends it for good, until `connect`. Whatever waits is settled or reported
   * before this returns; the promise, when the server has heard it.
   */
  close(code = 1000, reason = "done"): Promise<void> {
    this.#connection.close(code, reason);
    return this.#connection.settled();
  }

  /** When nothing waits in the outbox or in the socket. */
  async flush(options: WaitOptions = {}): Promise<void> {
    if (this.state.name === "closed") {
      return;
    }
    const wait = this.#sender.wait("the outbox", options);
    const look = () => {
      if (this.state.name === "closed" ||
          (this.#sender.outbox.count === 0 &&
           this.#connection.bufferedBytes === 0)) {
        wait.done();
      }
    };
    const timer = setInterval(look, 10);
    look();
    try {
      await wait.promise;
    } finally {
      clearInterval(timer);
    }
  }

  /** Asks the server for a sign of life; returns the milliseconds it took. */
  async ping(options: WaitOptions = {}): Promise<number> {
    const start = performance.now();
    await this.#sender.control("peal:ping", undefined, options);
    this.#roundTripMs = performance.now() - start;
    return this.#roundTripMs;
  }

  /**
   * Changes options while it runs; what is left out stays. They apply from the
   * next use on: a new `token` at the next dial, a new `timeout` at the next
   * request.
   */
  updateOptions(change: Partial<ChangeableOptions>): this {
    const { hooks, outbox, ...rest } = change;
    this.#options = { ...this.#options, ...rest };
    if (hooks !== undefined) {
      this.#options.hooks = { ...this.#options.hooks, ...hooks };
    }
    if (outbox !== undefined) {
      const { outbox: box } = this.#sender;
      box.options = { ...box.options, ...outbox };
    }
    return this;
  }

  /** Counts since it was made, and what there is now. A copy. */
  get metrics(): Metrics {
    const { openedCount, openedAt, connectMs, bufferedBytes } =
      this.#connection;
    const { sent, sentBytes, dropped, outbox, requests } = this.#sender;
    return {
      sent, sentBytes, dropped,
      received: this.#received, missed: this.#missed, invalid: this.#invalid, opened: openedCount,
      queued: outbox.count, queuedBytes: outbox.bytes,
      pending: requests.size, bufferedBytes, connectMs, openedAt,
      roundTripMs: this.#roundTripMs, lastError: this.#lastError,
    };
  }

  /**
   * Watches the client itself. These names are apart from those of events:
   * no server can pretend that a connection ended.
   */
  watch<W extends keyof Watched>(
    what: W, fn: (news: Watched[W]) => void,
  ): Subscription {
    return this.#watchers.add(what, fn);
  }

  // --- Events ----------------------------------------------------------------

  /** The data of the next event of this name. */
  async next<E extends Name<In>>(
    event: E, options: WaitOptions = {},
  ): Promise<In[E]> {
    const wait = this.#sender.wait(event, options);
    const handler = this.handlers.add(event, (data) => wait.done(null, data));
    try {
      return await wait.promise as In[E];
    } finally {
      handler.off();
    }
  }

  /**
   * Sends a Blob or File as the bytes of one event. Settles with the server's
   * answer.
   */
  sendFile<E extends Name<Out>>(
    event: E, file: Blob, options: FileOptions = {},
  ): Promise<unknown> {
    return sendFile(file, options, {
      limit: () => this.#sender.messageBytesMax,
      bufferedBytes: () => this.#connection.bufferedBytes,
      send: (bytes, onSent) => this.#sender.ask(event, bytes, options, onSent),
    });
  }

  // --- Requests --------------------------------------------------------------

  /** Asks the server. Has one outcome, whatever happens to the connection. */
  request<C extends Name<Calls>>(
    name: C, ...args: CallArgs<Calls, C, RequestOptions>
  ): Promise<CallResult<Calls, C>> {
    const [data, options] = args as [unknown, RequestOptions?];
    return this.#sender.ask(name, data, options ?? {}) as
      Promise<CallResult<Calls, C>>;
  }

  /**
   * Answers the server's requests of this name with what `fn` returns; what it
   * throws is told the server if it is a PealError. One function for a name.
   */
  answer<A extends Name<Asks>>(
    name: A,
    fn: (data: CallData<Asks, A>, meta: Meta) =>
      ReturnType<Call<Asks, A>> | Promise<CallResult<Asks, A>>,
  ): Subscription {
    return this.#answers.add(name, fn);
  }

  // --- Rooms -----------------------------------------------------------------

  /**
   * The room of this name, joined unless `join` is false: then only what the
   * server sends by itself is heard. One object for a name.
   */
  room<RoomIn extends object = In, RoomOut extends object = Out>(
    name: string, { join = true }: { join?: boolean } = {},
  ): Room<RoomIn, RoomOut> {
    const room = this.#rooms.get(name);
    return join ? room.join() : room;
  }

  declare [Symbol.dispose]: () => void;
  declare [Symbol.asyncDispose]: () => Promise<void>;

  /** @internal */
  protected send(event: string, data: unknown, options: EmitOptions): unknown {
    return this.#sender.emit(event, data, options);
  }

  /** @internal */
  protected whenOver(end: () => void): () => void {
    const look = ({ name }: State) => name === "closed" && end();
    look(this.state);
    return this.watch("state", look).off;
  }

  // --- In --------------------------------------------------------------------

  #receive(envelope: Envelope): void {
    const { event, room, id, data } = envelope;
    if (event === "peal:ok") {
      this.#sender.answered(envelope, null);
    } else if (event === "peal:error") {
      const error = serverError(data);
      if (id === undefined) {
        this.#fail(error);
      } else {
        this.#sender.answered(envelope, error);
      }
    } else if (event === "peal:gap") {
      const { count, reason } = Object(data) as Partial<Gap>;
      const gap = { room, count: Number(count) || 0, reason: String(reason) };
      this.#missed += gap.count;
      this.#tell("gap", gap);
    } else if (!event.startsWith("peal:")) {
      this.#event({ event, room, id, isBinary: data instanceof Uint8Array },
        data);
    }
  }

  #event(meta: Meta, data: unknown): void {
    const { event, room, isBinary } = meta;
    this.#received++;
    if (this.#hook(() => this.#options.hooks?.onMessage?.(
      { event, room, data, isBinary })) === false) {
      return;
    }
    const fn = meta.id === undefined ? undefined
      : this.#answers.get(meta.event);
    if (fn !== undefined) {
      void this.#answers.reply(event, meta.id!, () => fn(data, meta));
      return;
    }
    const isKnown = this.handlers.has(meta.event);
    if (meta.room !== undefined) {
      this.#rooms.receive(meta.room, data, meta);
    }
    this.handlers.call(meta.event, data, meta);
    if (meta.id !== undefined) {
      void this.#answers.reply(event, meta.id, () => {
        if (!isKnown) {
          throw localError("unknown_event", "Nobody here handles this event");
        }
      });
    }
  }

  // --- What the connection tells ---------------------------------------------

  #prepare(): Promise<unknown> | null {
    const { prepare } = this.#options;
    return prepare === undefined ? null : (async () => prepare({
      request: async (name, data, options = {}) => {
        checkName("An event", name);
        return this.#sender.control(name, asData(data), options);
      },
    }))();
  }

  #opened(welcome: Welcome): void {
    this.#sender.messageBytesMax = welcome.limits.message_bytes ?? Infinity;
    this.#rooms.opened();
  }

  #lost(why: PealError): void {
    this.#rooms.lost();
    this.#sender.lost(why);
  }

  #closed(why: PealError): void {
    this.#rooms.closed(why);
    this.#sender.closed(why);
  }

  #stateChanged(to: State, from: State): void {
    if (to.name === "waiting" || (to.name === "closed" && !to.final)) {
      this.#lastError = to.why;
    }
    this.#hook(() => this.#options.hooks?.onState?.(to, from));
    this.#tell("state", to);
    if (to.name === "open" && this.state === to) {
      /* After the handlers: what they send queues up behind what waits. */
      this.#sender.outbox.open();
    }
  }

  #tell<W extends keyof Watched>(what: W, news: Watched[W]): void {
    this.#watchers.call(what, news, undefined);
  }

  #fail(error: PealError): void {
    this.#lastError = error;
    this.#tell("error", error);
  }

  /** What a hook returns; one that throws is told as a handler is. */
  #hook<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.handlerFailed(error, "a hook");
      return undefined;
    }
  }

  /** @internal */
  protected handlerFailed(error: unknown, event: string): void {
    this.#fail(localError("handler_failed", `A handler of ${event} threw`,
      error));
    if (!this.#watchers.has("error")) {
      reportUnhandled(error);
    }
  }
}

Object.defineProperty(Client.prototype, disposeKey, {
  configurable: true,
  value(this: Client) {
    void this.close();
  },
});
Object.defineProperty(Client.prototype,
  Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose"), {
    configurable: true,
    value(this: Client) {
      return this.close();
    },
  });
