/** The small parts by themselves. */
import { describe, expect, it } from "vitest";

import { backoffDelay, defaultBackoff } from "../src/backoff.js";
import { ByteQueue } from "../src/byte-queue.js";
import { packetSize, pealCodec, utf8Size } from "../src/codec.js";
import { stelarUrl } from "../src/stelar-client.js";
import { makeUrl } from "../src/url.js";
import { closePayload, FrameReader, writeFrame } from "../src/ws-frames.js";

it("waits between nothing and a bound that grows", () => {
  const most = (attempt: number) =>
    backoffDelay(defaultBackoff, attempt, () => 0.999999);
  expect([1, 2, 3, 6, 7, 1e9].map(most))
    .toEqual([999, 1999, 3999, 29999, 29999, 29999]);
  expect(backoffDelay(defaultBackoff, 5, () => 0)).toBe(0);
});

it("counts bytes as UTF-8 has them", () => {
  for (const text of ["", "abc", "\x7f\x80", "\u07ff\u0800", "\u{1F514}é€",
    "\uffff"]) {
    expect(utf8Size(text)).toBe(Buffer.byteLength(text));
  }
  expect(packetSize(new Uint8Array(3))).toBe(3);
});

it("writes envelopes as the protocol has them", () => {
  expect(pealCodec.encode({ event: "chat", data: { text: "hello" } }))
    .toBe('{"event":"chat","data":{"text":"hello"}}');
  expect(Buffer.from(pealCodec.encode(
    { event: "image", data: new Uint8Array([0, 1, 2, 255]) }) as Uint8Array)
    .toString("latin1")).toBe('\0\0\0\x11{"event":"image"}\0\x01\x02\xff');
});

it("queues bytes and gives them out in any size", () => {
  const queue = new ByteQueue();
  const all = Buffer.from(Array.from({ length: 1000 }, (_, i) => i & 255));
  for (let at = 0; at < all.length; at += 7) {
    queue.push(all.subarray(at, at + 7));
  }
  const out: Buffer[] = [];
  for (let size = 0; queue.size >= size; size++) {
    expect(queue.peek(size)).toEqual(queue.peek(size));
    out.push(Buffer.from(queue.take(size)!));
  }
  expect(queue.take(queue.size + 1)).toBeNull();
  out.push(queue.take(queue.size)!);
  expect(Buffer.concat(out)).toEqual(all);
  expect(queue.take(0)!.length).toBe(0);
});

describe("frames", () => {
  it.each([0, 125, 126, 65535, 65536])("of %i bytes are masked", (size) => {
    const frame = writeFrame(2, new Uint8Array(size).fill(7));
    const start = size < 126 ? 2 : size < 65536 ? 4 : 10;
    const key = frame.subarray(start, start + 4);
    const payload = frame.subarray(start + 4).map((byte, i) =>
      byte ^ key[i & 3]!);
    expect(frame[1]! & 0x80).toBe(0x80);
    expect(payload.length).toBe(size);
    expect(payload.every((byte) => byte === 7)).toBe(true);
  });

  it("do not cut a reason inside a character", () => {
    const payload = closePayload(4000, "é".repeat(70));
    expect(payload.length).toBe(2 + 122);
    expect(payload.toString("utf8", 2)).toBe("é".repeat(61));
  });

  it("keep nothing of the read that brought them", () => {
    const seen: Uint8Array[] = [];
    const reader = new FrameReader(100, {
      onMessage: (packet) => seen.push(packet as Uint8Array),
      onControl: () => {},
    });
    const chunk = Buffer.concat([Buffer.from([0x82, 2, 1, 2]),
      Buffer.alloc(2), Buffer.alloc(0)]).subarray(0, 4);
    reader.push(chunk);
    chunk.fill(9);
    expect(seen).toEqual([new Uint8Array([1, 2])]);
    expect(seen[0]!.buffer.byteLength).toBe(2);
  });
});

it("makes URLs", async () => {
  expect(await makeUrl("https://example.com/rt#x"))
    .toBe("wss://example.com/rt");
  expect(await makeUrl(() => Promise.resolve(new URL("ws://h:1/"))))
    .toBe("ws://h:1/");
  expect(await makeUrl("unix:/run/p.sock")).toBe("unix:/run/p.sock");
  await expect(makeUrl("/rt")).rejects.toMatchObject({ name: "bad_option" });
});

it("reads URLs as stelar clients do", () => {
  expect(stelarUrl(undefined, {})).toBe("ws://localhost:3000");
  expect(stelarUrl(4000, {})).toBe("ws://localhost:4000");
  expect(stelarUrl("host:4000", {})).toBe("ws://host:4000");
  expect(stelarUrl("https://host/x?y=1", {})).toBe("wss://host/x?y=1");
  expect(stelarUrl("ws://host:1", { tls: true })).toBe("wss://host:1");
  expect(stelarUrl("localhost:3001", { mode: "tcp" }))
    .toBe("tcp://localhost:3002");
  expect(stelarUrl("ws://h", { mode: "tcp" })).toBe("tcp://h:3001");
  expect(stelarUrl("tcp://h:9", { mode: "tcp" })).toBe("tcp://h:9");
});
