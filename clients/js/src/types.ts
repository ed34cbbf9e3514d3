/**
 * What applications see: options, states, messages, counters.
 */
import type { Backoff } from "./backoff.js";
import type { Codec, Id } from "./codec.js";
import type { PealError } from "./errors.js";
import type { OutboxOptions } from "./outbox.js";
import type { TlsOptions, WebSocketConstructor } from "./transport.js";

/** Events by name, when nothing is known about them. */
export interface AnyEvents { [event: string]: any }

/** Requests by name, as functions from data to answer, when none is known. */
export interface AnyCalls { [name: string]: (data?: any) => any }

export type Name<Map> = Extract<keyof Map, string>;
export type Call<Map, K extends keyof Map> =
  Map[K] extends (...args: any[]) => any ? Map[K] : never;
export type CallData<Map, K extends keyof Map> = Parameters<Call<Map, K>>[0];
export type CallResult<Map, K extends keyof Map> =
  Awaited<ReturnType<Call<Map, K>>>;

/** Data and options of a request; data may be left out where there is none. */
export type CallArgs<Map, K extends keyof Map, Options> =
  undefined extends CallData<Map, K>
    ? [data?: CallData<Map, K>, options?: Options]
    : [data: CallData<Map, K>, options?: Options];

/** Data that travels as bytes instead of JSON. It arrives as a Uint8Array. */
export type Bytes = ArrayBuffer | ArrayBufferView;

/**
 * Where the connection stands.
 *
 * - `idle`: `connect` has not been called yet.
 * - `connecting`: the `attempt`-th dial since it was last open for a while.
 * - `open`: the server has said its welcome. `reopened`: it was open before,
 *   so events may have been missed.
 * - `waiting`: for the next dial, at `retryAt` (milliseconds since 1970).
 * - `closed`: no dial follows. `final`: because the application or the server
 *   wanted that, rather than because the attempts are used up.
 */
export type State =
  | { readonly name: "idle" }
  | { readonly name: "connecting"; readonly attempt: number }
  | { readonly name: "open"; readonly id: string; readonly reopened: boolean }
  | {
    readonly name: "waiting"; readonly retryAt: number;
    readonly attempt: number; readonly why: PealError;
  }
  | {
    readonly name: "closed"; readonly code: number; readonly why: PealError;
    readonly final: boolean;
  };

/** What comes with the data of an event. */
export interface Meta {
  readonly event: string;
  /** The room that it came through, or undefined. */
  readonly room: string | undefined;
  /** Whether the data is a Uint8Array. */
  readonly isBinary: boolean;
  /** The id of a request of the server, or undefined. */
  readonly id: Id | undefined;
}

/** An event as `for await` yields it. */
export interface Message<In extends object = AnyEvents> extends Meta {
  readonly event: Name<In>;
  readonly data: In[Name<In>];
}

/** A message that will not arrive, and why. */
export interface Drop {
  readonly event: string;
  readonly room: string | undefined;
  readonly data: unknown;
  readonly error: PealError;
}

/**
 * Messages that the server dropped because this client reads too slowly. Told
 * where they would have been among the events.
 */
export interface Gap {
  /** The room that they went to; undefined: they were for everybody. */
  readonly room: string | undefined;
  readonly count: number;
  /** `drop_oldest`, `drop_newest`, `conflate`; there may be more. */
  readonly reason: string;
}

/** What can be watched; a server cannot make any of it up. */
export interface Watched {
  state: State;
  /** Something went wrong that no promise told. */
  error: PealError;
  /** A message was not sent and will not be. */
  drop: Drop;
  /** Messages of the server did not reach this client. */
  gap: Gap;
  /** A message waits. */
  queued: { readonly event: string; readonly count: number };
  /** What waited has been sent. */
  drained: { readonly count: number };
}

export interface ReconnectOptions extends Backoff {
  /** How often in a row it dials again before it gives up. Default Infinity. */
  attempts: number;
  /**
   * Milliseconds before the next dial, in place of full jitter; undefined
   * leaves it to that.
   */
  delay?: ((attempt: number, why: PealError) => number | undefined | void);
  /**
   * Whether to come back after this close code. By default after all but 1000,
   * 3500 to 3999 and 4500 to 4999.
   */
  after?: (code: number, reason: string) => boolean;
}

export interface Hooks {
  /** Before an event goes out; false stops it. */
  beforeEmit?(message: {
    event: string; room: string | undefined; data: unknown;
  }): boolean | void;
  /** Before an event of the server reaches its handlers; false stops it. */
  onMessage?(message: {
    event: string; room: string | undefined; data: unknown; isBinary: boolean;
  }): boolean | void;
  onState?(to: State, from: State): void;
}

