/**
 * The names of the stelar-time-real client on top of this one, so that an
 * application moves over by changing one import. Where that client loses
 * messages or leaves promises open, this one does not; README.md has the list.
 */
import { Client } from "./client.js";
import { pealCodec, type Codec } from "./codec.js";
import { Handlers, reportUnhandled } from "./events.js";
import { makeStelarCodec } from "./stelar-codec.js";
import type { Dialers } from "./transport.js";
import type { Options, State } from "./types.js";

export type ConnectionState =
  "disconnected" | "connecting" | "connected" | "reconnecting";

export interface StelarClientHooks {
  /** False stops the event. */
  onBeforeEmit?(info: { event: string; data: unknown }): boolean | void;
  onMessage?(info: { event: string; data: unknown; isBinary: boolean }): void;
  onStateChange?(info: { from: ConnectionState; to: ConnectionState }): void;
  /** A number takes the place of the delay. */
  onReconnectDelay?(info: { attempt: number; defaultDelay: number }):
    number | void;
  onMessageQueued?(info: {
    event: string; data: unknown; queueSize: number;
  }): void;
  onQueueDrained?(info: { count: number }): void;
  /** `message`: what was dropped, if that is the error. New here. */
  onError?(info: {
    error: Error; context: string;
    message?: { event: string; data: unknown };
  }): void;
}

export interface StelarClientOptions {
  /** Default true. */
  reconnection?: boolean;
  /** Default 10. */
  reconnectionAttempts?: number;
  /** Milliseconds; default 1000. */
  reconnectionDelay?: number;
  /** Default 30,000. */
  maxReconnectionDelay?: number;
  /** Default 30,000. */
  heartbeatInterval?: number;
  /** Default 5000. */
  ackTimeout?: number;
  /** Default "ws". */
  mode?: "ws" | "tcp";
  /** Largest message in and out; default 10 MiB. */
  maxPayloadSize?: number;
  /** Taken and not used: `maxPayloadSize` counts in both modes. */
  maxFrameSize?: number;
  /** Default 100. */
  messageQueueSize?: number;
  /** Taken and not used: errors go to `onError` and `on("error")`. */
  logger?: unknown;
  /** `wss:` or `tls:` where the URL does not say it. Default false. */
  tls?: boolean;
  /** False: trust whoever answers. Node only. Default true. */
  rejectUnauthorized?: boolean;
  /** Headers of the request. Node only. */
  headers?: Record<string, string>;
  /** Taken and not used: messages go uncompressed. */
  compression?: boolean;
  /** Milliseconds before the next attempt, in place of the backoff. */
  customReconnectDelay?: (
    attempt: number, baseDelay: number, maxDelay: number) => number;
  /** Functions that are told of, or stop, what passes. */
  hooks?: StelarClientHooks;
  /** What the server speaks. Default "stelar". New here. */
  dialect?: "stelar" | "peal";
  /**
   * Take the wrong Sec-WebSocket-Accept of an original server. Node only;
   * browsers always refuse it. Default false. New here.
   */
  acceptAnyKey?: boolean;
  /** Used instead of the platform's. New here. */
  WebSocket?: Options["WebSocket"];
}

export type StelarEventHandler = (data: any) => void;

/** What `onAll` gets. `buffer` is there when the data is bytes. */
export interface StelarMessage {
  event: string;
  data: unknown;
  isBinary?: boolean;
  buffer?: ArrayBuffer;
}

type Wanted = Required<Pick<StelarClientOptions,
  "reconnection" | "reconnectionAttempts" | "reconnectionDelay" |
  "maxReconnectionDelay" | "heartbeatInterval" | "ackTimeout" | "mode" |
  "maxPayloadSize" | "messageQueueSize">> & StelarClientOptions;

const DEFAULTS = {
  reconnection: true, reconnectionAttempts: 10, reconnectionDelay: 1000,
  maxReconnectionDelay: 30_000, heartbeatInterval: 30_000, ackTimeout: 5000,
  mode: "ws" as const, maxPayloadSize: 10_485_760, messageQueueSize: 100,
};

/* News of this client's own, which no server can make up. */
const OWN = new Set(
  ["connect", "disconnect", "error", "reconnecting", "reconnect_failed"]);

