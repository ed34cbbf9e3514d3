// Measures peal's servers beside their peers: each case and server once per
// round, every time with a fresh server, the servers of a case one after the
// other so that all of them meet the same weather. See README.md.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import {
  allServers, endServer, isProgram, load, makeCertificate, output, root,
  startServer,
} from "./servers.mjs";
import { figure, report, write } from "./table.mjs";

const USAGE = `usage: bench/run [options]

  --rounds N       rounds, of which the medians are taken [5]
  --seconds S      measured time of each run [3]
  --warm S         time before it [1]
  --quick          two rounds of one second
  --only TEXT      cases whose name has TEXT in it; may be repeated
  --servers A,B    servers of these names
  --build DIR      where the programs are [build/release]
  --write FILE     put the report between the markers of FILE
  --list           list cases and servers
`;

const FANOUT = ["fanout", "--conns", "1000"];

// More addresses than one, because a server may limit clients per address.
const MANY = ["--sources", "8"];

// For cases that need no look at peal's dialects and transports.
const PEERS = ["peal", "peal uring", "Bun", "ws"];

const EXCHANGE = ["--exchange", "--size", "2048"];

// "in flight" of a flood: half a MiB of messages for each member, so that a
// server which is faster than the generator is not measured at its queue limit.
const CASES = [
  { name: "echo 64 B", kind: "rate", role: "echo", args: ["echo"] },
  {
    name: "echo 64 B, 16 in flight", kind: "rate", role: "echo",
    args: ["echo", "--depth", "16"],
  },
  {
    name: "echo 16 KiB", kind: "rate", role: "echo",
    args: ["echo", "--size", "16384"],
  },
  {
    name: "echo 16 KiB, 16 in flight", kind: "rate", role: "echo",
    args: ["echo", "--size", "16384", "--depth", "16"],
  },
  {
    name: "echo 64 B, 10,000 conns", kind: "rate", role: "echo",
    args: ["echo", "--conns", "10000", ...MANY],
    servers: ["peal", "peal uring", "peal json", "peal tcp", "Bun", "ws"],
  },
  {
    name: "fan-out to 1,000, 1 in flight", kind: "rate", role: "fanout",
    args: [...FANOUT, "--in-flight", "1"],
  },
  {
    name: "fan-out to 1,000, 16 in flight", kind: "rate", role: "fanout",
    args: [...FANOUT, "--in-flight", "16"],
  },
  {
    name: "fan-out to 1,000, 256 in flight", kind: "rate", role: "fanout",
    args: [...FANOUT, "--in-flight", "256"],
  },
  {
    name: "fan-out to 1,000, flood", kind: "rate", role: "fanout",
    args: [...FANOUT, "--in-flight", "8192"],
  },
  {
    name: "compressed fan-out to 1,000, 2 KiB", kind: "rate", role: "fanout",
    args: [...FANOUT, "--in-flight", "16", "--size", "2048", "--deflate"],
    flags: ["--deflate"], servers: PEERS,
  },
  {
    name: "echo 64 B over TLS", kind: "rate", role: "echo",
    args: ["echo"], tls: "1.3", servers: PEERS,
  },
  {
    name: "fan-out to 1,000, 16 in flight, over TLS", kind: "rate",
    role: "fanout", args: [...FANOUT, "--in-flight", "16"], tls: "1.3",
    servers: PEERS,
  },
  {
    name: "connects", kind: "rate", role: "echo",
    args: ["connect", ...MANY],
  },
  {
    name: "connects over TLS", kind: "rate", role: "echo",
    args: ["connect", ...MANY], tls: "1.3", servers: PEERS,
  },
  {
    name: "connects over TLS, resumed", kind: "rate", role: "echo",
    args: ["connect", "--resume", ...MANY], tls: "1.3", servers: PEERS,
  },
  {
    name: "fan-out to 1,000, 100 per second", kind: "paced", role: "fanout",
    args: [...FANOUT, "--rate", "100"],
  },
  {
    name: "idle, 10,000 conns", kind: "idle", role: "echo",
    args: ["idle", "--conns", "10000", ...MANY],
    servers: ["peal", "peal uring", "peal json", "peal tcp", "Bun", "ws"],
  },
  {
    name: "idle, 19,000 conns", kind: "idle", role: "echo",
    args: ["idle", "--conns", "19000", ...MANY], servers: PEERS,
  },
  {
    // With an id, a user pointer, two rooms and a heartbeat.
    name: "idle, 10,000 conns in two rooms", kind: "idle", role: "rooms",
    args: ["idle", "--conns", "10000", ...MANY],
    servers: ["peal json", "peal json tcp"],
  },
  {
    name: "idle, 4,000 conns over TLS 1.3", kind: "idle", role: "echo",
    args: ["idle", "--conns", "4000"], tls: "1.3", servers: PEERS,
  },
  {
    name: "idle, 4,000 conns over TLS 1.2", kind: "idle", role: "echo",
    args: ["idle", "--conns", "4000"], tls: "1.2", servers: ["peal"],
  },
  {
    // A message of 2 KiB there and back first, for the memory that it leaves.
    name: "idle, 2,000 conns, deflate", kind: "idle", role: "echo",
    args: ["idle", "--conns", "2000", ...EXCHANGE, "--deflate"],
    flags: ["--deflate"], servers: PEERS,
  },
  {
    name: "idle, 2,000 conns, deflate with takeover", kind: "idle",
    role: "echo", args: ["idle", "--conns", "2000", ...EXCHANGE, "--takeover"],
    flags: ["--deflate=takeover"], servers: PEERS,
  },
];

