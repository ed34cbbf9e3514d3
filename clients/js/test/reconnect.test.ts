/** What becomes of a client when its server goes and comes back. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it, vi } from "vitest";

import { connect as connectFake, PealError, type Client, type Drop }
  from "../src/index.js";
import { FakeServer } from "../src/testing.js";
import { connect, errorOf, reached, until } from "./support/client.js";
import { startAgain, startServer } from "./support/server.js";

describe.each(["ws", "tcp"] as const)("over %s", (transport) => {
  it("comes back to a server that was started again", async () => {
    const first = await startServer();
    const rt = connect(first[transport]);
    const room = rt.room("lobby");
    await room.ready();
    const asked = errorOf(rt.request("slow"));
    await first.end("SIGKILL");
    await reached(rt, "waiting");
    expect(await asked).toMatchObject({ name: "connection_lost" });
    expect(room.state).toBe("joining");
    const late = rt.request("sum", { a: 1, b: 2 });
    const second = await startAgain(first);
    expect(await reached(rt, "open")).toMatchObject({ reopened: true });
    expect(await late).toEqual({ sum: 3 });
    await room.ready();
    const other = connect(second.ws);
    const there = other.room("lobby");
    await there.ready();
    there.emit("chat", "again");
    const stream = room.messages();
    expect(await stream.next()).toMatchObject({ value: { data: "again" } });
  });

  it("sends in order what was said while it was away", async () => {
    const first = await startServer();
    const rt = connect(first[transport]);
    await rt.ready();
    await first.end("SIGKILL");
    await reached(rt, "waiting");
    for (let n = 0; n < 50; n++) {
      expect(rt.emit("number", { client: 1, n })).toBe(true);
    }
    const watch = rt.watch("state", ({ name }) => {
      if (name === "open") {
        rt.emit("number", { client: 1, n: 50 });
        watch.off();
      }
    });
    expect(rt.metrics.queued).toBe(50);
    const drained = new Promise((resolve) => rt.watch("drained", resolve));
    const second = await startAgain(first);
    expect(await drained).toEqual({ count: 51 });
    await until(() => second.lines.length === 51);
    expect(second.lines).toEqual(
      second.lines.map((_, n) => `number 1 ${n}`));
  });
});

it.each(["ws", "tcp"] as const)(
  "comes back over %s when the server's goodbye says", async (transport) => {
    const server = await startServer({ env: { PEAL_RETURN_MS: "3600000" } });
    const clients = Array.from({ length: 8 }, () => connect(server[transport]));
    await Promise.all(clients.map((rt) => rt.ready()));
    const told = Promise.all(clients.map((rt) => reached(rt, "waiting")));
    const before = Date.now();
    await server.end("SIGTERM");
    const waits = (await told).map(({ retryAt }) => retryAt - before);
    /* Its own bound is 200 ms: that none is above by chance, never happens. */
    expect(Math.max(...waits)).toBeGreaterThan(1000);
    expect(Math.max(...waits)).toBeLessThan(3_700_000);
    expect(new Set(waits).size).toBe(clients.length);
    expect(clients[0]!.state).toMatchObject({
      why: { message: expect.stringMatching(/1001: server is stopping/) } });
  });

function fake(options = {}, serverOptions = {}) {
  const server = new FakeServer(serverOptions);
  const rt = connectFake("ws://fake/", {
    WebSocket: server.WebSocket, reconnect: { min: 1, max: 5 }, ...options,
  });
  return { server, rt };
}

