/**
 * The server is killed and started again at random moments, while clients send
 * numbered messages through their outboxes. Whatever arrives is in order, and
 * whatever does not was told to the sender.
 */
import { expect, it } from "vitest";

import type { Client } from "../src/node.js";
import { connect, reached, until } from "./support/client.js";
import { startAgain, startServer, type Server } from "./support/server.js";

const CLIENTS = 20;
const MESSAGES = 200;
const KILLS = 6;

/**
 * Sends its numbers one by one, and notes which failed. Half of the clients
 * want each event acknowledged, the others hear of drops.
 */
async function talk(rt: Client, client: number): Promise<Set<number>> {
  const failed = new Set<number>();
  const outcomes: Promise<unknown>[] = [];
  rt.watch("drop", ({ data }) => failed.add((data as { n: number }).n));
  for (let n = 0; n < MESSAGES; n++) {
    const data = { client, n };
    if (client % 4 < 2) {
      rt.emit("number", data);
    } else {
      outcomes.push(rt.emit("number", data, { ack: true, timeout: 0 })
        .catch(() => failed.add(n)));
    }
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
  }
  await Promise.all(outcomes);
  return failed;
}

function heard(servers: Server[]): number[][] {
  const numbers: number[][] = Array.from({ length: CLIENTS }, () => []);
  for (const line of servers.flatMap(({ lines }) => lines)) {
    const [, client, n] = line.split(" ").map(Number) as
      [number, number, number];
    numbers[client]!.push(n);
  }
  return numbers;
}

it("loses nothing in silence and keeps the order", async () => {
  const servers = [await startServer()];
  const clients = Array.from({ length: CLIENTS }, (_, i) => connect(
    servers[0]![i % 2 === 0 ? "ws" : "tcp"],
    { reconnect: { min: 10, max: 60 }, outbox: { max: 50 } }));
  await Promise.all(clients.map((rt) => rt.ready()));
  const talks = Promise.all(clients.map(talk));
  for (let i = 0; i < KILLS; i++) {
    /* After a while by the messages, not by the clock. */
    const enough = servers.at(-1)!.lines.length + 20 + Math.random() * 200;
    await until(() => servers.at(-1)!.lines.length >= enough);
    await servers.at(-1)!.end("SIGKILL");
    servers.push(await startAgain(servers[0]!));
    await Promise.all(clients.map((rt) => reached(rt, "open")));
  }
  const failed = await talks;
  await Promise.all(clients.map((rt) => rt.flush().then(() => rt.ping())));
  const numbers = heard(servers);
  let lost = 0;
  for (let client = 0; client < CLIENTS; client++) {
    const seen = numbers[client]!;
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(new Set(seen).size).toBe(seen.length);
    for (let n = 0; n < MESSAGES; n++) {
      expect(seen.includes(n) || failed[client]!.has(n)).toBe(true);
    }
    lost += failed[client]!.size;
  }
  expect(numbers.flat().length).toBeGreaterThan(CLIENTS * MESSAGES / 2);
  expect(lost).toBeLessThan(CLIENTS * MESSAGES / 2);
}, 60_000);
