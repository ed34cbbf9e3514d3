/** What every platform exports. */
export { backoffDelay, type Backoff } from "./backoff.js";
export { Client } from "./client.js";
export { pealCodec, type Codec, type Envelope, type Id, type Packet }
  from "./codec.js";
export type { Connect } from "./connect.js";
export { PealError, type Failure, type LocalErrorName } from "./errors.js";
export type { Subscription } from "./events.js";
export type { OutboxOptions } from "./outbox.js";
export { Room, type RoomState } from "./room.js";
export type { StreamOptions } from "./stream.js";
export type { TlsOptions, WebSocketConstructor, WebSocketLike }
  from "./transport.js";
export type {
  AnyCalls, AnyEvents, Bytes, ChangeableOptions, Drop, EmitOptions,
  FileOptions, First, Gap, Hooks, Message, Meta, Metrics, Options, ReconnectOptions,
  RequestOptions, State, TokenRequest, WaitOptions, Watched,
} from "./types.js";
export type { Address } from "./url.js";
