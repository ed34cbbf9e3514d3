/**
 * Servers that are broken or mean no good. Whatever they do, the client says
 * what is wrong, stays within its bounds, and its promises settle.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { deflateRawSync } from "node:zlib";

import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { WebSocketServer } from "ws";

import { writeTcpFrame } from "../src/tcp-frames.js";
import { connect, errorOf, reached, until } from "./support/client.js";
import { listen, text, upgrade } from "./support/raw.js";

const WELCOME = JSON.stringify({ event: "peal:welcome", data: {
  id: "x", protocol: 1, ping_interval_ms: 100, ping_timeout_ms: 100,
  limits: { message_bytes: 1000 },
} });

const options = { connectTimeout: 300, reconnect: false as const };
const unhandled: unknown[] = [];
process.on("unhandledRejection", (error) => unhandled.push(error));
afterEach(() => expect(unhandled).toEqual([]));

const frame = (...bytes: number[]) => Buffer.from(bytes);

describe("the opening handshake", () => {
  it.each([
    ["a wrong accept", { accept: () => "AAAA" }],
    ["an extension nobody offered",
      { headers: "Sec-WebSocket-Extensions: permessage-deflate\r\n" }],
    ["a protocol nobody offered",
      { headers: "Sec-WebSocket-Protocol: other\r\n" }],
  ])("refuses %s", async (_, how) => {
    const rt = connect(await upgrade((s) => s.write(text(WELCOME)), how),
      options);
    expect(await reached(rt, "closed"))
      .toMatchObject({ why: { name: "dial_failed" } });
    expect(rt.metrics.opened).toBe(0);
  });

  it.each([
    ["403", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", /403/],
    ["200", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", /200/],
    ["101 without upgrade", "HTTP/1.1 101 Fine\r\n\r\n", /./],
    ["another place", "HTTP/1.1 302 Found\r\nLocation: http://a.example/\r\n" +
      "Content-Length: 0\r\n\r\n", /302/],
    ["an endless status", `HTTP/1.1 ${"1".repeat(100_000)}\r\n\r\n`, /./],
    ["nonsense", "SSH-2.0-OpenSSH_9.2\r\n\r\n", /./],
  ])("tells of %s", async (_, answer, message) => {
    const at = await listen((socket) =>
      socket.once("data", () => socket.write(answer)));
    const rt = connect(`ws://${at}`, options);
    expect(await reached(rt, "closed")).toMatchObject({ final: false,
      why: { name: "dial_failed", message: expect.stringMatching(message) } });
  });

  it("comes back when a busy server asks to", async () => {
    const at = await listen((socket) => socket.once("data", () => socket.write(
      "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")));
    const before = Date.now();
    const rt = connect(`ws://${at}`, { reconnect: { min: 1 } });
    const { retryAt } = await reached(rt, "waiting");
    expect(retryAt - before).toBeGreaterThanOrEqual(7000);
  });

  it("ends endless headers", async () => {
    const at = await listen((socket) => socket.once("data", () => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\n");
      const more = () => {
        while (!socket.destroyed && socket.write(`X: ${"a".repeat(999)}\r\n`)) {
          /* On and on. */
        }
      };
      socket.on("drain", more);
      more();
    }));
    const rt = connect(`ws://${at}`, options);
    expect(await reached(rt, "closed"))
      .toMatchObject({ why: { name: "dial_failed" } });
  });

  it("does not wait for the rest of an answer", async () => {
    const at = await listen((socket) => socket.once("data", () =>
      socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: web")));
    const rt = connect(`ws://${at}`, options);
    expect(await reached(rt, "closed"))
      .toMatchObject({ why: { temporary: true } });
  });

  it.each(["ws", "tcp", "wss", "tls"])(
    "does not wait for silent %s", async (scheme) => {
    const rt = connect(`${scheme}://${await listen(() => {})}`, options);
    const asked = errorOf(rt.request("sum", 1, { timeout: 0 }));
    expect(await reached(rt, "closed"))
      .toMatchObject({ why: { name: "no_welcome" } });
    expect(await asked).toMatchObject({ name: "no_welcome" });
  });
});

