/**
 * What a connection needs of whatever carries its messages. transport-ws.ts is
 * for browsers, transport-ws-node.ts and transport-tcp.ts for Node.
 */
import type { Codec, Envelope, Packet } from "./codec.js";

/** Why a transport ended. */
export interface CloseInfo {
  /** As RFC 6455, 7.4; 1006 when there was no goodbye. */
  code: number;
  reason: string;
  /** The server's own hint when to come back. */
  retryAfterMs?: number | undefined;
}

/**
 * Who listens to a transport. `onClose` comes exactly once and last, also when
 * it could not be opened, and not after `abort`.
 */
export interface TransportSink {
  onOpen(): void;
  onEnvelope(envelope: Envelope): void;
  /** A message that cannot be read; the transport goes on. */
  onInvalid(error: unknown): void;
  /** A sign of life that is no message. */
  onHeard(): void;
  onClose(info: CloseInfo): void;
}

export interface Transport {
  send(packet: Packet): void;
  /** Bytes that have not left this process. */
  readonly bufferedBytes: number;
  /** Says goodbye; `onClose` follows when the peer has answered. */
  close(code: number, reason: string): void;
  /**
   * Calls `done` when the server has read all that was sent before. There only
   * where the transport has pings of its own.
   */
  ping?(done: () => void): void;
  /** Ends at once. Nothing is called any more. */
  abort(): void;
}

/** The part of TLS options that makes sense for a client; as in node:tls. */
export interface TlsOptions {
  ca?: string | Uint8Array | (string | Uint8Array)[];
  cert?: string | Uint8Array;
  key?: string | Uint8Array;
  passphrase?: string;
  servername?: string;
  rejectUnauthorized?: boolean;
}

export interface DialOptions {
  url: string;
  codec: Codec;
  protocols: string[];
  headers: Record<string, string>;
  tls: TlsOptions;
  acceptAnyKey: boolean;
  messageBytesMax: number;
  WebSocket?: WebSocketConstructor | undefined;
}

export type Dial = (options: DialOptions, sink: TransportSink) => Transport;

/** How to dial for each scheme: `ws:`, `tcp:`. */
export type Dialers = Readonly<Record<string, Dial>>;

/** The part of the browsers' WebSocket that is used here. */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: any): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor =
  new (url: string, protocols?: string[]) => WebSocketLike;

/** Decodes for a sink, which is told when there is nothing to decode. */
export function deliver(
  codec: Codec, sink: TransportSink, packet: Packet,
): void {
  let envelope;
  try {
    envelope = codec.decode(packet);
  } catch (error) {
    sink.onInvalid(error);
    return;
  }
  if (envelope === null) {
    sink.onHeard();
  } else {
    sink.onEnvelope(envelope);
  }
}
