/** The drop-in layer, against servers of both dialects. */
import { describe, expect, it, onTestFinished } from "vitest";

import BrowserClient from "../src/stelar.js";
import StelarClient, { type StelarClientOptions } from
  "../src/stelar-node.js";
import { writeTcpFrame } from "../src/tcp-frames.js";
import { until } from "./support/client.js";
import { listen, text, upgrade } from "./support/raw.js";
import { exampleProgram, startAgain, startServer, type Server }
  from "./support/server.js";

function client(url: string, options: StelarClientOptions = {}): StelarClient {
  const made = new StelarClient(url, { reconnectionDelay: 20, ...options });
  onTestFinished(() => void made.disconnect());
  return made;
}

const connected = (one: StelarClient) =>
  new Promise<void>((resolve) => one.connect(resolve));
const next = (one: StelarClient, event: string) =>
  new Promise<any>((resolve) => one.once(event, resolve));

/* In mode "tcp" a client dials the port after that of its URL. */
const urlOf = ({ ws, tcpPort }: Server, mode: "ws" | "tcp") =>
  mode === "ws" ? ws : `ws://127.0.0.1:${Number(tcpPort) - 1}`;

describe.each(["ws", "tcp"] as const)(
  "with a server of the stelar dialect over %s", (mode) => {
  const start = async (
    options: StelarClientOptions = {}, ...heartbeat: string[]
  ) => {
    const server = await startServer({
      program: exampleProgram("stelar_interop"),
      args: ["0", "0", ...heartbeat],
    });
    const one = client(urlOf(server, mode), { mode, ...options });
    return { server, one };
  };

  it("connects, and is welcomed", async () => {
    const { one } = await start();
    const order: string[] = [];
    one.on("connect", () => order.push("connect"));
    one.on("disconnect", ({ code }) => order.push(`disconnect ${code}`));
    const welcome = next(one, "welcome");
    expect(one.getState()).toBe("disconnected");
    await connected(one);
    const { id, protocol } = await welcome;
    expect(protocol).toBe(mode);
    expect(one.getState()).toBe("connected");
    expect(one.isConnected()).toBe(true);
    expect(one.getId()).toBe(mode === "ws" ? null : id);
    one.disconnect();
    expect(one.getState()).toBe("disconnected");
    expect(order).toEqual(["connect", "disconnect 1000"]);
    await connected(one);
    expect(one.getConnectTime()).toBeGreaterThan(0);
  });

  it("sends events and bytes", async () => {
    const { one } = await start();
    const all: unknown[] = [];
    one.onAll(({ event, isBinary }) => all.push([event, isBinary]));
    const echo = next(one, "echo");
    one.emit("echo", { a: [1, "ü"] });
    expect(one.getQueueSize()).toBe(1);
    one.connect();
    expect(await echo).toEqual({ a: [1, "ü"] });
    const bin = next(one, "bin");
    one.emitBinary("bin", new Uint8Array([0, 1, 255]).buffer);
    const got: ArrayBuffer = await bin;
    expect(got).toBeInstanceOf(ArrayBuffer);
    expect([...new Uint8Array(got)]).toEqual([0, 1, 255]);
    expect(all).toEqual([["welcome", undefined], ["echo", undefined],
      ["bin", true]]);
    expect(one.getMessagesSent()).toBe(2);
    expect(one.getMessagesReceived()).toBe(3);
  });

  it("asks", async () => {
    const { one } = await start({ ackTimeout: 300 });
    await connected(one);
    expect(await one.request("calc", { a: 1, b: 2 }, "sum"))
      .toEqual({ sum: 3 });
    const acked = new Promise((resolve) => one.onAck("sum", resolve));
    one.emit("calc", { a: 3, b: 4 }, { ack: "sum" });
    expect(await acked).toEqual({ sum: 7 });
    await expect(one.request("x", null, "slow")).rejects
      .toMatchObject({ name: "timeout" });
    await expect(one.request("x", null, "fail")).rejects
      .toMatchObject({ name: "timeout" });
  });

  it("joins and leaves rooms", async () => {
    const { server, one } = await start();
    const other = client(server.ws);
    await Promise.all([connected(one), connected(other)]);
    const joined = next(one, "joined-room");
    one.joinRoom("lobby");
    expect(await joined).toBe("lobby");
    const chat = next(one, "chat");
    other.emit("room", { room: "lobby", event: "chat", data: "hi" });
    expect(await chat).toBe("hi");
    const left = next(one, "left-room");
    one.leaveRoom("lobby");
    expect(await left).toBe("lobby");
    const rooms = next(one, "rooms");
    one.emit("rooms");
    expect(await rooms).toEqual([]);
    one.disconnect();
    const later = next(one, "joined-room");
    one.joinRoom("gone").joinRoom("tower").leaveRoom("gone");
    await connected(one);
    expect(await later).toBe("tower");
  });

  it("is in its rooms again, whatever was asked when the server went",
    async () => {
      const { server, one } = await start();
      const other = client(server.ws);
      await Promise.all([connected(one), connected(other)]);
      server.pause();
      one.joinRoom("lobby");
      one.emit("echo", "lost");
      await server.end("SIGKILL");
      const joined = next(one, "joined-room");
      await startServer({
        program: exampleProgram("stelar_interop"),
        args: [server.wsPort, server.tcpPort],
      });
      await joined;
      const back = next(one, "chat");
      await until(() => other.isConnected());
      other.emit("room", { room: "lobby", event: "chat", data: "again" });
      expect(await back).toBe("again");
    });

  it("says nothing without data, and no more than may be", async () => {
    const { one } = await start({ maxPayloadSize: 100 });
    await connected(one);
    const echo = next(one, "echo");
    one.emit("echo");
    expect(await echo).toBeOneOf([null, undefined]);
    const error = next(one, "error");
    one.emit("echo", "x".repeat(100));
    expect(await error).toMatchObject({ name: "too_large" });
    one.updateOptions({ maxPayloadSize: 1000 });
    one.disconnect();
    await connected(one);
    const long = next(one, "echo");
    one.emit("echo", "x".repeat(100));
    expect(await long).toHaveLength(100);
  });

  it("stays while it is silent", async () => {
    const { one } = await start({ heartbeatInterval: 50 }, "60", "200");
    let losses = 0;
    one.on("disconnect", () => losses++);
    await connected(one);
    /* Three times as long as the server waits for a sign of life. */
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(losses).toBe(0);
  });

  it("tells which events may be lost with a connection", async () => {
    const { server, one } = await start();
    const told: unknown[] = [];
    one.updateOptions({ hooks: { onError: ({ error, message }) =>
      message && told.push([message, error.name]) } });
    await connected(one);
    const echo = next(one, "echo");
    for (let n = 0; n < 120; n++) {
      one.emit("echo", n);
    }
    await echo;
    /* The first hundred have been asked after, by a ping. */
    await until(() => one.getMessagesReceived() > 120);
    server.pause();
    one.emit("echo", "last");
    await server.end("SIGKILL");
    await until(() => one.getState() === "reconnecting");
    expect(told.at(-1)).toEqual(
      [{ event: "echo", data: "last" }, "connection_lost"]);
    expect(told.length).toBeLessThan(30);
  });

  it("settles what waits when the server goes", async () => {
    const { server, one } = await start({ reconnectionAttempts: 2 });
    const events: unknown[] = [];
    one.on("reconnecting", (n) => events.push(n));
    const failed = next(one, "reconnect_failed");
    await connected(one);
    const asked = one.request("x", null, "slow").catch((error) => error.name);
    await server.end("SIGKILL");
    expect(await asked).toBe("connection_lost");
    await failed;
    expect(events).toEqual([1, 2]);
    expect(one.getState()).toBe("disconnected");
    expect(one.getLastError()).toBeInstanceOf(Error);
  });

  it("cannot be told by a server that it is disconnected", async () => {
    const { one } = await start();
    let calls = 0;
    one.on("disconnect", () => calls++);
    await connected(one);
    one.emit("echo", 1);
    await next(one, "echo");
    expect(calls).toBe(0);
  });
});

