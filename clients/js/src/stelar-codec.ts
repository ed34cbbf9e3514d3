/**
 * The messages of stelar-time-real over WebSocket, as docs/protocol.md,
 * section 10, has them: so the client also speaks to servers of that dialect.
 */
import {
  joinBinary, parseObject, splitBinary, toJson, type Codec, type Envelope,
  type Id,
} from "./codec.js";
import { localError } from "./errors.js";

const ROOM_EVENTS: Record<string, string> = {
  "peal:join": "join-room", "peal:leave": "leave-room",
};

/** Made anew for each client: it remembers who waits to be in a room. */
export function makeStelarCodec(): Codec {
  /* By "joined-room lobby": the ids to answer, the oldest first. */
  const moves = new Map<string, Id[]>();

  function encodeMove(event: string, { data, id }: Envelope): string {
    const { room } = data as { room: string };
    const done = event === "join-room" ? "joined-room" : "left-room";
    const key = `${done} ${room}`;
    if (id !== undefined) {
      moves.set(key, [...moves.get(key) ?? [], id]);
    }
    return toJson({ event, data: room });
  }

  function decodeText(text: string): Envelope | null {
    const { event, data, _isAck, _correlationId } = parseObject(text);
    if (typeof event !== "string") {
      throw new TypeError("The message has no event");
    }
    if (_isAck === true && typeof _correlationId === "string") {
      return { event: "peal:ok", id: Number(_correlationId), data };
    }
    const key = `${event} ${String(data)}`;
    const [id, ...rest] = moves.get(key) ?? [];
    if (id !== undefined) {
      rest.length > 0 ? moves.set(key, rest) : moves.delete(key);
      return { event: "peal:ok", id, data };
    }
    return event === "ping" ? null : { event, data };
  }

  return {
    welcome: { event: "peal:welcome", data: {} },

    encode(envelope) {
      const { event, room, id, data } = envelope;
      const move = ROOM_EVENTS[event];
      if (move !== undefined) {
        return encodeMove(move, envelope);
      }
      if (event === "peal:ping") {
        return toJson({ event: "pong", data: Date.now() });
      }
      if (room !== undefined || event.startsWith("peal:")) {
        throw localError("bad_option", "The stelar dialect cannot say this");
      }
      if (data instanceof Uint8Array) {
        if (id !== undefined) {
          throw localError("bad_option", "The stelar dialect has no request " +
            "of bytes");
        }
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
      const { event } = parseObject(header);
      if (typeof event !== "string") {
        throw new TypeError("The message has no event");
      }
      return { event, data };
    },
  };
}