describe("frames of WebSocket", () => {
  it.each([
    ["a masked frame", frame(0x81, 0x82, 1, 2, 3, 4, 0, 0), 1002],
    ["a reserved bit", text("{}", 0xc1), 1002],
    ["an unknown opcode", text("{}", 0x83), 1002],
    ["a fragment of nothing", text("{}", 0x80), 1002],
    ["a message inside a message",
      Buffer.concat([text("{", 0x01), text("}", 0x81)]), 1002],
    ["a large ping", Buffer.concat([frame(0x89, 126, 0, 126),
      Buffer.alloc(126)]), 1002],
    ["a ping in pieces", frame(0x09, 0), 1002],
    ["a text that is no UTF-8", frame(0x81, 2, 0xc3, 0x28), 1007],
    ["a frame of exabytes",
      frame(0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255), 1009],
  ])("end at %s", async (_, bytes, code) => {
    const rt = connect(await upgrade((socket) => {
      socket.write(text(WELCOME));
      socket.write(bytes);
    }), options);
    expect(await reached(rt, "closed")).toMatchObject({ code });
  });

  it.each([
    ["ws", () => upgrade((socket) => {
      socket.write(text(WELCOME));
      socket.write(text('{"event":"news"}').subarray(0, 9));
    })],
    ["tcp", async () => `tcp://${await listen((socket) => {
      socket.write(writeTcpFrame(16, WELCOME));
      socket.write(writeTcpFrame(16, '{"event":"news"}').subarray(0, 9));
    })}`],
  ] as const)("of %s end at half a frame and silence", async (_, serve) => {
    const rt = connect(await serve(), options);
    await rt.ready();
    const asked = errorOf(rt.request("sum", 1, { timeout: 0 }));
    expect(await reached(rt, "closed"))
      .toMatchObject({ why: { name: "server_silent" } });
    expect(await asked).toMatchObject({ name: "server_silent" });
    expect(rt.metrics.received).toBe(0);
  });

  it("compressed, which nobody agreed on, end it before they swell",
    async () => {
      const bomb = deflateRawSync(Buffer.alloc(64 * 1024 * 1024));
      const rt = connect(await upgrade((socket) => {
        socket.write(text(WELCOME));
        socket.write(Buffer.concat([
          frame(0xc1, 127, 0, 0, 0, 0), Buffer.from(
            [bomb.length >> 24, bomb.length >> 16, bomb.length >> 8,
              bomb.length]), bomb]));
      }), options);
      const before = process.memoryUsage().arrayBuffers;
      expect(await reached(rt, "closed")).toMatchObject({ code: 1002 });
      expect(process.memoryUsage().arrayBuffers - before)
        .toBeLessThan(16 * 1024 * 1024);
    });

  it("end at half a frame and a goodbye", async () => {
    const rt = connect(await upgrade((socket) => {
      socket.write(text(WELCOME));
      socket.end(text('{"event":"news"}').subarray(0, 9));
    }), options);
    expect(await reached(rt, "closed")).toMatchObject({ code: 1006 });
    expect(rt.metrics.received).toBe(0);
  });

  it("may come byte by byte, in fragments, with pings between", async () => {
    const bytes = Buffer.concat([
      text(WELCOME), text('{"event":', 0x01), frame(0x89, 1, 33),
      text('"n\u00fc"', 0x00), text("}", 0x80),
    ]);
    const rt = connect(await upgrade((socket) => {
      let at = 0;
      const next = () => at < bytes.length &&
        socket.write(bytes.subarray(at, ++at), next);
      next();
    }), options);
    expect(await rt.next("nü" as string)).toBeUndefined();
  });

  it("are bounded in memory when a message never ends", async () => {
    const rt = connect(await upgrade((socket) => {
      const piece = Buffer.concat([
        frame(0x00, 126, 0xff, 0xff), Buffer.alloc(0xffff, 97)]);
      socket.write(text(WELCOME));
      socket.write(text('{"event":"', 0x01));
      const more = () => {
        while (!socket.destroyed && socket.write(piece)) { /* On and on. */ }
      };
      socket.on("drain", more);
      more();
    }), { ...options, messageBytesMax: 1_000_000 });
    expect(await reached(rt, "closed")).toMatchObject({ code: 1009 });
  });
});