/** As the original reads it: a port, `host:port`, or a URL. */
export function stelarUrl(
  url: string | number | undefined, { mode, tls }: StelarClientOptions,
): string {
  const text = url === undefined ? "ws://localhost:3000"
    : /^\d+$/.test(String(url)) ? `ws://localhost:${url}`
    : /^[a-z]+:/i.test(String(url)) && !/^[^/]+:\d+/.test(String(url))
      ? String(url).replace(/^http/, "ws") : `ws://${url}`;
  if (mode !== "tcp" || /^(tcp|tls|unix):/.test(text)) {
    return tls ? text.replace(/^ws:/, "wss:") : text;
  }
  /* A client in TCP mode dials the port after that of WebSocket. */
  const { hostname, port, protocol } = new URL(text);
  const scheme = tls || protocol === "wss:" ? "tls" : "tcp";
  return `${scheme}://${hostname}:${port === "" ? 3001 : Number(port) + 1}`;
}

/** Lets only options through that say something: 0 means the default there. */
function withDefaults(options: StelarClientOptions): Wanted {
  const said = Object.entries(options).filter(
    ([, value]) => value !== undefined && value !== 0);
  return { ...DEFAULTS, ...Object.fromEntries(said) };
}

const toBuffer = (data: unknown): unknown => data instanceof Uint8Array
  ? data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)
  : data;

/** What differs between browsers and Node. */
export interface StelarPlatform {
  readonly dialers: Dialers;
  /** Mode "tcp" in the dialect "stelar", where there is any. */
  makeTcp?(messageBytesMax: () => number): { codec: Codec; dialers: Dialers };
}

/** How to speak to a server, and what a ping is to it. */
function speak(
  { dialers, makeTcp }: StelarPlatform,
  { dialect, mode, heartbeatInterval, ackTimeout, WebSocket }: Wanted,
  messageBytesMax: () => number,
) {
  const heartbeat = { interval: heartbeatInterval, timeout: ackTimeout };
  if (dialect === "peal") {
    return { codec: pealCodec, dialers };
  }
  if (mode === "ws") {
    /* Browsers cannot ping, and its servers answer no words. */
    const canPing = makeTcp !== undefined && WebSocket === undefined;
    return { codec: makeStelarCodec(messageBytesMax), dialers,
      heartbeat: canPing && heartbeat };
  }
  if (makeTcp === undefined) {
    throw new TypeError('The mode "tcp" is for Node');
  }
  return { ...makeTcp(messageBytesMax), heartbeat };
}

/**
 * What has the names of the original client, method by method: an application
 * moves over by changing its import. Its getters return counts since it was
 * made; times are milliseconds since 1970.
 */
export class StelarClientBase {
  #url: string | number | undefined;
  #wanted: Wanted;
  readonly #client: Client;
  readonly #handlers = new Handlers((error, event) => event === "error"
    ? reportUnhandled(error) : this.#error(error, "handler"));
  readonly #acks = new Map<string, StelarEventHandler>();
  #all: ((message: StelarMessage) => void) | undefined;
  #state: ConnectionState = "disconnected";
  #pongs: ReturnType<typeof setInterval> | undefined;