describe("the outbox", () => {
  it("lets go of the oldest, and says so", async () => {
    const { server, rt } = fake(
      { outbox: { max: 3, overflow: "drop-oldest" }, autoConnect: false });
    const drops: Drop[] = [];
    rt.watch("drop", (drop) => drops.push(drop));
    const asked = errorOf(rt.request("first"));
    for (let n = 0; n < 4; n++) {
      expect(rt.emit("n", n)).toBe(true);
    }
    expect(await asked).toMatchObject({ name: "dropped" });
    expect(drops).toMatchObject(
      [{ event: "n", data: 0, error: { name: "dropped" } }]);
    const peer = await (rt.connect(), server.accept());
    expect(await Promise.all([1, 2, 3].map(async () =>
      (await peer.next("n")).data))).toEqual([1, 2, 3]);
    expect(rt.metrics).toMatchObject({ queued: 0, queuedBytes: 0, dropped: 2 });
    await rt.close();
  });

  it("refuses the newest, and says so", async () => {
    const { rt } = fake({ outbox: { max: 10, maxBytes: 60 },
      autoConnect: false });
    const drops: Drop[] = [];
    rt.watch("drop", (drop) => drops.push(drop));
    expect(rt.emit("n", "x".repeat(20))).toBe(true);
    expect(rt.emit("n", "y".repeat(20))).toBe(false);
    expect(drops).toMatchObject([{ error: { name: "outbox_full" } }]);
    expect(await errorOf(rt.emit("n", "z".repeat(20), { ack: true })))
      .toMatchObject({ name: "outbox_full" });
    expect(await errorOf(rt.request("n", 1, { queue: false })))
      .toMatchObject({ name: "not_open" });
    await rt.close();
    expect(drops.at(-1)).toMatchObject({ error: { name: "closed" } });
    expect(drops.length).toBe(2);
  });

  it("forgets what was given up", async () => {
    const { server, rt } = fake({ autoConnect: false });
    const stop = new AbortController();
    const asked = errorOf(rt.request("n", 1, { signal: stop.signal }));
    const timed = errorOf(rt.request("n", 2, { timeout: 1 }));
    rt.emit("n", 3);
    stop.abort();
    await Promise.all([asked, timed]);
    expect(rt.metrics.queued).toBe(1);
    const peer = await (rt.connect(), server.accept());
    expect(await peer.next("n")).toMatchObject({ data: 3 });
    await rt.close();
  });

  it("takes up no more room for what was given up", async () => {
    const { server, rt } = fake({ autoConnect: false });
    rt.emit("n", "first");
    const asked = Array.from({ length: 900 }, (_, n) =>
      errorOf(rt.request("n", n, { timeout: 1 })));
    rt.emit("n", "last");
    await Promise.all(asked);
    expect(rt.metrics.queued).toBe(2);
    const peer = await (rt.connect(), server.accept());
    expect([(await peer.next("n")).data, (await peer.next("n")).data])
      .toEqual(["first", "last"]);
    await rt.close();
  });

  it("is let out at a pace", async () => {
    vi.useFakeTimers();
    try {
      const { server, rt } = fake(
        { outbox: { rate: 100 }, autoConnect: false });
      for (let n = 0; n < 100; n++) {
        rt.emit("n", n);
      }
      rt.connect();
      const peer = await server.accept();
      await vi.advanceTimersByTimeAsync(500);
      expect(peer.received.length).toBeGreaterThan(40);
      expect(peer.received.length).toBeLessThan(60);
      rt.emit("n", 100);
      await vi.advanceTimersByTimeAsync(600);
      expect(peer.received.map(({ data }) => data))
        .toEqual(Array.from({ length: 101 }, (_, n) => n));
      await rt.close();
    } finally {
      vi.useRealTimers();
    }
  });

  it("reports what went out and was not confirmed", async () => {
    const { server, rt } = fake();
    const drops: unknown[] = [];
    rt.watch("drop", ({ data, error }) => drops.push([data, error.name]));
    const peer = await server.accept();
    await rt.ready();
    rt.emit("n", 1);
    await rt.ping();
    rt.emit("n", 2);
    server.isSilent = true;
    rt.emit("n", 3);
    peer.close(1006);
    await reached(rt, "waiting");
    expect(drops).toEqual(
      [[2, "connection_lost"], [3, "connection_lost"]]);
    server.isSilent = false;
    await reached(rt, "open");
    for (let n = 0; n < 250; n++) {
      rt.emit("n", n);
    }
    const again = await server.accept();
    await until(() => again.received.length === 250);
    await rt.ping();
    again.close(1006);
    await reached(rt, "waiting");
    expect(drops.length).toBe(2);
    await rt.close();
  });

  it("reports what a new limit of the server forbids", async () => {
    const { rt } = fake({ autoConnect: false }, { messageBytes: 50 });
    const drops: Drop[] = [];
    rt.watch("drop", (drop) => drops.push(drop));
    rt.emit("n", "x".repeat(100));
    rt.connect();
    await rt.flush();
    expect(drops).toMatchObject([{ error: { name: "too_large" } }]);
    await rt.close();
  });
});

