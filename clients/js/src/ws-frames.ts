/**
 * WebSocket frames as a client reads and writes them: RFC 6455, section 5. No
 * sockets here. Node only: browsers do this themselves.
 */
import { randomFillSync } from "node:crypto";

import { ByteQueue } from "./byte-queue.js";
import type { Packet } from "./codec.js";

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** The peer broke the protocol; `code` goes into the close frame. */
export class FrameError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export interface FrameSink {
  onMessage(packet: Packet): void;
  onControl(opcode: number, payload: Buffer): void;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

interface Head {
  fin: boolean;
  opcode: number;
  size: number;
}

/** Puts messages together. `push` throws a FrameError, and is then done. */
export class FrameReader {
  readonly #queue = new ByteQueue();
  readonly #messageBytesMax: number;
  readonly #sink: FrameSink;
  #head: Head | null = null;
  #opcode = 0;
  #fragments: Buffer[] = [];
  #size = 0;

  constructor(messageBytesMax: number, sink: FrameSink) {
    this.#messageBytesMax = messageBytesMax;
    this.#sink = sink;
  }

  push(chunk: Buffer): void {
    this.#queue.push(chunk);
    for (;;) {
      this.#head ??= this.#readHead();
      const payload = this.#head && this.#queue.take(this.#head.size);
      if (payload === null) {
        return;
      }
      const head = this.#head!;
      this.#head = null;
      if (head.opcode >= CLOSE) {
        this.#sink.onControl(head.opcode, payload);
      } else {
        this.#data(head, payload);
      }
    }
  }

  #readHead(): Head | null {
    const two = this.#queue.peek(2);
    if (two === null) {
      return null;
    }
    const [first, second] = two as unknown as [number, number];
    const short = second & 0x7f;
    const headSize = short < 126 ? 2 : short === 126 ? 4 : 10;
    const bytes = this.#queue.peek(headSize);
    const fin = (first & 0x80) !== 0;
    const opcode = first & 0x0f;
    this.#check(first, second, fin, opcode);
    if (bytes === null) {
      return null;
    }
    const size = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2)
      : bytes.readUInt32BE(2) * 2 ** 32 + bytes.readUInt32BE(6);
    if (opcode < CLOSE && this.#size + size > this.#messageBytesMax) {
      throw new FrameError(1009, "The message is too large");
    }
    this.#queue.take(headSize);
    return { fin, opcode, size };
  }

  #check(first: number, second: number, fin: boolean, opcode: number): void {
    const isControl = opcode >= CLOSE;
    if ((first & 0x70) !== 0) {
      throw new FrameError(1002, "A reserved bit is set");
    }
    if (opcode > PONG || (opcode > BINARY && opcode < CLOSE)) {
      throw new FrameError(1002, "An unknown opcode");
    }
    if ((second & 0x80) !== 0) {
      throw new FrameError(1002, "A server does not mask");
    }
    if (isControl && (!fin || (second & 0x7f) > 125)) {
      throw new FrameError(1002, "A control frame is small and whole");
    }
    if (!isControl && (opcode === 0) !== (this.#opcode !== 0)) {
      throw new FrameError(1002, "A fragment out of order");
    }
  }

  #data({ fin, opcode }: Head, payload: Buffer): void {
    this.#opcode ||= opcode;
    if (!fin || this.#fragments.length > 0) {
      this.#fragments.push(payload);
      this.#size += payload.length;
    }
    if (fin) {
      const whole = this.#fragments.length > 0
        ? Buffer.concat(this.#fragments, this.#size) : payload;
      const isText = this.#opcode === TEXT;
      this.#opcode = 0;
      this.#fragments = [];
      this.#size = 0;
      this.#sink.onMessage(isText ? toText(whole) : own(whole));
    }
  }
}

function toText(bytes: Buffer): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new FrameError(1007, "A text is not UTF-8");
  }
}

/* The application may keep it: it must not hold on to a whole read. */
function own(bytes: Buffer): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

/*
 * Masking keys must not be foreseen by a page's author (RFC 6455, 10.3): random
 * bytes, fetched for many frames at a time.
 */
const keys = Buffer.alloc(4096);
let keyAt = keys.length;

/** One frame, masked, with all of a message in it. */
export function writeFrame(
  opcode: number, payload: string | Uint8Array,
): Buffer {
  const isText = typeof payload === "string";
  const size = isText ? Buffer.byteLength(payload) : payload.length;
  const headSize = size < 126 ? 2 : size < 65536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(headSize + 4 + size);
  frame[0] = 0x80 | opcode;
  if (size < 126) {
    frame[1] = 0x80 | size;
  } else if (size < 65536) {
    frame[1] = 0x80 | 126;
    frame.writeUInt16BE(size, 2);
  } else {
    frame[1] = 0x80 | 127;
    frame.writeUInt32BE(Math.floor(size / 2 ** 32), 2);
    frame.writeUInt32BE(size >>> 0, 6);
  }
  const start = headSize + 4;
  if (isText) {
    frame.write(payload, start);
  } else {
    frame.set(payload, start);
  }
  mask(frame, headSize);
  return frame;
}

function mask(frame: Buffer, keyOffset: number): void {
  if (keyAt === keys.length) {
    randomFillSync(keys);
    keyAt = 0;
  }
  const key = keys.subarray(keyAt, keyAt + 4);
  const start = keyOffset + 4;
  keyAt += 4;
  frame.set(key, keyOffset);
  for (let i = start; i < frame.length; i++) {
    frame[i]! ^= key[(i - start) & 3]!;
  }
}

/** The payload of a close frame; a reason has at most 123 bytes. */
export function closePayload(code: number, reason: string): Buffer {
  const text = Buffer.from(reason);
  let size = Math.min(text.length, 123);
  /* Never cut inside a character: continuation bytes are 10xxxxxx. */
  while (size < text.length && (text[size]! & 0xc0) === 0x80) {
    size--;
  }
  const payload = Buffer.alloc(2 + size);
  payload.writeUInt16BE(code, 0);
  text.copy(payload, 2, 0, size);
  return payload;
}
