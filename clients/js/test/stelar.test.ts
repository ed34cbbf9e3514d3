/** The drop-in layer, against servers of both dialects. */
import { describe, expect, it, onTestFinished } from "vitest";

import StelarClient, { type StelarClientOptions } from
  "../src/stelar-node.js";
import { until } from "./support/client.js";
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

describe("with a server of the stelar dialect", () => {
  const start = async (options: StelarClientOptions = {}) => {
    const server = await startServer(
      { program: exampleProgram("stelar_interop"), args: ["0", "0"] });
    const one = client(server.ws, options);
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
    expect(await welcome).toMatchObject({ protocol: "ws" });
    expect(one.getState()).toBe("connected");
    expect(one.isConnected()).toBe(true);
    expect(one.getId()).toBeNull();
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

it("says what it cannot do", () => {
  expect(() => new StelarClient(1, { mode: "tcp", dialect: "stelar" }))
    .toThrow(/peal/);
});