  constructor(
    platform: StelarPlatform, url?: string | number,
    options: StelarClientOptions = {},
  ) {
    this.#url = url;
    this.#wanted = withDefaults(options);
    const { mode } = this.#wanted;
    const { dialers, ...words } = speak(
      platform, this.#wanted, () => this.#wanted.maxPayloadSize);
    this.#client = new Client(() => stelarUrl(this.#url, this.#wanted), {
      autoConnect: false,
      ...words,
      WebSocket: options.WebSocket,
      acceptAnyKey: options.acceptAnyKey ?? false,
      tls: { rejectUnauthorized: options.rejectUnauthorized ?? true },
      ...this.#changing(),
    }, dialers);
    this.#client.any((data, meta) => this.#receive(meta.event, data));
    this.#client.watch("state", (state) => this.#move(state));
    this.#client.watch("error", (error) => this.#error(error, mode));
    this.#client.watch("drop", ({ error, event, data }) =>
      this.#error(error, "emit", { event, data }));
    this.#client.watch("queued", ({ event, count }) => this.#hooks
      .onMessageQueued?.({ event, data: this.#lastData, queueSize: count }));
    this.#client.watch("drained", (news) =>
      this.#hooks.onQueueDrained?.(news));
  }

  // --- State and counters ----------------------------------------------------

  getState(): ConnectionState { return this.#state; }
  isConnected(): boolean { return this.#state === "connected"; }
  /** The server's id of this client; null in the stelar dialect over ws. */
  getId(): string | null { return this.#client.id || null; }
  getUrl(): string { return stelarUrl(this.#url, this.#wanted); }
  getMessagesSent(): number { return this.#client.metrics.sent; }
  getMessagesReceived(): number { return this.#client.metrics.received; }
  getQueueSize(): number { return this.#client.metrics.queued; }
  getLastError(): Error | null {
    return this.#client.metrics.lastError ?? null;
  }
  /** When it was connected last, in milliseconds since 1970; 0: never. */
  getConnectTime(): number { return this.#client.metrics.openedAt ?? 0; }

  /** For the next dial. */
  setUrl(url: string): this {
    this.#url = url;
    return this;
  }

  updateOptions(options: Partial<StelarClientOptions>): this {
    const hooks = { ...this.#wanted.hooks, ...options.hooks };
    this.#wanted = withDefaults({ ...this.#wanted, ...options, hooks });
    this.#client.updateOptions(this.#changing());
    return this;
  }

  getOptions() {
    const {
      reconnection, reconnectionAttempts, reconnectionDelay,
      maxReconnectionDelay, heartbeatInterval, ackTimeout, mode,
      maxPayloadSize, messageQueueSize, customReconnectDelay, hooks,
    } = this.#wanted;
    return Object.freeze({
      reconnection, reconnectionAttempts, reconnectionDelay,
      maxReconnectionDelay, heartbeatInterval, ackTimeout, mode,
      maxPayloadSize, messageQueueSize,
      hasCustomReconnectDelay: customReconnectDelay !== undefined,
      hooks: Object.keys(hooks ?? {}),
    });
  }

  // --- Handlers --------------------------------------------------------------

  on(event: string, handler: StelarEventHandler): this {
    this.#handlers.add(event, handler);
    return this;
  }

  once(event: string, handler: StelarEventHandler): this {
    this.#handlers.add(event, handler, true);
    return this;
  }

  off(event: string, handler?: StelarEventHandler): this {
    this.#handlers.remove(event, handler);
    return this;
  }

  onAll(handler: (message: StelarMessage) => void): this {
    this.#all = handler;
    return this;
  }

  /** For the answers to `emit(event, data, { ack: name })`; stays. */
  onAck(name: string, handler: StelarEventHandler): this {
    this.#acks.set(name, handler);
    return this;
  }

  removeAllListeners(event?: string): this {
    if (event === undefined) {
      this.#handlers.clear();
      this.#acks.clear();
      this.#all = undefined;
    } else {
      this.#handlers.remove(event);
    }
    return this;
  }

  // --- Sending ---------------------------------------------------------------

  emit(event: string, data?: unknown, options: { ack?: string } = {}): this {
    const { ack } = options;
    this.#lastData = data;
    try {
      if (ack === undefined) {
        this.#client.emit(event, data);
      } else {
        this.#client.request(ack, data).then(
          (answer) => this.#acks.get(ack)?.(answer),
          (error: unknown) => this.#error(error, "emit"));
      }
    } catch (error) {
      this.#error(error, "emit");
    }
    return this;
  }

  emitBinary(event: string, data: ArrayBuffer | ArrayBufferView): this {
    return this.emit(event, data);
  }

  /** As the event "file". A Blob is read first. */
  sendFile(file: ArrayBuffer | ArrayBufferView | Blob): this {
    return this.#sendBytes("file", file);
  }

  /** As the event "image". A Blob is read first. */
  sendImage(image: ArrayBuffer | ArrayBufferView | Blob): this {
    return this.#sendBytes("image", image);
  }

  /**
   * Asks what the server answers under `ackName`. Settles in any case: with
   * the answer, after `ackTimeout`, or when the connection ends.
   */
  request(event: string, data: unknown, ackName: string = event):
  Promise<unknown> {
    return this.#client.request(ackName, data);
  }

  joinRoom(room: string): this {
    if (this.#client.state.name === "closed") {
      this.#wantedRooms.add(room);
      return this;
    }
    const joined = this.#client.room(room);
    joined.ready({ timeout: 0 }).then(() => this.#dispatch("joined-room", room),
      (error: unknown) => this.#error(error, "room"));
    return this;
  }

  leaveRoom(room: string): this {
    this.#wantedRooms.delete(room);
    this.#client.room(room, { join: false }).leave().then(
      () => this.#dispatch("left-room", room),
      (error: unknown) => this.#error(error, "room"));
    return this;
  }

  // --- The connection --------------------------------------------------------

  /** `done` is called when it is connected, however long that takes. */
  connect(done?: () => void): this {
    this.#client.connect();
    const wanted = [...this.#wantedRooms];
    this.#wantedRooms.clear();
    wanted.forEach((room) => this.joinRoom(room));
    if (done !== undefined) {
      this.#client.ready({ timeout: 0 }).then(done, () => {});
    }
    return this;
  }

  disconnect(): this {
    void this.#client.close();
    return this;
  }

  #lastData: unknown;
  /** Asked for after `disconnect`, for the next `connect`. */
  readonly #wantedRooms = new Set<string>();

  get #hooks(): StelarClientHooks {
    return this.#wanted.hooks ?? {};
  }

  #sendBytes(event: string, data: ArrayBuffer | ArrayBufferView | Blob): this {
    if (data instanceof Blob) {
      data.arrayBuffer().then((bytes) => this.emit(event, bytes),
        (error: unknown) => this.#error(error, "emit"));
      return this;
    }
    return this.emit(event, data);
  }

  /** What the options say in the words of the client below. */
  #changing() {
    const wanted = this.#wanted;
    return {
      timeout: wanted.ackTimeout,
      connectTimeout: wanted.ackTimeout,
      headers: wanted.headers ?? {},
      messageBytesMax: wanted.maxPayloadSize,
      outbox: {
        max: wanted.messageQueueSize, overflow: "drop-oldest" as const,
      },
      reconnect: wanted.reconnection && {
        attempts: wanted.reconnectionAttempts,
        delay: (attempt: number) => this.#delay(attempt),
      },
      hooks: {
        beforeEmit: ({ event, data }: { event: string; data: unknown }) =>
          this.#hooks.onBeforeEmit?.({ event, data }),
        onMessage: (message: {
          event: string; data: unknown; isBinary: boolean;
        }) => void this.#hooks.onMessage?.({ event: message.event,
          data: toBuffer(message.data), isBinary: message.isBinary }),
      },
    };
  }

  #delay(attempt: number): number {
    const { reconnectionDelay, maxReconnectionDelay, customReconnectDelay } =
      this.#wanted;
    const base = Math.min(
      reconnectionDelay * 1.5 ** (attempt - 1), maxReconnectionDelay);
    const hooked = this.#hooks.onReconnectDelay?.(
      { attempt, defaultDelay: base });
    return typeof hooked === "number" ? hooked
      : customReconnectDelay?.(attempt, reconnectionDelay,
        maxReconnectionDelay) ??
        Math.min(base * (1 + 0.2 * Math.random()), maxReconnectionDelay);
  }

  #receive(event: string, data: unknown): void {
    if (!OWN.has(event)) {
      this.#dispatch(event, toBuffer(data));
    }
  }

  #dispatch(event: string, data: unknown): void {
    const ack = this.#acks.get(event);
    if (ack !== undefined) {
      ack(data);
      return;
    }
    this.#handlers.call(event, data, undefined);
    this.#all?.(data instanceof ArrayBuffer
      ? { event, data, isBinary: true, buffer: data } : { event, data });
  }

  #move(state: State): void {
    const from = this.#state;
    const wasUp = from === "connected";
    this.#state = state.name === "open" ? "connected"
      : state.name === "waiting" ? "reconnecting"
      : state.name === "connecting"
        ? from === "reconnecting" ? from : "connecting"
      : "disconnected";
    if (from !== this.#state) {
      this.#hooks.onStateChange?.({ from, to: this.#state });
    }
    if (wasUp && this.#state !== "connected") {
      clearInterval(this.#pongs);
      const code = state.name === "closed" ? state.code : 1006;
      this.#handlers.call("disconnect", { code,
        reason: "why" in state ? state.why.message : "" }, undefined);
    }
    if (state.name === "open") {
      this.#beat();
      this.#handlers.call("connect", undefined, undefined);
    } else if (state.name === "waiting") {
      this.#handlers.call("reconnecting", state.attempt, undefined);
    } else if (state.name === "closed" && !state.final) {
      this.#error(state.why, this.#wanted.mode);
      if (this.#wanted.reconnection) {
        this.#handlers.call("reconnect_failed", undefined, undefined);
      }
    }
  }

  /** Servers of that dialect also count a text as a sign of life. */
  #beat(): void {
    clearInterval(this.#pongs);
    if (this.#wanted.dialect !== "peal" && this.#wanted.mode === "ws") {
      this.#pongs = setInterval(() => this.#client.emit(
        "pong", Date.now(), { queue: false }), this.#wanted.heartbeatInterval);
    }
  }

  #error(
    error: unknown, context: string,
    message?: { event: string; data: unknown },
  ): void {
    const told = error instanceof Error ? error : new Error(String(error));
    this.#hooks.onError?.(
      { error: told, context, ...(message && { message }) });
    this.#handlers.call("error", told, undefined);
  }
}