describe("the way back", () => {
  it("waits longer and longer, and gives up", async () => {
    const { server, rt } = fake({
      reconnect: { min: 4, max: 10, attempts: 3 }, autoConnect: false });
    const states: string[] = [];
    rt.watch("state", ({ name }) => states.push(name));
    server.isDown = true;
    rt.emit("n");
    const dropped = new Promise((resolve) => rt.watch("drop", resolve));
    const ready = errorOf(rt.connect().ready());
    expect(await ready).toMatchObject({ name: "dial_failed" });
    expect(rt.state).toMatchObject({ name: "closed", final: false });
    expect(server.dials).toBe(4);
    expect(await dropped).toMatchObject({ error: { name: "dial_failed" } });
    expect(states.filter((name) => name === "waiting").length).toBe(3);
    server.isDown = false;
    await rt.connect().ready();
    await rt.close();
  });

  it("does not start anew after a welcome that did not last", async () => {
    const { server, rt } = fake({ reconnect: { min: 1, max: 2, attempts: 3 } });
    for (let i = 0; i < 4; i++) {
      (await server.accept()).close(1006);
    }
    expect(await reached(rt, "closed")).toMatchObject({ final: false });
  });

  it("begins when a goodbye says, and then as ever", async () => {
    const { server, rt } = fake({ reconnect: { min: 1e6, max: 1e6 } });
    await rt.ready();
    server.isDown = true;
    server.closeAll(1001, "stopping", 30);
    const first = await reached(rt, "waiting");
    expect(first.retryAt - Date.now()).toBeLessThanOrEqual(30);
    await reached(rt, "connecting");
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const { retryAt } = await reached(rt, "waiting");
    vi.restoreAllMocks();
    expect(retryAt - Date.now()).toBeGreaterThan(400_000);
    await rt.close();
  });

  it.each([-1, "7", null, {}, 1e12])(
    "does not trust a goodbye that says %j", async (time) => {
      const { server, rt } = fake();
      await rt.ready();
      server.closeAll(1001, "", time as number);
      const { retryAt } = await reached(rt, "waiting");
      expect(retryAt - Date.now()).toBeLessThanOrEqual(
        time === 1e12 ? 3_600_000 : 5);
      await rt.close();
    });

  it("takes the application's own delay", async () => {
    const asked: unknown[] = [];
    const { server, rt } = fake({ reconnect: {
      delay: (attempt: number, why: Error) => {
        asked.push([attempt, why.name]);
        return 1;
      },
    } });
    (await server.accept()).close(1001);
    await server.accept();
    await rt.close();
    expect(asked).toEqual([[1, "connection_lost"]]);
  });

  it("asks for each token again, and knows a final no", async () => {
    let asked = 0;
    const { rt, server } = fake({ token: () => {
      if (++asked === 1) {
        throw new Error("not now");
      } else if (asked === 3) {
        throw new PealError({ code: 1001, name: "logged_out" });
      }
      return "t";
    } });
    const peer = await server.accept();
    expect(peer.url).toBe("ws://fake/?token=t");
    await rt.ready();
    peer.close(1006);
    expect(await reached(rt, "closed"))
      .toMatchObject({ final: true, why: { name: "logged_out" } });
  });

  it("settles whatever comes of a token that never comes", async () => {
    const { rt } = fake({ token: () => new Promise(() => {}),
      connectTimeout: 5, reconnect: false });
    expect(await errorOf(rt.ready())).toMatchObject({ name: "dial_failed" });
  });

  it("is open when it has been prepared", async () => {
    let answer: () => unknown = () => "welcome";
    const { server, rt } = fake({
      prepare: (first: any) => first.request("login", "secret") });
    const order: string[] = [];
    server.answer("login", (data) => (order.push(`login ${data}`), answer()));
    server.onJoin = (room) => order.push(`join ${room}`);
    rt.room("lobby");
    rt.emit("n", 1);
    const peer = await server.accept();
    await peer.next("n");
    expect(order).toEqual(["login secret", "join lobby"]);
    expect(rt.state.name).toBe("open");
    let fails = 0;
    answer = () => {
      throw new PealError({ code: 1000, name: "no", temporary: ++fails < 3 });
    };
    peer.close(1006);
    expect(await reached(rt, "closed"))
      .toMatchObject({ final: true, why: { name: "no" } });
    expect(fails).toBe(3);
  });

  it("gives up a preparation that does not end", async () => {
    const { rt } = fake({ connectTimeout: 5, reconnect: false,
      prepare: () => new Promise(() => {}) });
    expect(await errorOf(rt.ready())).toMatchObject({ name: "dial_failed" });
  });

  it("leaves one connection after disconnect and connect", async () => {
    const { server, rt } = fake();
    await rt.ready();
    void rt.close();
    rt.connect();
    void rt.close();
    await rt.connect().ready();
    expect(server.peers.size).toBe(1);
    await rt.close();
    expect(server.peers.size).toBe(0);
  });

  it("joins again where joining fails for a while", async () => {
    const { server, rt } = fake();
    let asked = 0;
    server.onJoin = () => {
      if (++asked < 2) {
        throw new PealError({ code: 109, name: "busy", temporary: true });
      }
    };
    vi.spyOn(Math, "random").mockReturnValue(0.001);
    await rt.room("lobby").ready();
    vi.restoreAllMocks();
    expect(asked).toBe(2);
    await rt.close();
  });
});