function readOptions() {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      seconds: { type: "string" },
      warm: { type: "string" },
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true, default: [] },
      servers: { type: "string" },
      build: { type: "string", default: join(root, "build/release") },
      write: { type: "string" },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  return {
    ...values,
    build: resolve(values.build),
    rounds: Number(values.rounds ?? (values.quick ? 2 : 5)),
    seconds: values.seconds ?? (values.quick ? "1" : "3"),
    warm: values.warm ?? (values.quick ? "0.5" : "1"),
  };
}

// Which servers can play a role; says once about each that cannot.
const told = new Set();

function isThere(server, role) {
  const command = server.command(role);
  if (command === undefined) {
    return false;
  }
  const missing = [server.needs, command[0]].find((path) =>
    path !== undefined && path.startsWith("/")
    && !isProgram(path));
  if (missing === undefined) {
    return true;
  }
  if (!told.has(missing)) {
    told.add(missing);
    console.error(`skipped: ${server.name}, ${missing} is missing`);
  }
  return false;
}

async function measure(cell, server, options) {
  const { role } = cell;
  const args = [...cell.args];
  const flags = [...cell.flags ?? []];
  let running;
  if (cell.tls !== undefined) {
    args.push("--tls", cell.tls);
    flags.push("--tls-cert", options.identity.certificate,
      "--tls-key", options.identity.key);
  }
  try {
    running = await startServer([...server.command(role), ...flags]);
  } catch (error) {
    return { ok: false, failure: error.message };
  }
  try {
    const extra = server.args(role);
    const wire = extra.includes("tcp") ? "tcp" : "ws";
    return await load(join(options.build, "bench/load"), [
      ...args, ...extra,
      "--to", running.addresses[wire],
      "--pid", String(running.pid),
      "--seconds", options.seconds,
      "--warm", options.warm,
    ]);
  } finally {
    await endServer(running);
  }
}

function progress(cell, server, run) {
  const what = {
    rate: () => `${figure(run.rate)}/s, ${figure(run.server_us)} us`,
    paced: () => `p99 ${figure(run.p99_ms)} ms, ${figure(run.server_us)} us`,
    idle: () => `${figure(run.rss_per_conn)} bytes`,
  };
  const said = run.failure ?? what[cell.kind]();
  const fault = run.ok ? "" : " NOT OK";
  console.error(`  ${cell.name}: ${server.name}: ${said}${fault}`);
}

function quoted(word) {
  return /^[-\w./,=]+$/.test(word) ? word : `'${word}'`;
}

async function repeat(results, rounds) {
  for (let round = 1; round <= rounds; round++) {
    console.error(`round ${round} of ${rounds}`);
    // Who is first in a case changes from round to round.
    const order = round % 2 === 1 ? results : [...results].reverse();
    for (const result of order) {
      const run = await result.again();
      result.tell(run);
      result.runs.push(run);
    }
  }
}

async function main() {
  const options = readOptions();
  const cases = CASES.filter((cell) => options.only.length === 0
    || options.only.some((text) => cell.name.includes(text)));
  const wanted = options.servers?.split(",");
  const servers = allServers(options.build).filter((server) =>
    wanted === undefined || wanted.includes(server.name));

  if (options.list) {
    console.log(CASES.map((cell) => cell.name).join("\n"));
    console.log(allServers(options.build)
      .map((server) => server.name).join(","));
    return 0;
  }
  if (!isProgram(join(options.build, "bench/load"))) {
    console.error(`no load generator in ${options.build}: "make bench" `
      + "builds it");
    return 1;
  }
  const results = cases.flatMap((cell) => servers
    .filter((server) => cell.servers?.includes(server.name) ?? true)
    .filter((server) => isThere(server, cell.role))
    .map((server) => ({
      cell: cell.name, kind: cell.kind, server: server.name, runs: [],
      again: () => measure(cell, server, options),
      tell: (run) => progress(cell, server, run),
    })));

  const folder = mkdtempSync(join(tmpdir(), "peal-bench-"));
  try {
    if (cases.some((cell) => cell.tls !== undefined)) {
      options.identity = makeCertificate(folder);
    }
    await repeat(results, options.rounds);
  } finally {
    rmSync(folder, { recursive: true });
  }

  const text = report(results, {
    command: ["bench/run", ...process.argv.slice(2).map(quoted)].join(" "),
    lines: [
      `Medians (lowest-highest) of ${options.rounds} rounds of `
        + `${options.seconds} s. Bun ${bunVersion(options)} has uWebSockets`,
      "inside and is the yardstick: above 1.00x is better than Bun.",
    ],
  });
  if (options.write !== undefined) {
    write(options.write, "bench", text);
  } else {
    console.log(text);
  }
  return results.some((result) => result.server.startsWith("peal")
    && result.runs.some((run) => !run.ok)) ? 1 : 0;
}

function bunVersion(options) {
  const bun = allServers(options.build)
    .find((server) => server.name === "Bun").command("echo")[0];
  return output(bun, ["--version"]) ?? "(missing)";
}

process.exitCode = await main();
