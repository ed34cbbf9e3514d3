/**
 * The framed TCP protocol: docs/protocol.md, section 3. No sockets here. The
 * client says all but pongs and goodbyes in types 16 and 17, which can say
 * everything.
 */
import { ByteQueue } from "./byte-queue.js";
import { parseObject, type Codec, type Envelope, type Packet }
  from "./codec.js";

export const JSON_EVENT = 0;
export const BINARY_EVENT = 1;
export const PING = 2;
export const PONG = 3;
export const ACK_REQUEST = 4;
export const ACK_RESPONSE = 5;
export const CONNECT = 6;
export const DISCONNECT = 7;
export const ERROR = 10;
export const ENVELOPE = 16;
export const BINARY_ENVELOPE = 17;

const HEAD_SIZE = 7;
const EVENT_MAX = 256;

export interface TcpFrame {
  type: number;
  event: string;
  payload: Buffer;
}

/** How a dialect uses frames. Packets are what its codec makes. */
export interface Framing {
  /** The type of a ping. */
  readonly ping: number;
  pong(payload: Buffer): Buffer;
  /** Null: a stream that ends is goodbye enough. */
  goodbye(code: number, reason: string): Buffer | null;
  write(packet: Packet): Buffer;
  /** As `readTcpFrame`. A goodbye is an envelope peal:goodbye. */
  read(frame: TcpFrame, codec: Codec): Envelope | null;
}

/** Nobody knows where the next frame begins; `code` says why. */
export class TcpFrameError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Yields frames as they get whole. After a TcpFrameError it is done. */
export class TcpFrameReader {
  readonly #queue = new ByteQueue();
  readonly #frameBytesMax: number;

  constructor(messageBytesMax: number) {
    this.#frameBytesMax = messageBytesMax + HEAD_SIZE + EVENT_MAX;
  }

  *push(chunk: Buffer): Generator<TcpFrame, void> {
    this.#queue.push(chunk);
    for (let frame = this.#read(); frame !== null; frame = this.#read()) {
      yield frame;
    }
  }

  #read(): TcpFrame | null {
    const head = this.#queue.peek(HEAD_SIZE);
    if (head === null) {
      return null;
    }
    const size = head.readUInt32BE(0);
    const eventSize = head.readUInt16BE(5);
    if (eventSize > EVENT_MAX || HEAD_SIZE + eventSize > size) {
      throw new TcpFrameError(1002, "A frame's lengths make no sense");
    }
    if (size > this.#frameBytesMax) {
      throw new TcpFrameError(1009, "A frame is too large");
    }
    const bytes = this.#queue.take(size);
    return bytes && splitTcpFrame(bytes);
  }
}

export function writeTcpFrame(
  type: number, payload: Packet, event = "",
): Buffer {
  const start = HEAD_SIZE + Buffer.byteLength(event);
  const size = start + Buffer.byteLength(payload);
  const frame = Buffer.allocUnsafe(size);
  frame.writeUInt32BE(size, 0);
  frame.writeUInt8(type, 4);
  frame.writeUInt16BE(start - HEAD_SIZE, 5);
  frame.write(event, HEAD_SIZE);
  if (typeof payload === "string") {
    frame.write(payload, start);
  } else {
    frame.set(payload, start);
  }
  return frame;
}

/** A frame that is there as a whole, and whose lengths were looked at. */
export function splitTcpFrame(bytes: Buffer): TcpFrame {
  const start = HEAD_SIZE + bytes.readUInt16BE(5);
  return {
    type: bytes.readUInt8(4),
    event: bytes.toString("utf8", HEAD_SIZE, start),
    payload: bytes.subarray(start),
  };
}

export function writePacket(packet: Packet): Buffer {
  return writeTcpFrame(
    typeof packet === "string" ? ENVELOPE : BINARY_ENVELOPE, packet);
}

export const ownBytes = (bytes: Buffer): Uint8Array<ArrayBuffer> =>
  new Uint8Array(bytes);

export const readJson = (payload: Buffer): unknown =>
  payload.length === 0 ? undefined : JSON.parse(payload.toString());

/**
 * What a frame says as an envelope; null for those that are none. Throws when
 * it cannot be read.
 */
export function readTcpFrame(
  { type, event, payload }: TcpFrame, codec: Codec,
): Envelope | null {
  switch (type) {
    case JSON_EVENT:
      return { event, data: readJson(payload) };
    case BINARY_EVENT:
      return { event, data: ownBytes(payload) };
    case ACK_REQUEST:
      return { ...parseObject(payload.toString()), event };
    case ACK_RESPONSE:
      return { ...parseObject(payload.toString()), event: "peal:ok" };
    case CONNECT:
      return { event: "peal:welcome", data: readJson(payload) };
    case DISCONNECT:
      return { event: "peal:goodbye", data: parseObject(payload.toString()) };
    case ERROR: {
      const { id, ...data } = parseObject(payload.toString()) as
        { id?: Envelope["id"] };
      return { event: "peal:error", id, data };
    }
    case ENVELOPE:
      return codec.decode(payload.toString());
    case BINARY_ENVELOPE:
      return codec.decode(ownBytes(payload));
    default:
      return null;
  }
}

export const pealFraming: Framing = {
  ping: PING,
  pong: (payload) => writeTcpFrame(PONG, payload as Packet),
  goodbye: (code, reason) =>
    writeTcpFrame(DISCONNECT, JSON.stringify({ code, reason })),
  write: writePacket,
  read: readTcpFrame,
};
