/**
 * Envelopes to and from WebSocket messages: docs/protocol.md, section 2.
 */
import { localError } from "./errors.js";

export type Id = string | number;

/** A message, whatever carries it. Bytes as data are always a Uint8Array. */
export interface Envelope {
  event: string;
  room?: string | undefined;
  id?: Id | undefined;
  data?: unknown;
}

/** What one message is on the wire: a text message or a binary one. */
export type Packet = string | Uint8Array<ArrayBuffer>;

/** How a family of servers writes envelopes. */
export interface Codec {
  encode(envelope: Envelope): Packet;
  /** Throws when the packet is no message. Null: one to be ignored. */
  decode(packet: Packet): Envelope | null;
  /** Called before each dial: the last connection's answers will not come. */
  start?(): void;
  /** Stands for the welcome of servers that say none. */
  readonly welcome?: Envelope;
}

const NAME_BYTES_MAX = 256;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes of a text in UTF-8. */
export function utf8Size(text: string): number {
  let size = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) {
      /* Two halves of a surrogate pair make four bytes: two for each. */
      size += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
    }
  }
  return size;
}

export function packetSize(packet: Packet): number {
  return typeof packet === "string" ? utf8Size(packet) : packet.byteLength;
}

/** Throws unless the text can be the name of an event or room. */
export function checkName(what: string, name: unknown): asserts name is string {
  if (typeof name !== "string" || name === "" ||
      (name.length > NAME_BYTES_MAX / 3 && utf8Size(name) > NAME_BYTES_MAX)) {
    throw localError("bad_message", `${what} has 1 to 256 bytes`);
  }
  if (name.startsWith("peal:")) {
    throw localError("not_allowed", "Names with peal: are the protocol's");
  }
}

/** Data as the codec wants it: all kinds of bytes become a Uint8Array. */
export function asData(data: unknown): unknown {
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  const tag = Object.prototype.toString.call(data);
  if (tag === "[object ArrayBuffer]" || tag === "[object SharedArrayBuffer]") {
    return new Uint8Array(data as ArrayBuffer);
  }
  if (tag === "[object Blob]" || tag === "[object File]") {
    throw localError("bad_message", "A Blob or File goes by sendFile");
  }
  return data;
}

export function toJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw localError("bad_message", "The data cannot be JSON", cause);
  }
}

/** `u32 header length | header | bytes` in memory of its own. */
export function joinBinary(
  header: string, bytes: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const head = encoder.encode(header);
  const packet = new Uint8Array(4 + head.length + bytes.length);
  new DataView(packet.buffer).setUint32(0, head.length);
  packet.set(head, 4);
  packet.set(bytes, 4 + head.length);
  return packet;
}

/** The header's text and the bytes after it. */
export function splitBinary(
  packet: Uint8Array<ArrayBuffer>,
): [string, Uint8Array] {
  const view = new DataView(
    packet.buffer, packet.byteOffset, packet.byteLength);
  const end = 4 + view.getUint32(0);
  if (end > packet.length) {
    throw new RangeError("The header is longer than the message");
  }
  return [decoder.decode(packet.subarray(4, end)), packet.subarray(end)];
}

/** Throws unless the text is a JSON object. */
export function parseObject(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError("The message is no object");
  }
  return value as Record<string, unknown>;
}

function readEnvelope(text: string): Envelope {
  const { event, room, id, data } = parseObject(text);
  if (typeof event !== "string" || event === "") {
    throw new TypeError("The message has no event");
  }
  const envelope: Envelope = { event, data };
  if (typeof room === "string") {
    envelope.room = room;
  }
  if (typeof id === "string" || typeof id === "number") {
    envelope.id = id;
  }
  return envelope;
}

export const pealCodec: Codec = {
  encode({ event, room, id, data }) {
    return data instanceof Uint8Array
      ? joinBinary(toJson({ event, room, id }), data)
      : toJson({ event, room, id, data });
  },

  decode(packet) {
    if (typeof packet === "string") {
      return readEnvelope(packet);
    }
    const [header, bytes] = splitBinary(packet);
    const envelope = readEnvelope(header);
    envelope.data = bytes;
    return envelope;
  },
};
