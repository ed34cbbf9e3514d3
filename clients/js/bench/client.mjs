// One client of messages.mjs, in a process of its own: sends COUNT messages and
// hears them all again, WINDOW of them on their way at a time, each of which has
// to be the next. Prints a line of JSON: messages a second there and back, and
// the microseconds of this process's CPU for each.
//
//     node client.mjs CLIENT URL

import { once } from "node:events";

import { io } from "socket.io-client";
import { WebSocket } from "ws";

import { connect } from "../dist/esm/node.js";

const WARM = 10_000;
const COUNT = 60_000;
const WINDOW = 500;
const DATA = { text: "hello", from: "Ada", time_ms: 1795224062715 };

// Each returns { send(data), listen(handler), end() }, connected.
const clients = {
  async peal(url) {
    const rt = connect(url);
    await rt.ready();
    return {
      send: (data) => rt.emit("bench", data),
      listen: (handler) => rt.on("bench", handler),
      end: () => rt.close(),
    };
  },

  async ws(url) {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    await once(socket, "open");
    return {
      send: (data) => socket.send(JSON.stringify({ event: "bench", data })),
      listen: (handler) => socket.on("message", (text) => {
        const { event, data } = JSON.parse(String(text));
        if (event === "bench") {
          handler(data);
        }
      }),
      end: () => socket.terminate(),
    };
  },

  async "socket.io-client"(url) {
    const socket = io(url, { transports: ["websocket"] });
    await new Promise((resolve, reject) => {
      socket.on("connect", resolve);
      socket.on("connect_error", reject);
    });
    return {
      send: (data) => socket.emit("bench", data),
      listen: (handler) => socket.on("bench", handler),
      end: () => socket.disconnect(),
    };
  },
};

const [name, url] = process.argv.slice(2);
const client = await clients[name](url);
let sent = 0;
let received = 0;
let failure;
let start;
let cpu;

const send = () => client.send({ ...DATA, n: sent++ });
await new Promise((resolve) => {
  client.listen(({ n }) => {
    if (n !== received++) {
      failure = `${n} came where ${received - 1} was due`;
      resolve();
    } else if (received === WARM) {
      start = performance.now();
      cpu = process.cpuUsage();
    } else if (received === WARM + COUNT) {
      resolve();
    }
    if (sent < WARM + COUNT) {
      send();
    }
  });
  while (sent < WINDOW) {
    send();
  }
});
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(cpu);
console.log(JSON.stringify({
  ok: failure === undefined, failure,
  rate: COUNT / seconds, cpu_us: (user + system) / COUNT,
}));
await client.end();
process.exit();