describe("every promise settles, with an error that says enough", () => {
  const readme = readFileSync(
    join(import.meta.dirname, "../README.md"), "utf8");

  /* One promise of each kind; streams are read until they end. */
  function all(rt: Client): Record<string, Promise<unknown>> {
    const room = rt.room("lobby");
    const forever = { timeout: 0 };
    return {
      ready: rt.ready(forever),
      flush: rt.flush(forever),
      ping: rt.ping(forever),
      next: rt.next("never", forever),
      request: rt.request("never", 1, forever),
      emit: rt.emit("never", 1, { ack: true, ...forever }),
      sendFile: rt.sendFile("never", new Blob(["x"]), forever),
      roomReady: room.ready(forever),
      roomEmit: room.emit("never", 1, { ack: true, ...forever }),
      leave: rt.room("other").leave(forever),
      messages: (async () => { for await (const _ of rt) { /* All. */ } })(),
      roomMessages: (async () => {
        for await (const _ of room) { /* All. */ }
      })(),
    };
  }

  it.each([
    ["before it was opened", async () => fake({ autoConnect: false })],
    ["while it dials", async () => {
      const made = fake({ token: () => new Promise(() => {}) });
      expect(made.rt.state.name).toBe("connecting");
      return made;
    }],
    ["while nobody answers", async () => {
      const made = fake();
      await made.rt.ready();
      made.server.isSilent = true;
      return made;
    }],
    ["while it waits", async () => {
      const made = fake({ reconnect: { min: 1e6, max: 1e6 } });
      await made.rt.ready();
      made.server.isDown = true;
      made.server.closeAll();
      await reached(made.rt, "waiting");
      return made;
    }],
    ["after it was closed", async () => {
      const made = fake();
      await made.rt.close();
      return made;
    }],
  ])("%s", async (_, make) => {
    const { rt, server } = await make();
    const isOver = rt.state.name === "closed";
    const promises = all(rt);
    const settled = Object.entries(promises).map(async ([name, promise]) =>
      promise.then(() => [name, null], (error) => [name, error]));
    if (!isOver) {
      await rt.ready({ timeout: 20 }).catch(() => {});
      server.closeAll();
    }
    await rt.close();
    const outcomes = await Promise.all(settled);
    for (const [what, error] of outcomes) {
      if (error !== null) {
        const { code, name, temporary, docs, message } = error;
        expect(error, what).toBeInstanceOf(PealError);
        expect([typeof code, typeof name, typeof temporary, typeof message])
          .toEqual(["number", "string", "boolean", "string"]);
        expect(readme).toContain(`id="${docs.split("#")[1]}"`);
      }
    }
    expect(outcomes.filter(([, error]) => error !== null).length)
      .toBeGreaterThan(3);
    expect(rt.metrics.pending).toBe(0);
    expect(rt.metrics.queued).toBe(0);
  });
});

describe("the heartbeat", () => {
  it("notices a dead server within interval and timeout", async () => {
    vi.useFakeTimers();
    try {
      const { server, rt } = fake({}, { pingIntervalMs: 1000,
        pingTimeoutMs: 400 });
      await rt.ready();
      await vi.advanceTimersByTimeAsync(5000);
      expect(rt.metrics.opened).toBe(1);
      expect(rt.metrics.roundTripMs).toBeDefined();
      (await server.accept()).emit("news");
      server.isSilent = true;
      await vi.advanceTimersByTimeAsync(1390);
      expect(rt.state.name).toBe("open");
      const why = reached(rt, "waiting");
      await vi.advanceTimersByTimeAsync(20);
      expect(await why).toMatchObject({ why: { name: "server_silent" } });
      await rt.close();
    } finally {
      vi.useRealTimers();
    }
  });
});
