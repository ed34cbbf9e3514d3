// Messages a second there and back in Node: this client over both transports
// beside the package ws, which knows no envelopes and is handed them as text.
// All talk to bench/peal_echo, one after the other in each round; the medians
// of the rounds are printed.
//
//     npm run build && node bench/messages.mjs [ROUNDS]
//
// PEAL_EXAMPLES says where the programs are, as for the tests.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { WebSocket } from "ws";

import { connect } from "../dist/esm/node.js";

const COUNT = 100_000;
const WINDOW = 500;
const DATA = { text: "hello", from: "Ada", time_ms: 1795224062715 };

const rounds = Number(process.argv[2] ?? 5);
const examples = process.env.PEAL_EXAMPLES ??
  join(import.meta.dirname, "../../../build/release/examples");
const server = spawn(join(examples, "../bench/peal_echo"),
  ["--port", "0", "--tcp-port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
const [line] = await once(createInterface({ input: server.stdout }), "line");
const [, ws, tcp] = /ws=(\S+) tcp=(\S+)/.exec(line);

// Keeps WINDOW messages on their way; returns messages a second.
async function measure(send, onMessage) {
  const start = performance.now();
  await new Promise((resolve) => {
    let received = 0;
    let sent = 0;
    onMessage(() => {
      received++;
      if (received === COUNT) {
        resolve();
      } else if (sent < COUNT) {
        sent++;
        send();
      }
    });
    for (; sent < WINDOW; sent++) {
      send();
    }
  });
  return COUNT / (performance.now() - start) * 1000;
}

async function ours(url) {
  const rt = connect(url);
  await rt.ready();
  const rate = await measure(() => rt.emit("bench", DATA), (count) =>
    rt.on("bench", count));
  await rt.close();
  return rate;
}

async function theirs() {
  const socket = new WebSocket(`ws://${ws}`, { perMessageDeflate: false });
  const next = (count) => socket.on("message", (text) =>
    JSON.parse(String(text)).event === "bench" && count());
  await once(socket, "open");
  const rate = await measure(
    () => socket.send(JSON.stringify({ event: "bench", data: DATA })), next);
  socket.terminate();
  return rate;
}

const cases = {
  "peal, ws": () => ours(`ws://${ws}`),
  "peal, tcp": () => ours(`tcp://${tcp}`),
  "ws with JSON": theirs,
};
const rates = Object.fromEntries(Object.keys(cases).map((name) => [name, []]));
for (let round = 0; round < rounds; round++) {
  for (const [name, run] of Object.entries(cases)) {
    rates[name].push(await run());
  }
}
server.kill();
for (const [name, found] of Object.entries(rates)) {
  const median = found.sort((a, b) => a - b)[found.length >> 1];
  console.log(`${name.padEnd(14)}${Math.round(median)} messages a second`);
}
