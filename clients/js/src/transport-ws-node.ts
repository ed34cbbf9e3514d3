/**
 * A WebSocket transport for Node, which has no WebSocket before version 22, and
 * none that shows pings, takes headers or says how a server refused.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  request as httpRequest, type ClientRequest, type IncomingMessage,
} from "node:http";
import { request as httpsRequest } from "node:https";
import type { Socket } from "node:net";

import type { Packet } from "./codec.js";
import { BatchedSocket } from "./node-socket.js";
import { dialWebSocket } from "./transport-ws.js";
import {
  deliver, type CloseInfo, type DialOptions, type Transport,
  type TransportSink,
} from "./transport.js";
import {
  BINARY, CLOSE, closePayload, FrameError, FrameReader, PING, PONG, TEXT,
  writeFrame,
} from "./ws-frames.js";

/* RFC 6455, 1.3. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

class NodeWsTransport implements Transport {
  readonly #options: DialOptions;
  readonly #sink: TransportSink;
  readonly #request: ClientRequest;
  #out: BatchedSocket | null = null;
  #isClosing = false;
  #hasEnded = false;
  #goodbye: CloseInfo | null = null;
  /** Those of our pings whose pongs are to come. */
  readonly #pings: (() => void)[] = [];

  constructor(options: DialOptions, sink: TransportSink) {
    const key = randomBytes(16).toString("base64");
    const { protocols, headers, tls } = options;
    const isTls = options.url.startsWith("wss:");
    this.#options = options;
    this.#sink = sink;
    this.#request = (isTls ? httpsRequest : httpRequest)(
      options.url.replace(/^ws/, "http"), {
        ...(isTls ? tls : {}),
        agent: false,
        headers: {
          ...headers,
          Connection: "Upgrade",
          Upgrade: "websocket",
          "Sec-WebSocket-Key": key,
          "Sec-WebSocket-Version": "13",
          ...(protocols.length > 0
            ? { "Sec-WebSocket-Protocol": protocols.join(", ") } : {}),
        },
      } as object);
    this.#request.on("upgrade", (response, socket, head) =>
      this.#upgraded(key, response, socket as Socket, head));
    this.#request.on("response", (response) => this.#refused(response));
    this.#request.on("information", ({ statusCode }) => {
      if (statusCode === 101) {
        this.#fail("The server does not speak WebSocket");
      }
    });
    this.#request.on("error", (error) => this.#fail(error.message));
    this.#request.end();
  }

  get bufferedBytes(): number {
    return this.#out?.bufferedBytes ?? 0;
  }

  send(packet: Packet): void {
    if (!this.#isClosing) {
      this.#out?.write(writeFrame(
        typeof packet === "string" ? TEXT : BINARY, packet));
    }
  }

  close(code: number, reason: string): void {
    if (this.#out === null) {
      this.#fail(reason);
    } else if (!this.#isClosing) {
      this.#isClosing = true;
      this.#out.write(writeFrame(CLOSE, closePayload(code, reason)));
    }
  }

  ping(done: () => void): void {
    this.#pings.push(done);
    this.#out?.write(writeFrame(PING, ""));
  }

  abort(): void {
    this.#hasEnded = true;
    this.#request.destroy();
    this.#out?.socket.destroy();
  }

  #fail(reason: string, retryAfterMs?: number): void {
    if (!this.#hasEnded) {
      this.abort();
      this.#sink.onClose({ code: 1006, reason, retryAfterMs });
    }
  }

  #refused(response: IncomingMessage): void {
    const seconds = Number(response.headers["retry-after"]);
    this.#fail(`HTTP ${response.statusCode}`,
      seconds > 0 ? Math.min(seconds, 3600) * 1000 : undefined);
  }

  #upgraded(
    key: string, { headers }: IncomingMessage, socket: Socket, head: Buffer,
  ): void {
    const accept = createHash("sha1").update(key + GUID).digest("base64");
    const protocol = headers["sec-websocket-protocol"];
    /* The socket is nobody's yet: an error on it would end the process. */
    socket.on("error", () => {});
    if (headers.upgrade?.toLowerCase() !== "websocket" ||
        !(this.#options.acceptAnyKey ||
          headers["sec-websocket-accept"] === accept)) {
      socket.destroy();
      this.#fail("The server does not speak WebSocket");
    } else if (headers["sec-websocket-extensions"] !== undefined ||
        (protocol !== undefined &&
         !this.#options.protocols.includes(protocol))) {
      socket.destroy();
      this.#fail("The server wants what was not offered");
    } else if (!this.#hasEnded) {
      this.#listen(socket, head);
    }
  }

  #listen(socket: Socket, head: Buffer): void {
    const { codec, messageBytesMax } = this.#options;
    const reader = new FrameReader(messageBytesMax, {
      onMessage: (packet) => {
        if (!this.#hasEnded) {
          deliver(codec, this.#sink, packet);
        }
      },
      onControl: (opcode, payload) => this.#control(opcode, payload),
    });
    const read = (chunk: Buffer) => {
      if (this.#hasEnded || this.#goodbye !== null) {
        return;
      }
      try {
        reader.push(chunk);
      } catch (error) {
        this.#broken(error);
      }
    };
    this.#out = new BatchedSocket(socket);
    socket.on("data", read);
    socket.on("end", () => socket.end());
    socket.on("close", () => this.#ended());
    this.#sink.onOpen();
    read(head);
  }

  #broken(error: unknown): void {
    const code = error instanceof FrameError ? error.code : 1002;
    const reason = error instanceof Error ? error.message : "";
    this.#goodbye = { code, reason };
    this.close(code, reason);
    /* The reader is out of step: there is nothing to wait for. */
    process.nextTick(() => this.#out?.socket.destroy());
  }

  #control(opcode: number, payload: Buffer): void {
    if (opcode === CLOSE) {
      const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      this.#goodbye = { code, reason: payload.toString("utf8", 2) };
      this.close(code === 1005 ? 1000 : code, "");
      /* A server ends the stream first (RFC 6455, 7.1.1), if it is alive. */
      this.#out!.socket.end();
      this.#out!.socket.setTimeout(1000, () => this.#out!.socket.destroy());
      return;
    }
    if (opcode === PING) {
      this.#out!.write(writeFrame(PONG, payload));
    }
    this.#sink.onHeard();
    if (opcode === PONG) {
      this.#pings.shift()?.();
    }
  }

  #ended(): void {
    if (!this.#hasEnded) {
      this.#hasEnded = true;
      this.#sink.onClose(this.#goodbye ?? { code: 1006, reason: "" });
    }
  }
}

/** Node's own way, unless the application brought a WebSocket. */
export function dialNodeWebSocket(
  options: DialOptions, sink: TransportSink,
): Transport {
  return options.WebSocket === undefined
    ? new NodeWsTransport(options, sink) : dialWebSocket(options, sink);
}
