/**
 * A transport over the WebSocket that the platform has, or one that the
 * application brings.
 */
import type { Packet } from "./codec.js";
import { localError } from "./errors.js";
import {
  deliver, type DialOptions, type Transport, type TransportSink,
  type WebSocketConstructor, type WebSocketLike,
} from "./transport.js";

/* Browsers let pages send only these, and 3000 to 4999. */
const CODE_DONE = 1000;

class WsTransport implements Transport {
  readonly #socket: WebSocketLike;

  constructor(
    socket: WebSocketLike, options: DialOptions, sink: TransportSink,
  ) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => sink.onOpen();
    socket.onmessage = ({ data }: { data: string | ArrayBuffer }) =>
      deliver(options.codec, sink,
        typeof data === "string" ? data : new Uint8Array(data));
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
      this.abort();
      sink.onClose({ code, reason });
    };
    /* A close event follows each error event and says all there is to say. */
    socket.onerror = () => {};
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  send(packet: Packet): void {
    this.#socket.send(packet);
  }

  close(code: number, reason: string): void {
    this.#socket.close(code < 3000 ? CODE_DONE : code, reason);
  }

  abort(): void {
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}

export function dialWebSocket(
  options: DialOptions, sink: TransportSink,
): Transport {
  const Constructor = options.WebSocket ??
    (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (Constructor === undefined) {
    throw localError("bad_option", "There is no WebSocket here: bring one");
  }
  const socket = new Constructor(options.url, options.protocols);
  return new WsTransport(socket, options, sink);
}
