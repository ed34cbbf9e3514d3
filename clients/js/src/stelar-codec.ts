/**
 * The messages of stelar-time-real over WebSocket, as docs/protocol.md,
 * section 10, has them: so the client also speaks to servers of that dialect.
 * stelar-tcp.ts has its frames.
 */
import {
  joinBinary, parseObject, splitBinary, toJson, type Codec, type Envelope,
  type Id,
} from "./codec.js";
import { localError } from "./errors.js";

/** What a server confirms by an event of its own, and by which. */
export const MOVES: Record<string, { event: string; done: string }> = {
  "peal:join": { event: "join-room", done: "joined-room" },
  "peal:leave": { event: "leave-room", done: "left-room" },
};

/** Ids whose answers come without one, by what answers them. */
export class Awaited {
  readonly #ids = new Map<string, Id[]>();

  add(what: string, id: Id | undefined): void {
    if (id !== undefined) {
      this.#ids.set(what, [...this.#ids.get(what) ?? [], id]);
    }
  }

  /** The id that has waited longest. */
  take(what: string): Id | undefined {
    const [id, ...rest] = this.#ids.get(what) ?? [];
    rest.length > 0 ? this.#ids.set(what, rest) : this.#ids.delete(what);
    return id;
  }

  clear(): void {
    this.#ids.clear();
  }
}

/** Throws where that dialect has no words for an envelope. */
export function checkSayable({ event, room, id, data }: Envelope): void {
  if (room !== undefined || event.startsWith("peal:")) {
    throw localError("bad_option", "The stelar dialect cannot say this");
  }
  if (id !== undefined && data instanceof Uint8Array) {
    throw localError("bad_option",
      "The stelar dialect has no request of bytes");
  }
}

/** An event of the server, or its word on a room. Null: not for handlers. */
export function readStelarEvent(
  awaited: Awaited, event: unknown, data: unknown,
): Envelope | null {
  if (typeof event !== "string") {
    throw new TypeError("The message has no event");
  }
  const id = typeof data === "string"
    ? awaited.take(`${event} ${data}`) : undefined;
  if (id !== undefined) {
    return { event: "peal:ok", id, data };
  }
  return event === "ping" || event.startsWith("peal:") ? null
    : { event, data };
}

/** Made anew for each client: it remembers who waits to be in a room. */
export function makeStelarCodec(messageBytesMax: () => number): Codec {
  const awaited = new Awaited();

  function decodeText(text: string): Envelope | null {
    const { event, data, _isAck, _correlationId } = parseObject(text);
    return _isAck === true && typeof _correlationId === "string"
      ? { event: "peal:ok", id: Number(_correlationId), data }
      : readStelarEvent(awaited, event, data);
  }

  return {
    start: () => awaited.clear(),

    get welcome() {
      return { event: "peal:welcome",
        data: { limits: { message_bytes: messageBytesMax() } } };
    },

    encode(envelope) {
      const { event, id, data } = envelope;
      const move = MOVES[event];
      if (move !== undefined) {
        const { room } = data as { room: string };
        awaited.add(`${move.done} ${room}`, id);
        return toJson({ event: move.event, data: room });
      }
      checkSayable(envelope);
      if (data instanceof Uint8Array) {
        return joinBinary(toJson({ event }), data);
      }
      return id === undefined ? toJson({ event, data })
        : toJson({ event, data, _ackName: event, _correlationId: String(id) });
    },

    decode(packet) {
      if (typeof packet === "string") {
        return decodeText(packet);
      }
      const [header, data] = splitBinary(packet);
      return readStelarEvent(awaited, parseObject(header).event, data);
    },
  };
}