/** How to speak before all else: see `prepare`. */
export interface First {
  request(name: string, data?: unknown, options?: WaitOptions):
    Promise<unknown>;
}

/** Why a token is wanted. */
export interface TokenRequest {
  readonly reason: "connect" | "reconnect";
  readonly attempt: number;
}

export interface Options {
  /**
   * Called before every dial and never remembered. Sent as the query parameter
   * `tokenParameter`, WebSocket only: elsewhere `prepare` can say it. To give
   * up instead of trying again, throw a PealError that is not temporary.
   */
  token?: string | ((request: TokenRequest) =>
    string | null | undefined | Promise<string | null | undefined>);
  /** Default "token". */
  tokenParameter?: string;
  /**
   * What has to be done on each connection before it counts as open: a login, a
   * join that the application handles. What it asks goes before the rooms and
   * the outbox. If it fails, the connection is given up: for good, when it
   * throws a PealError that is not temporary.
   */
  prepare?: (first: First) => unknown;
  /** Dial at once instead of at `connect()`. Default true. */
  autoConnect?: boolean;
  /** For one dial, from the token to the welcome. Default 10,000 ms. */
  connectTimeout?: number;
  /** For an answer, unless the request says its own. Default 10,000 ms. */
  timeout?: number;
  /** `false`: one dial only. */
  reconnect?: Partial<ReconnectOptions> | false;
  /** How much may wait to be sent, and what goes when that is full. */
  outbox?: Partial<OutboxOptions>;
  /**
   * Silence before asking and patience after it, in place of what the
   * welcome says; `false`: never ask.
   */
  heartbeat?: { interval: number; timeout: number } | false;
  /** Functions that look at, or stop, what passes. */
  hooks?: Hooks;
  /** Subprotocols to offer. Default none. */
  protocols?: string[];
  /** Used instead of the platform's. */
  WebSocket?: WebSocketConstructor;
  /** Node only: headers of the request, TLS, and the largest message taken. */
  headers?: Record<string, string>;
  /** Node only: authorities, a certificate of its own, the server's name. */
  tls?: TlsOptions;
  /**
   * Node only: take a server whose Sec-WebSocket-Accept is wrong or missing
   * (RFC 6455, 4.1), as that of stelar-time-real is. Such an answer does not
   * prove that it was meant for this client. Default false.
   */
  acceptAnyKey?: boolean;
  /** Default 16 MiB. */
  messageBytesMax?: number;
  /** How messages look on the wire. Default the peal dialect. */
  codec?: Codec;
}

/** Options that can be changed at any time; they apply from the next use on. */
export type ChangeableOptions = Pick<Options,
  "token" | "connectTimeout" | "timeout" | "reconnect" | "outbox" |
  "heartbeat" | "hooks" | "headers" | "messageBytesMax">;

export interface WaitOptions {
  /** Milliseconds; 0: for ever. Default the client's `timeout`. */
  timeout?: number;
  signal?: AbortSignal;
}

export interface RequestOptions extends WaitOptions {
  /** Ask the members of a room's server side: the event carries the room. */
  room?: string;
  /** Wait in the outbox while there is no connection. Default true. */
  queue?: boolean;
}

export interface EmitOptions extends RequestOptions {
  /** Return a promise of the server's word that it has the event. */
  ack?: boolean;
}

export interface FileOptions extends RequestOptions {
  /** Bytes that have left this process, of all. */
  onProgress?(sent: number, total: number): void;
}

/** Counts since the client was made, and gauges of now. */
export interface Metrics {
  /** Messages written to a connection: events, requests and answers. */
  readonly sent: number;
  /** Messages of the server, without heartbeats. */
  readonly received: number;
  /** What gaps have counted. */
  readonly missed: number;
  /** Of messages sent, without frames. */
  readonly sentBytes: number;
  /** Messages that could not be read. */
  readonly invalid: number;
  /** Messages that were not sent and will not be; `watch("drop")` told each. */
  readonly dropped: number;
  /** How often it was open. */
  readonly opened: number;
  /** Messages that wait in the outbox now. */
  readonly queued: number;
  /** Their bytes. */
  readonly queuedBytes: number;
  /** Requests without an outcome yet. */
  readonly pending: number;
  /** Bytes on their way to the network. */
  readonly bufferedBytes: number;
  /** From the last dial to its welcome; undefined before. */
  readonly connectMs: number | undefined;
  /** When it became open last, as `Date.now()`; undefined before. */
  readonly openedAt: number | undefined;
  /** Of the last `peal:ping`. */
  readonly roundTripMs: number | undefined;
  /** What went wrong last; undefined while nothing has. */
  readonly lastError: PealError | undefined;
}