describe("frames of TCP", () => {
  it.each([
    ["a length below a header", frame(0, 0, 0, 6, 0, 0, 0), 1002],
    ["an event that reaches past it", frame(0, 0, 0, 8, 0, 0, 9, 1), 1002],
    ["a frame of gigabytes", frame(255, 255, 255, 255, 0, 0, 0), 1009],
    ["half a frame", frame(0, 0, 0, 20, 0, 0, 0, 1), 1006],
  ])("end at %s", async (_, bytes, code) => {
    const at = await listen((socket) => {
      socket.write(writeTcpFrame(16, WELCOME));
      socket.end(bytes);
    });
    const rt = connect(`tcp://${at}`, options);
    expect(await reached(rt, "closed")).toMatchObject({ code });
  });

  it("hear a goodbye, and answer a ping", async () => {
    const at = await listen((socket) => {
      socket.write(writeTcpFrame(6, JSON.stringify({ id: "y" })));
      socket.write(writeTcpFrame(2, "ping"));
      socket.once("data", (bytes) => socket.end(writeTcpFrame(7, JSON.stringify(
        { code: 4500, reason: bytes.toString("latin1", 7) }))));
    });
    const rt = connect(`tcp://${at}`, options);
    expect(await reached(rt, "closed")).toMatchObject({
      code: 4500, final: true,
      why: { message: expect.stringContaining(": ping") },
    });
  });
});

describe("messages", () => {
  const garbage = [
    "null", "[]", "1", "", "{", "{}", '{"event":1}', '{"event":""}',
    '{"event":{"toString":1}}', '{"data":1}',
  ];

  it("that cannot be read are counted, and told", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    onTestFinished(() => void server.close());
    server.on("connection", (socket) => {
      socket.send(WELCOME);
      garbage.forEach((one) => socket.send(one));
      socket.send(`{"event":${"[".repeat(100_000)}`);
      socket.send(Buffer.from([0, 0]));
      socket.send(Buffer.from([255, 255, 255, 255, 1]));
      for (const one of [
        '{"event":"peal:ok","id":77}', '{"event":"peal:error","id":78}',
        '{"event":"peal:unknown"}', '{"event":"peal:gap","data":{"count":"x"}}',
        '{"event":"peal:goodbye","data":7}',
        `{"event":"deep","data":${"[".repeat(1e5)}${"]".repeat(1e5)}}`,
        '{"event":"peal:welcome","data":null}',
        '{"event":"__proto__","data":{"__proto__":{"x":1}}}',
        '{"event":"constructor","id":1}', '{"event":"fine","room":7,"id":{}}',
      ]) {
        socket.send(one);
      }
      socket.send('{"event":"peal:error","data":{"code":102}}');
      socket.send('{"event":"end"}');
    });
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const rt = connect(`ws://127.0.0.1:${port}`, options);
    const errors: number[] = [];
    rt.watch("error", ({ code }) => errors.push(code));
    await rt.next("end");
    expect(rt.metrics.invalid).toBe(garbage.length + 3);
    expect(errors).toEqual([
      ...Array.from({ length: garbage.length + 3 }, () => 100), 102]);
    expect(({} as { x?: number }).x).toBeUndefined();
    expect(rt.state.name).toBe("open");
  });

  it("without end do not starve the rest of the program", async () => {
    const rt = connect(await upgrade((socket) => {
      const piece = Buffer.concat(
        Array.from({ length: 100 }, () => text('{"event":"flood"}')));
      socket.write(text(WELCOME));
      const more = () => {
        while (!socket.destroyed && socket.write(piece)) { /* On and on. */ }
      };
      socket.on("drain", more);
      more();
    }), options);
    const stream = rt.messages({ max: 10 });
    await stream.next();
    expect(await errorOf((async () => {
      for (;;) {
        await stream.next();
      }
    })())).toMatchObject({ name: "reader_too_slow" });
    await until(() => rt.metrics.received > 10_000);
    await rt.close();
    expect(rt.state.name).toBe("closed");
  });

  it("from a server that dies in silence end in time", async () => {
    const rt = connect(await upgrade((socket) => socket.write(text(WELCOME))),
      options);
    await rt.ready();
    const before = Date.now();
    const asked = errorOf(rt.request("sum", 1, { timeout: 0 }));
    expect(await reached(rt, "closed"))
      .toMatchObject({ why: { name: "server_silent" } });
    expect(await asked).toMatchObject({ name: "server_silent" });
    expect(Date.now() - before).toBeLessThan(1000);
  });

  it("do not keep a client from closing", async () => {
    const rt = connect(await upgrade((socket) => socket.write(text(WELCOME))),
      { ...options, heartbeat: false });
    await rt.ready();
    await rt.close();
    expect(rt.state.name).toBe("closed");
  });
});