describe.each([
  ["ws", (server: Server) => server.ws],
  ["tcp", (server: Server) => server.tcp],
] as const)("with a server of the peal dialect over %s", (mode, url) => {
  it("does the same", async () => {
    const server = await startServer();
    const changes: string[] = [];
    const one = client(url(server), {
      mode, dialect: "peal",
      hooks: { onStateChange: ({ to }) => changes.push(to) },
    });
    await connected(one);
    expect(one.getId()).toMatch(/-/);
    expect(await one.request("calc", { a: 1, b: 2 }, "sum"))
      .toEqual({ sum: 3 });
    const joined = next(one, "joined-room");
    one.joinRoom("lobby");
    await joined;
    const drained = new Promise((resolve) =>
      one.updateOptions({ hooks: { onQueueDrained: resolve } }));
    await server.end("SIGKILL");
    await until(() => one.getState() === "reconnecting");
    const queued: unknown[] = [];
    one.updateOptions({ hooks: {
      onMessageQueued: (info) => queued.push(info) } });
    one.emit("number", { client: 1, n: 1 });
    const again = await startAgain(server);
    expect(await drained).toEqual({ count: 1 });
    expect(queued).toEqual([
      { event: "number", data: { client: 1, n: 1 }, queueSize: 1 }]);
    await until(() => again.lines.includes("number 1 1"));
    expect(changes).toEqual(
      ["connecting", "connected", "reconnecting", "connected"]);
    one.off("x").removeAllListeners();
    expect(one.getOptions()).toMatchObject(
      { mode, reconnection: true, hasCustomReconnectDelay: false });
  });
});

