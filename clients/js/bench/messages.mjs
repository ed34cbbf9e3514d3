// Messages a second there and back in Node: this client over both transports,
// beside the package ws, which is handed envelopes as text, and
// socket.io-client with the server of socket.io. Takes about a minute.
//
//     npm run build && node bench/messages.mjs [--rounds N] [--build DIR]
//         [--write FILE]
//
// --write puts the table between the markers "js" of FILE. Servers have the
// first core and clients the second, and take turns within a round.

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

import { endServer, load, root, startServer } from "../../../bench/servers.mjs";
import { provenance, write } from "../../../bench/table.mjs";

const here = import.meta.dirname;
const { values: options } = parseArgs({ options: {
  rounds: { type: "string", default: "3" },
  build: { type: "string", default: join(root, "build/release") },
  write: { type: "string" },
} });
const rounds = Number(options.rounds);
const echo = [join(resolve(options.build), "bench/peal_echo"),
  "--port", "0", "--tcp-port", "0"];

const CASES = [
  { name: "peal, ws", client: "peal", server: echo, wire: "ws" },
  { name: "peal, tcp", client: "peal", server: echo, wire: "tcp" },
  { name: "ws with JSON", client: "ws", server: echo, wire: "ws" },
  {
    name: "socket.io-client", client: "socket.io-client", wire: "ws",
    server: [process.execPath, join(here, "socketio_server.mjs")],
  },
];

async function measure({ client, server, wire }) {
  const running = await startServer(server);
  try {
    const run = await load(process.execPath, [join(here, "client.mjs"), client,
      `${wire}://${running.addresses[wire]}`]);
    if (!run.ok) {
      throw new Error(`${client} over ${wire}: ${run.failure}`);
    }
    return run;
  } finally {
    await endServer(running);
  }
}

const runs = new Map(CASES.map((one) => [one, []]));
for (let round = 0; round < rounds; round++) {
  for (const one of CASES) {
    runs.get(one).push(await measure(one));
  }
}

const sorted = (one, figure) =>
  runs.get(one).map((run) => run[figure]).sort((a, b) => a - b);
const median = (one, figure) => sorted(one, figure)[rounds >> 1];
const spread = (one, figure, show) => {
  const all = sorted(one, figure);
  return `${show(all[rounds >> 1])} (${show(all[0])}-${show(all.at(-1))})`;
};
const thousands = (n) => `${(n / 1000).toFixed(1)}k`;

const ws = CASES.find(({ client }) => client === "ws");
const lines = [
  ...provenance("node clients/js/bench/messages.mjs --write docs/benchmarks.md"),
  `Medians (lowest-highest) of ${rounds} rounds of 60,000 events there and ` +
    `back, 500 on their way, each of which had to be the next. Node ` +
    `${process.versions.node}. All but socket.io-client talk to the same ` +
    "server, bench/peal_echo; ws is handed envelopes by JSON.stringify and " +
    "has them read by JSON.parse.",
  "",
  "| client | per second | client CPU us | CPU against ws |",
  "| --- | --- | --- | --- |",
  ...CASES.map((one) => `| ${one.name} | ${spread(one, "rate", thousands)} | ` +
    `${spread(one, "cpu_us", (us) => us.toFixed(1))} | ` +
    `${(median(ws, "cpu_us") / median(one, "cpu_us")).toFixed(2)}x |`),
  "",
  "| for browsers | bytes | gzip -9 |",
  "| --- | --- | --- |",
  ...[
    ["peal.js", join(here, "../bundle/peal.js")],
    ["socket.io.min.js",
      join(here, "../node_modules/socket.io-client/dist/socket.io.min.js")],
  ].map(([name, path]) => {
    const bytes = readFileSync(path);
    return `| ${name} | ${bytes.length} | ` +
      `${gzipSync(bytes, { level: 9 }).length} |`;
  }),
];
console.log(lines.join("\n"));
if (options.write !== undefined) {
  write(options.write, "js", lines.join("\n"));
}
