/**
 * The frames of stelar-time-real, whose types begin at 1: docs/protocol.md,
 * section 10. Node only. A packet is a whole frame.
 */
import { parseObject, toJson, type Codec, type Envelope, type Packet }
  from "./codec.js";
import {
  Awaited, checkSayable, MOVES, readStelarEvent,
} from "./stelar-codec.js";
import {
  ownBytes, readJson, splitTcpFrame, writeTcpFrame, type TcpFrame,
} from "./tcp-frames.js";
import { makeDialTcp } from "./transport-tcp.js";
import type { Dialers } from "./transport.js";

const JSON_EVENT = 1;
const BINARY_EVENT = 2;
const PING = 3;
const PONG = 4;
const ACK_REQUEST = 5;
const ACK_RESPONSE = 6;
const CONNECT = 7;
const DISCONNECT = 8;
const JOIN = 9;
const LEAVE = 10;
const ERROR = 11;

/* By what a ping is waited for. */
const PONGS = "pong";

function writeEnvelope(awaited: Awaited, envelope: Envelope): Buffer {
  const { event, id, data } = envelope;
  const move = MOVES[event];
  if (move !== undefined) {
    const { room } = data as { room: string };
    awaited.add(`${move.done} ${room}`, id);
    return writeTcpFrame(
      event === "peal:join" ? JOIN : LEAVE, room, move.event);
  }
  if (event === "peal:ping") {
    awaited.add(PONGS, id);
    return writeTcpFrame(PING, "");
  }
  checkSayable(envelope);
  if (data instanceof Uint8Array) {
    return writeTcpFrame(BINARY_EVENT, data as Packet, event);
  }
  /* Its servers read no data as no message. */
  const said = data === undefined ? null : data;
  return id === undefined ? writeTcpFrame(JSON_EVENT, toJson(said), event)
    : writeTcpFrame(ACK_REQUEST,
      toJson({ event, data: said, _correlationId: String(id) }), event);
}

function readFrame(
  awaited: Awaited, messageBytesMax: () => number,
  { type, event, payload }: TcpFrame,
): Envelope | null {
  switch (type) {
    case JSON_EVENT:
      return readStelarEvent(awaited, event, readJson(payload));
    case BINARY_EVENT:
      return readStelarEvent(awaited, event, ownBytes(payload));
    case PONG: {
      const id = awaited.take(PONGS);
      return id === undefined ? null : { event: "peal:ok", id };
    }
    case ACK_RESPONSE: {
      const { data, _correlationId } = parseObject(payload.toString());
      return typeof _correlationId === "string"
        ? { event: "peal:ok", id: Number(_correlationId), data } : null;
    }
    case CONNECT:
      return { event: "peal:welcome", data: { id: payload.toString(),
        limits: { message_bytes: messageBytesMax() } } };
    case DISCONNECT:
      return { event: "peal:goodbye", data: { code: 1001, reason: "" } };
    case ERROR:
      return { event: "peal:goodbye",
        data: { code: 1008, reason: payload.toString() } };
    default:
      return null;
  }
}

/** Made anew for each client, as `makeStelarCodec`. */
export function makeStelarTcp(
  messageBytesMax: () => number,
): { codec: Codec; dialers: Dialers } {
  const awaited = new Awaited();
  const read = (frame: TcpFrame) => readFrame(awaited, messageBytesMax, frame);
  const dial = makeDialTcp({
    ping: PING,
    pong: () => writeTcpFrame(PONG, ""),
    goodbye: () => null,
    write: (packet) => packet as Uint8Array as Buffer,
    read,
  });
  return {
    codec: {
      start: () => awaited.clear(),
      encode: (envelope) => writeEnvelope(awaited, envelope) as Packet,
      decode: (packet) => read(splitTcpFrame(Buffer.from(packet))),
    },
    dialers: { "tcp:": dial, "tls:": dial, "unix:": dial },
  };
}