it.each(["ws", "tcp"] as const)(
  "notices over %s that the server is dead", async (mode) => {
  const server = await startServer(
    { program: exampleProgram("stelar_interop"), args: ["0", "0"] });
  const one = client(urlOf(server, mode),
    { mode, heartbeatInterval: 50, ackTimeout: 50 });
  await connected(one);
  const lost = next(one, "disconnect");
  server.pause();
  expect((await lost).reason).toMatch(/no sign of life/);
});

it("says what it cannot do", () => {
  expect(() => new BrowserClient(1, { mode: "tcp" })).toThrow(/Node/);
});

it("takes the accept of an original server only when told to", async () => {
  const url = await upgrade((socket) => {
    socket.write(text('{"event":"hello","data":1}'));
  }, { accept: () => "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" });
  const strict = client(url, { reconnection: false });
  const refused = next(strict, "error");
  strict.connect();
  expect((await refused).message).toMatch(/does not speak WebSocket/);
  const relaxed = client(url, { acceptAnyKey: true });
  const hello = next(relaxed, "hello");
  await connected(relaxed);
  expect(await hello).toBe(1);
});

it("takes nothing of an original server for the protocol's", async () => {
  const url = await upgrade((socket) => {
    for (const name of ["peal:ok", "peal:error", "peal:goodbye"]) {
      socket.write(text(JSON.stringify(
        { event: name, data: { id: 1, retry_after_ms: 1e6 } })));
    }
    socket.write(text('{"event":"odd","data":{"toString":1}}'));
  });
  const one = client(url);
  const errors: unknown[] = [];
  one.on("error", (error) => errors.push(error));
  const odd = next(one, "odd");
  one.connect();
  expect(await odd).toEqual({ toString: 1 });
  expect(errors).toEqual([]);
  expect(one.getMessagesReceived()).toBe(1);
});

it("reads the frames of an original server", async () => {
  const seen: Buffer[] = [];
  const at = await listen((socket) => {
    socket.on("data", (bytes) => seen.push(bytes));
    for (const [type, event, payload] of [
      [7, "connect", "the id"], [1, "first", "1"], [1, "no json", "{"],
      [99, "later", ""], [6, "sum", '{"sum":3}'], [3, "", ""],
      [2, "bytes", "ab"], [11, "error", "Rate limit exceeded"],
    ] as const) {
      socket.write(writeTcpFrame(type, payload, event));
    }
    socket.end();
  });
  const one = client(`tcp://${at}`, { mode: "tcp", reconnection: false });
  const events: unknown[] = [];
  one.onAll(({ event }) => events.push(event));
  const closed = new Promise<any>((resolve) => one.on("disconnect", resolve));
  one.connect();
  expect(await closed).toMatchObject({ code: 1008,
    reason: expect.stringContaining("Rate limit exceeded") });
  expect(events).toEqual(["first", "bytes"]);
  expect(Buffer.concat(seen)).toEqual(
    Buffer.from([0, 0, 0, 7, 4, 0, 0]));
});
