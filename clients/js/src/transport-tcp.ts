/**
 * A transport over the framed TCP protocol, for services. Node only.
 * `tcp://host:port`, `tls://host:port`, `unix:/path`.
 */
import { connect as netConnect, isIP, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";

import type { Packet } from "./codec.js";
import { localError } from "./errors.js";
import { BatchedSocket } from "./node-socket.js";
import {
  pealFraming, TcpFrameError, TcpFrameReader, type Framing, type TcpFrame,
} from "./tcp-frames.js";
import type {
  CloseInfo, Dial, DialOptions, Transport, TransportSink,
} from "./transport.js";

function openSocket({ url, tls }: DialOptions): [Socket, string] {
  if (url.startsWith("unix:")) {
    return [netConnect({ path: url.slice("unix:".length) }), "connect"];
  }
  const { protocol, hostname, port } = new URL(url);
  /* Brackets belong to the URL, not to the address. */
  const host = hostname.replace(/^\[|\]$/g, "");
  if (port === "") {
    throw localError("bad_option", `There is no port in ${url}`);
  }
  return protocol === "tls:"
    ? [tlsConnect({
      /* A name, but no address, may be said (RFC 6066, 3). */
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...tls, host, port: Number(port),
    } as object), "secureConnect"]
    : [netConnect({ host, port: Number(port) }), "connect"];
}

class TcpTransport implements Transport {
  readonly #framing: Framing;
  readonly #options: DialOptions;
  readonly #sink: TransportSink;
  readonly #reader: TcpFrameReader;
  readonly #out: BatchedSocket;
  #hasEnded = false;
  #goodbye: CloseInfo | null = null;
  #error = "";

  constructor(framing: Framing, options: DialOptions, sink: TransportSink) {
    const [socket, ready] = openSocket(options);
    this.#framing = framing;
    this.#options = options;
    this.#sink = sink;
    this.#reader = new TcpFrameReader(options.messageBytesMax);
    this.#out = new BatchedSocket(socket);
    socket.on(ready, () => sink.onOpen());
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", (error) => { this.#error = error.message; });
    socket.on("close", () => this.#ended());
  }

  get bufferedBytes(): number {
    return this.#out.bufferedBytes;
  }

  send(packet: Packet): void {
    this.#out.write(this.#framing.write(packet));
  }

  close(code: number, reason: string): void {
    const goodbye = this.#framing.goodbye(code, reason);
    if (goodbye !== null) {
      this.#out.write(goodbye);
    }
    this.#out.socket.end();
  }

  abort(): void {
    this.#hasEnded = true;
    this.#out.socket.destroy();
  }

  #read(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.push(chunk)) {
        if (this.#hasEnded) {
          return;
        }
        this.#take(frame);
      }
    } catch (error) {
      if (!(error instanceof TcpFrameError)) {
        throw error;
      }
      this.#goodbye = { code: error.code, reason: error.message };
      this.#out.socket.destroy();
    }
  }

  #take(frame: TcpFrame): void {
    if (frame.type === this.#framing.ping) {
      this.#out.write(this.#framing.pong(frame.payload));
    }
    let envelope;
    try {
      envelope = this.#framing.read(frame, this.#options.codec);
      if (envelope?.event === "peal:goodbye") {
        const { code, reason } = Object(envelope.data) as Partial<CloseInfo>;
        this.#goodbye = { code: Number(code), reason: String(reason ?? "") };
      }
    } catch (error) {
      this.#sink.onInvalid(error);
      return;
    }
    if (envelope === null) {
      this.#sink.onHeard();
    } else {
      this.#sink.onEnvelope(envelope);
    }
  }

  #ended(): void {
    if (!this.#hasEnded) {
      this.#hasEnded = true;
      this.#sink.onClose(this.#goodbye ?? { code: 1006, reason: this.#error });
    }
  }
}

/** A dialer for servers of one dialect. */
export function makeDialTcp(framing: Framing): Dial {
  return (options, sink) => new TcpTransport(framing, options, sink);
}

export const dialTcp = makeDialTcp(pealFraming);
