/**
 * The examples of docs/protocol.md, from tests/vectors/peal: what the server
 * writes is read as what it means.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { pealCodec, type Envelope } from "../src/codec.js";
import { readTcpFrame, TcpFrameReader } from "../src/tcp-frames.js";

const file = join(import.meta.dirname,
  "../../../tests/vectors/peal/server.txt");

interface Case {
  name: string;
  ws: Buffer | undefined;
  tcp: Buffer | undefined;
}

/** `[00 1b] 'text'` as bytes. */
function bytesOf(text: string): Buffer | undefined {
  const parts = [...text.matchAll(/\[([0-9a-f ]*)\]|'([^']*)'/g)];
  return parts.length === 0 ? undefined : Buffer.concat(parts.map(
    ([, hex, plain]) => hex === undefined ? Buffer.from(plain!)
      : Buffer.from(hex.replaceAll(" ", ""), "hex")));
}

const cases: Case[] = readFileSync(file, "utf8").split(/^case /m).slice(1)
  .map((block) => ({
    name: block.split("\n")[0]!,
    ws: bytesOf(/^out ws (.*)$/m.exec(block)?.[1] ?? ""),
    tcp: bytesOf(/^out tcp (.*)$/m.exec(block)?.[1] ?? ""),
  }));

/** Members without a value are as good as none. */
function plain(envelope: Envelope | null): unknown {
  return envelope && Object.fromEntries(Object.entries(envelope)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) =>
      [key, value instanceof Uint8Array ? [...value] : value]));
}

function readWs(bytes: Buffer): Envelope | null {
  return pealCodec.decode(bytes[0] === 0x7b
    ? bytes.toString() : new Uint8Array(bytes));
}

function readTcp(bytes: Buffer): (Envelope | null)[] {
  const reader = new TcpFrameReader(1000);
  return [...bytes].flatMap((_, i) =>
    [...reader.push(bytes.subarray(i, i + 1))]
      .map((frame) => readTcpFrame(frame, pealCodec)));
}

describe("the server's messages", () => {
  it("are there", () => expect(cases.length).toBeGreaterThan(10));

  /* Over TCP a goodbye is the last frame, which the transport acts on. */
  const both = cases.filter(({ name, ws, tcp }) =>
    ws && tcp && !name.startsWith("a goodbye"));
  it.each(both.map((one) => [one.name, one] as const))(
    "mean the same over both transports: %s", (_, { ws, tcp }) => {
      const text = readWs(ws!);
      const frames = readTcp(tcp!);
      expect(frames.length).toBe(1);
      expect(plain(frames[0]!)).toEqual(plain(text));
    });
});
