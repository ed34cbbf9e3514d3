/** `peal/testing`, as an application's tests would use it. */
import { expect, it } from "vitest";

import { connect, PealError, Room } from "../src/index.js";
import { FakeServer } from "../src/testing.js";
import { errorOf, reached } from "./support/client.js";

interface In { news: { text: string }; bytes: Uint8Array }
interface Calls {
  sum(data: { a: number; b: number }): number;
  time(): { time_ms: number };
  no(): void;
}
interface Out { typing: { on: boolean } }
interface Asks { where(data: { unit: string }): { x: number } }

const start = () => {
  const server = new FakeServer();
  const rt = connect<In, Calls, Out, Asks>("ws://fake/rt",
    { WebSocket: server.WebSocket, reconnect: { min: 1, max: 2 } });
  return { server, rt };
};

it("talks both ways, with types", async () => {
  const { server, rt } = start();
  server.answer("sum", ({ a, b }) => a + b);
  server.answer("no", () => {
    throw new PealError({ code: 1000, name: "no" });
  });
  const peer = await server.accept();
  await rt.ready();
  const news = rt.next("news");
  peer.emit("news", { text: "hello" });
  const { text }: { text: string } = await news;
  expect(text).toBe("hello");
  const sum: number = await rt.request("sum", { a: 1, b: 2 });
  expect(sum).toBe(3);
  expect(await errorOf(rt.request("no"))).toMatchObject({ code: 1000 });
  expect(rt.emit("typing", { on: true })).toBe(true);
  expect(await peer.next("typing")).toMatchObject({ data: { on: true } });
  rt.answer("where", ({ unit }) => ({ x: unit.length }));
  expect(await peer.request("where", { unit: "km" })).toEqual({ x: 2 });
  const bytes = rt.next("bytes");
  peer.emit("bytes", new Uint8Array([1, 2]));
  expect(await bytes).toEqual(new Uint8Array([1, 2]));

  /* What the compiler is to refuse. */
  const refused = async () => {
    // @ts-expect-error an event of another name
    rt.emit("shouting");
    // @ts-expect-error data of another type
    await rt.request("sum", { a: "1" });
    // @ts-expect-error an answer of another type
    rt.answer("where", () => "here");
    // @ts-expect-error a member that is not there
    rt.on("news", (data) => data.title);
  };
  expect(refused).toBeTypeOf("function");
  await rt.close();
});

it("has rooms, and loses connections", async () => {
  const { server, rt } = start();
  const room = rt.room<{ chat: string }>("lobby");
  expect(room).toBeInstanceOf(Room);
  await room.ready();
  const heard: string[] = [];
  room.on("chat", (text) => heard.push(text));
  server.publish("lobby", "chat", "one");
  await rt.ping();
  server.closeAll();
  await reached(rt, "waiting");
  await reached(rt, "open");
  await room.ready();
  server.publish("lobby", "chat", "two");
  await rt.ping();
  expect(heard).toEqual(["one", "two"]);
  await rt.close();
  expect(server.peers.size).toBe(0);
});

it("listens to rooms that the server joins it to", async () => {
  const { server, rt } = start();
  const peer = await server.accept();
  const room = rt.room<{ chat: string }>("lobby", { join: false });
  expect(await errorOf(room.ready())).toMatchObject({ name: "left" });
  const stream = room.messages();
  peer.emit("chat", "hi", "lobby");
  expect(await stream.next()).toMatchObject({ value: { data: "hi" } });
  await rt.close();
  expect(await stream.next()).toMatchObject({ done: true });
});

it("keeps a handler from the next one's way", async () => {
  const { server, rt } = start();
  const peer = await server.accept();
  const calls: string[] = [];
  const errors: unknown[] = [];
  rt.watch("error", ({ name, cause }) => errors.push([name, cause]));
  rt.on("news", () => { throw "sync"; });
  rt.on("news", () => Promise.reject("async"));
  const last = rt.on("news", () => {
    calls.push("last");
    last.off();
  });
  rt.once("news", () => calls.push("once"));
  const fn = () => calls.push("fn");
  rt.on("news", fn);
  rt.any((_, { event }) => calls.push(`any ${event}`));
  peer.emit("news", {});
  await rt.ping();
  rt.off("news", fn);
  rt.off("news");
  peer.emit("news", {});
  await rt.ping();
  expect(calls).toEqual(["last", "once", "fn", "any news", "any news"]);
  expect(errors).toEqual(
    [["handler_failed", "sync"], ["handler_failed", "async"]]);
  await rt.close();
});
