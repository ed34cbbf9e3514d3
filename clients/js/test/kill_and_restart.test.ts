/**
 * The server is killed and started again at random moments, while 100 clients
 * send numbered messages through their outboxes: a quarter each over WebSocket
 * and TCP, in the dialects peal and stelar. Whatever arrives is in order, and
 * whatever does not was told to the sender.
 */
import { expect, it, onTestFinished } from "vitest";

import StelarClient from "../src/stelar-node.js";
import { connect, until } from "./support/client.js";
import { printSeed, random } from "./support/random.js";
import { startAgain, startServer, type Server } from "./support/server.js";

const CLIENTS = 100;
const MESSAGES = 120;
const KILLS = 8;
const RECONNECT = { min: 10, max: 60 };
const OUTBOX_MAX = 50;

interface Numbered { client: number; n: number }

/** One kind of client, as this test uses it. */
interface Sender {
  emit(message: Numbered): void;
  /** Rejects unless the server has said that it has it. */
  ask(message: Numbered): Promise<unknown>;
  isOpen(): boolean;
  /** When all that was sent has been read. */
  settled(): Promise<unknown>;
  failed: Set<number>;
}

function peal(url: string): Sender {
  const rt = connect(url,
    { reconnect: RECONNECT, outbox: { max: OUTBOX_MAX } });
  const failed = new Set<number>();
  rt.watch("drop", ({ data }) => failed.add((data as Numbered).n));
  return {
    emit: (message) => rt.emit("number", message),
    ask: (message) => rt.emit("number", message, { ack: true, timeout: 0 }),
    isOpen: () => rt.state.name === "open",
    settled: () => rt.flush().then(() => rt.ping()),
    failed,
  };
}

function stelar(url: string): Sender {
  const failed = new Set<number>();
  const one = new StelarClient(url, {
    mode: url.startsWith("tcp") ? "tcp" : "ws",
    ackTimeout: 60_000, reconnectionAttempts: Infinity,
    customReconnectDelay: () => Math.random() * RECONNECT.max,
    messageQueueSize: OUTBOX_MAX,
    hooks: { onError: ({ message }) =>
      message && failed.add((message.data as Numbered).n) },
  });
  onTestFinished(() => void one.disconnect());
  one.connect();
  return {
    emit: (message) => one.emit("number", message),
    ask: (message) => one.request("number", message),
    isOpen: () => one.isConnected(),
    settled: async () => {
      await until(() => one.isConnected() && one.getQueueSize() === 0);
      return one.request("sum", { a: 1, b: 2 });
    },
    failed,
  };
}

/** Sends its numbers one by one; half of the clients want answers. */
async function talk(sender: Sender, client: number): Promise<void> {
  const answers: Promise<unknown>[] = [];
  for (let n = 0; n < MESSAGES; n++) {
    if (client % 8 < 4) {
      sender.emit({ client, n });
    } else {
      answers.push(sender.ask({ client, n })
        .catch(() => sender.failed.add(n)));
    }
    await new Promise((resolve) => setTimeout(resolve, random() * 25));
  }
  await Promise.all(answers);
}

function heard(servers: Server[]): number[][] {
  const numbers: number[][] = Array.from({ length: CLIENTS }, () => []);
  for (const line of servers.flatMap(({ lines }) => lines)) {
    const [, client, n] = /^number (\d+) (\d+)$/.exec(line) ?? [];
    if (n !== undefined) {
      numbers[Number(client)]!.push(Number(n));
    }
  }
  return numbers;
}

it("loses nothing in silence and keeps the order", async () => {
  printSeed();
  const servers = [await startServer({ env: { PEAL_STELAR: "0,0" } })];
  const { ws, tcp, lines } = servers[0]!;
  const [, stelarWs, stelarTcp] = /ws=(\S+) tcp=(\S+)/.exec(lines[0]!)!;
  const port = (address: string) => address.replace(/.*:/, "");
  const env =
    { PEAL_STELAR: `${port(stelarWs!)},${port(stelarTcp!)}` };
  const kinds = [
    () => peal(ws), () => peal(tcp),
    () => stelar(`ws://${stelarWs}`), () => stelar(`tcp://${stelarTcp}`),
  ];
  const clients = Array.from({ length: CLIENTS }, (_, i) => kinds[i % 4]!());
  const allOpen = () => until(() => clients.every((one) => one.isOpen()));
  await allOpen();
  const talks = Promise.all(clients.map(talk));
  for (let i = 0; i < KILLS; i++) {
    /* After a while by the messages, not by the clock. */
    const enough = servers.at(-1)!.lines.length + 50 + random() * 900;
    await until(() => servers.at(-1)!.lines.length >= enough);
    await servers.at(-1)!.end("SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, random() * 30));
    servers.push(await startAgain(servers[0]!, { env }));
    await allOpen();
  }
  await talks;
  await Promise.all(clients.map((one) => one.settled()));
  const numbers = heard(servers);
  const lost = [0, 0, 0, 0];
  const arrived = [0, 0, 0, 0];
  for (const [client, { failed }] of clients.entries()) {
    const seen = numbers[client]!;
    expect(seen, `the order of client ${client}`)
      .toEqual([...seen].sort((a, b) => a - b));
    expect(new Set(seen).size).toBe(seen.length);
    const silent = Array.from({ length: MESSAGES }, (_, n) => n)
      .filter((n) => !seen.includes(n) && !failed.has(n));
    expect(silent, `lost in silence by client ${client}`).toEqual([]);
    lost[client % 4]! += failed.size;
    arrived[client % 4]! += seen.length;
  }
  console.log(`told as lost, or maybe lost: ws ${lost[0]}, tcp ${lost[1]}, ` +
    `stelar ws ${lost[2]}, stelar tcp ${lost[3]}, of ${CLIENTS * MESSAGES}`);
  for (const count of arrived) {
    expect(count).toBeGreaterThan(CLIENTS * MESSAGES / 8);
  }
}, 60_000);
