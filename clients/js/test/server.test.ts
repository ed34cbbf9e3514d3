/** Everything that a client says and hears, against the real server. */
import { connect as dial, type Socket } from "node:net";

import { describe, expect, it, onTestFinished } from "vitest";

import { WebSocket as ForeignWebSocket } from "ws";

import { PealError, type Gap } from "../src/node.js";
import { connect, errorOf, reached, until } from "./support/client.js";
import { listen } from "./support/raw.js";
import { exampleProgram, startServer } from "./support/server.js";

describe.each(["ws", "tcp"] as const)("over %s", (transport) => {
  const start = async (options = {}) => {
    const server = await startServer();
    const rt = connect(server[transport], options);
    await rt.ready();
    return { server, rt };
  };

  it("sends and hears events", async () => {
    const { rt } = await start();
    const data = { text: "hëllo \u{1F514}", n: [1, 2.5, null, true] };
    const [echo] = await Promise.all([
      rt.next("echo"), Promise.resolve(rt.emit("echo", data)),
    ]);
    expect(echo).toEqual(data);
    rt.emit("echo");
    expect(await rt.next("echo")).toBeUndefined();
    expect(rt.id).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("asks, and is refused with a code", async () => {
    const { rt } = await start();
    expect(await rt.request("sum", { a: 1, b: 2 })).toEqual({ sum: 3 });
    expect(await errorOf(rt.request("fail"))).toMatchObject({
      code: 1000, name: "sold_out", temporary: true,
      docs: expect.stringContaining("sold_out"),
    });
    expect(await errorOf(rt.request("nobody")))
      .toMatchObject({ code: 101, name: "unknown_event" });
    expect(await errorOf(rt.request("slow", null, { timeout: 30 })))
      .toMatchObject({ name: "timeout", temporary: true });
    expect(rt.metrics.pending).toBe(0);
  });

  it("gives up at a signal", async () => {
    const { rt } = await start();
    const stop = new AbortController();
    const asked = rt.request("slow", null, { signal: stop.signal });
    stop.abort(new Error("enough"));
    expect((await errorOf(asked)).message).toBe("enough");
    expect(await errorOf(rt.request("slow", null, { signal: stop.signal })))
      .toBe(stop.signal.reason);
  });

  it("answers the server", async () => {
    const { rt } = await start();
    rt.answer("where", ({ unit }) => Promise.resolve({ unit, x: 1 }));
    expect(await rt.request("ask", { name: "where", data: { unit: "km" } }))
      .toMatchObject({ status: 0, data: { unit: "km", x: 1 } });
    rt.answer("bytes", () => new Uint8Array([7, 8]));
    expect(await rt.request("ask", { name: "bytes" }))
      .toEqual(new Uint8Array([7, 8]));
    expect(await rt.request("ask", { name: "unknown" }))
      .toMatchObject({ code: 101, name: "unknown_event" });
    rt.on("noted", () => {});
    expect(await rt.request("ask", { name: "noted" }))
      .toMatchObject({ status: 0 });
  });

  it("says how it failed to answer, but no secrets", async () => {
    const { rt } = await start();
    const errors: unknown[] = [];
    rt.watch("error", (error) => errors.push(error.cause));
    rt.answer("camera", () => {
      throw new PealError({ code: 1000, name: "no_camera" });
    });
    expect(await rt.request("ask", { name: "camera" }))
      .toMatchObject({ code: 1000, name: "no_camera" });
    rt.answer("broken", () => { throw new Error("secret"); });
    expect(await rt.request("ask", { name: "broken" }))
      .toMatchObject({ code: 107, name: "internal" });
    expect(errors).toMatchObject([{ message: "secret" }]);
  });

  it("carries bytes of every type", async () => {
    const { rt } = await start();
    const bytes = new Uint8Array([0, 1, 2, 255]);
    for (const data of [
      bytes, bytes.buffer, new DataView(bytes.buffer), Buffer.from(bytes),
      bytes.subarray(0),
    ]) {
      expect(await rt.request("echo", data)).toEqual(bytes);
    }
    expect(await rt.request("echo", bytes.subarray(1, 3)))
      .toEqual(new Uint8Array([1, 2]));
    expect(await rt.request("echo", new Uint8Array(0)))
      .toEqual(new Uint8Array(0));
    const large = new Uint8Array(1024 * 1024).map((_, i) => i * 7);
    expect(Buffer.compare(await rt.request("echo", large), large)).toBe(0);
    expect(() => rt.emit("echo", new Blob(["x"]))).toThrow(/sendFile/);
  });

  it("sends a file, and tells how far it is", async () => {
    const { rt } = await start();
    const progress: number[] = [];
    const file = new Blob([new Uint8Array(3 * 1024 * 1024)]);
    const answer = await rt.sendFile("echo", file, {
      onProgress: (sent, total) => {
        expect(total).toBe(file.size);
        progress.push(sent);
      },
    }) as Uint8Array;
    expect(answer.length).toBe(file.size);
    expect(progress[0]).toBe(0);
    expect(progress.at(-1)).toBe(file.size);
    expect([...progress].sort((a, b) => a - b)).toEqual(progress);
    expect(await errorOf(rt.sendFile("echo",
      new Blob([new Uint8Array(5 * 1024 * 1024)]))))
      .toMatchObject({ name: "too_large" });
  });

  it("does not send what the server would not take", async () => {
    const { rt } = await start();
    expect(() => rt.emit("echo", "x".repeat(5_000_000))).toThrow(/takes/);
    expect(() => rt.emit("")).toThrow();
    expect(() => rt.emit("peal:welcome")).toThrow();
    expect(() => rt.emit("é".repeat(129))).toThrow();
    const circle: Record<string, unknown> = {};
    circle.circle = circle;
    expect(await errorOf(rt.request("echo", circle)))
      .toMatchObject({ name: "bad_message" });
    expect(await rt.request("sum", { a: 2, b: 2 })).toEqual({ sum: 4 });
  });

  it("knows that an event has arrived", async () => {
    const { rt } = await start();
    expect(await rt.emit("echo", 1, { ack: true })).toBe(1);
    expect(await errorOf(rt.emit("nobody", 1, { ack: true })))
      .toMatchObject({ name: "unknown_event" });
  });

  it("talks in rooms", async () => {
    const { server, rt } = await start();
    const other = connect(server.ws);
    const here = rt.room("lobby");
    const there = other.room("lobby");
    await Promise.all([here.ready(), there.ready()]);
    const heard: unknown[] = [];
    here.on("chat", (data, meta) => heard.push([data, meta.room]));
    rt.on("chat", (data) => heard.push(data));
    rt.room("elsewhere").on("chat", () => heard.push("wrong"));
    await there.emit("chat", { text: "hi" }, { ack: true });
    await there.emit("chat", new Uint8Array([1]), { ack: true });
    await rt.ping();
    expect(heard).toEqual([
      [{ text: "hi" }, "lobby"], { text: "hi" },
      [new Uint8Array([1]), "lobby"], new Uint8Array([1]),
    ]);
    await here.leave();
    expect(here.state).toBe("left");
    expect(await errorOf(here.emit("chat", 1, { ack: true })))
      .toMatchObject({ name: "not_allowed" });
    expect(await errorOf(rt.room("private-1").ready()))
      .toMatchObject({ code: 102 });
    expect(rt.room("private-1", { join: false }).state).toBe("refused");
    expect(rt.room("lobby")).toBe(here);
    await here.ready();
  });

  it("streams a room", async () => {
    const { server, rt } = await start();
    const other = connect(server.tcp);
    const room = rt.room("lobby");
    const there = other.room("lobby");
    await Promise.all([room.ready(), there.ready()]);
    const stream = room.messages();
    for (let n = 0; n < 5; n++) {
      there.emit("n", n);
    }
    const seen: unknown[] = [];
    for await (const { event, data } of stream) {
      seen.push([event, data]);
      if (seen.length === 5) {
        break;
      }
    }
    expect(seen).toEqual([0, 1, 2, 3, 4].map((n) => ["n", n]));
    const narrow = room.messages({ max: 2 });
    for (let n = 0; n < 3; n++) {
      await there.emit("n", n, { ack: true });
    }
    await rt.ping();
    await narrow.next();
    await narrow.next();
    expect(await errorOf(narrow.next()))
      .toMatchObject({ name: "reader_too_slow" });
    const rest = room.messages();
    void room.leave();
    expect(await rest.next()).toEqual({ done: true, value: undefined });
  });

  it("ends with `using`", async () => {
    const { rt } = await start();
    let calls = 0;
    {
      using _ = rt.on("echo", () => calls++);
      await rt.request("echo", 1);
      rt.emit("echo");
      await rt.next("echo");
    }
    rt.emit("echo");
    await rt.next("echo");
    expect(calls).toBe(1);
    let room;
    {
      using inside = rt.room("lobby");
      room = inside;
      await room.ready();
    }
    expect(room.state).toBe("left");
  });

  it("hears 10,000 events in order", async () => {
    const { rt } = await start();
    const numbers: number[] = [];
    const all = new Promise<void>((resolve) => rt.on("number", (n) => {
      numbers.push(n);
      if (numbers.length === 10_000) {
        resolve();
      }
    }));
    rt.emit("count", { n: 10_000 });
    await all;
    expect(numbers).toEqual(numbers.map((_, i) => i));
  });

  it("closes, and settles all that waits", async () => {
    const { rt } = await start();
    const asked = errorOf(rt.request("slow"));
    const stream = rt.messages();
    const next = errorOf(rt.next("never", { timeout: 0 }));
    await rt.close();
    expect(rt.state).toMatchObject({ name: "closed", code: 1000, final: true });
    expect(await asked).toMatchObject({ name: "closed" });
    expect(await next).toMatchObject({ name: "closed" });
    expect(await stream.next()).toMatchObject({ done: true });
    expect(await errorOf(rt.request("sum"))).toMatchObject({ name: "closed" });
    expect(rt.emit("echo")).toBe(false);
    await rt.connect().ready();
    expect(await rt.request("sum", { a: 1, b: 1 })).toEqual({ sum: 2 });
  });

  it("stays away when the server says so, and comes back else", async () => {
    const { rt } = await start();
    rt.emit("kick", { code: 4000 });
    expect(await reached(rt, "waiting"))
      .toMatchObject({ why: { name: "connection_lost" } });
    expect(await reached(rt, "open")).toMatchObject({ reopened: true });
    rt.emit("kick", { code: 4500 });
    expect(await reached(rt, "closed"))
      .toMatchObject({ code: 4500, final: true });
  });

  it("notices a server that stops", async () => {
    const { server, rt } = await start({ reconnect: false });
    await server.end("SIGTERM");
    expect(await reached(rt, "closed")).toMatchObject({
      code: 1001, final: false,
      why: { message: expect.stringContaining("1001") },
    });
  });

  it("lets hooks look on and step in", async () => {
    const seen: unknown[] = [];
    const { rt } = await start({
      hooks: {
        onState: ({ name }: { name: string }) => seen.push(name),
        beforeEmit: ({ event }: { event: string }) => event !== "stopped",
        onMessage: ({ event, data }: { event: string; data: unknown }) => {
          seen.push([event, data]);
          return data !== "hidden";
        },
      },
    });
    rt.on("echo", (data) => seen.push(data));
    expect(rt.emit("stopped")).toBe(false);
    expect(await errorOf(rt.request("stopped")))
      .toMatchObject({ name: "cancelled" });
    rt.emit("echo", "hidden");
    rt.emit("echo", "shown");
    await rt.next("echo");
    rt.updateOptions({ hooks: { onState: () => { throw new Error("x"); } } });
    const errors: string[] = [];
    rt.watch("error", ({ name }) => errors.push(name));
    await rt.close();
    expect(errors).toEqual(["handler_failed"]);
    expect(seen).toEqual(["connecting", "open", ["echo", "hidden"],
      ["echo", "shown"], "shown"]);
  });

  it("keeps counts", async () => {
    const { rt } = await start();
    await rt.request("echo", "ü");
    await rt.ping();
    expect(rt.metrics).toMatchObject({
      sent: 1, received: 0, opened: 1, queued: 0, pending: 0, invalid: 0,
      sentBytes: Buffer.byteLength('{"event":"echo","id":2,"data":"ü"}'),
      roundTripMs: expect.any(Number), connectMs: expect.any(Number),
    });
  });
});

it.each(["ws", "tcp"] as const)(
  "tells over %s what the server dropped, and where", async (transport) => {
    const COUNT = 16_000;
    const server = await startServer({ env: { PEAL_DROP: "1" } });
    const inner = dial(Number(server[`${transport}Port`]), "127.0.0.1");
    let outer: Socket;
    onTestFinished(() => void inner.destroy());
    const at = await listen((socket) => {
      outer = socket;
      socket.pipe(inner).pipe(socket);
    });
    const rt = connect(`${transport}://${at}`, { reconnect: false });
    const room = rt.room("flood");
    const told: ({ n: number } | Gap)[] = [];
    const otherGaps: Gap[] = [];
    room.on("number", (news) => told.push(news));
    room.watch("gap", (gap) => told.push(gap));
    rt.room("other", { join: false }).watch("gap", (g) => otherGaps.push(g));
    await room.ready();
    /* It reads nothing, until the server has said all there is to say. */
    inner.unpipe(outer!).pause();
    await connect(server.ws).request("flood", { n: COUNT }, { timeout: 0 });
    inner.pipe(outer!);
    await rt.request("echo", 1, { timeout: 0 });
    let next = 0;
    for (const one of told) {
      if ("count" in one) {
        expect(one).toMatchObject({ room: "flood", reason: "drop_oldest" });
        next += one.count;
      } else {
        expect(one.n).toBe(next++);
      }
    }
    expect(next).toBe(COUNT);
    expect(rt.metrics.missed).toBeGreaterThan(0);
    expect(rt.metrics.missed + rt.metrics.received).toBe(COUNT);
    expect(otherGaps).toEqual([]);
  }, 60_000);

it("brings a token to each dial", async () => {
  const server = await startServer();
  const asked: unknown[] = [];
  const rt = connect(server.ws, {
    token: async (request) => {
      asked.push(request);
      return "a b&c";
    },
  });
  await rt.ready();
  rt.emit("kick", { code: 4000 });
  await reached(rt, "waiting");
  await reached(rt, "open");
  expect(asked).toEqual([
    { reason: "connect", attempt: 1 }, { reason: "reconnect", attempt: 2 },
  ]);
  const refused = connect(server.tcp, { token: "x" });
  expect(await reached(refused, "closed"))
    .toMatchObject({ why: { name: "bad_option" }, final: true });
});

it("asks where the pings of the server are not seen", async () => {
  const server = await startServer({ env: { PEAL_PING_MS: "100" } });
  const rt = connect(server.ws, { WebSocket: ForeignWebSocket });
  await rt.ready();
  await until(() => rt.metrics.roundTripMs !== undefined);
  expect(await rt.request("echo", new Uint8Array([1])))
    .toEqual(new Uint8Array([1]));
  expect(rt.metrics.opened).toBe(1);
});

it("has nothing to say to a server without a welcome", async () => {
  const server = await startServer({ program: exampleProgram("echo") });
  const rt = connect(server.ws, { connectTimeout: 100, reconnect: false });
  expect(await reached(rt, "closed"))
    .toMatchObject({ why: { name: "no_welcome" }, final: false });
});
