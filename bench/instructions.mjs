// Counts the user-space instructions that a server, and the C client, spend per
// message, under callgrind. Unlike times these numbers repeat, on a busy machine too, so a
// change of a few percent is a change of the code.
//
// Each scenario runs twice with different numbers of messages; the difference
// is what the messages cost, without starting, connecting and ending.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import {
  allServers, endServer, isProgram, load, output, root, startServer,
} from "./servers.mjs";
import { provenance, write } from "./table.mjs";

const USAGE = `usage: bench/instructions [options]

  --only TEXT    scenarios whose name has TEXT in it
  --build DIR    where the programs are [build/release]
  --write FILE   put the report between the markers of FILE
  --profile      also print the functions that cost most
`;

const FANOUT = ["fanout", "--conns", "100"];

// `per` is what one message counts as: deliveries in fan-out.
const SCENARIOS = [
  { name: "echo 64 B", role: "echo", args: ["echo"], few: 500, per: 1 },
  {
    name: "echo 64 B, 16 in flight", role: "echo",
    args: ["echo", "--depth", "16"], few: 800, per: 1,
  },
  {
    name: "echo 16 KiB", role: "echo",
    args: ["echo", "--size", "16384"], few: 100, per: 1,
  },
  {
    name: "fan-out to 100, 1 in flight", role: "fanout",
    args: [...FANOUT, "--in-flight", "1"], few: 20, per: 100,
  },
  {
    name: "fan-out to 100, 16 in flight", role: "fanout",
    args: [...FANOUT, "--in-flight", "16"], few: 160, per: 100,
  },
];

// The C client: a message sent, and its echo read.
const CLIENT_SCENARIOS = [
  { name: "echo 64 B", args: [], few: 500 },
  { name: "echo 64 B, 16 in flight", args: ["--depth", "16"], few: 800 },
  { name: "echo 16 KiB", args: ["--size", "16384"], few: 100 },
];

const CLIENT_WIRES = [
  { name: "ws", url: (addresses) => `ws://${addresses.ws}/` },
  { name: "tcp", url: (addresses) => `tcp://${addresses.tcp}` },
];

// One connection and one message at a time leave nothing to chance.
const ONE = ["--conns", "1"];

async function count(scenario, server, messages, options, directory) {
  const out = join(directory, "callgrind.out");
  const running = await startServer([
    "valgrind", "--quiet", "--tool=callgrind",
    `--callgrind-out-file=${out}`, ...server.command(scenario.role),
  ]);
  const extra = server.args(scenario.role);
  const wire = extra.includes("tcp") ? "tcp" : "ws";
  let run;
  try {
    run = await load(join(options.build, "bench/load"), [
      ...scenario.args, ...(scenario.role === "echo" ? ONE : []), ...extra,
      "--to", running.addresses[wire], "--count", String(messages),
    ]);
  } finally {
    await endServer(running);
  }
  if (!run.ok) {
    throw new Error(`${scenario.name}: ${server.name}: `
      + (run.failure ?? "messages were lost"));
  }
  return { total: totalOf(out), out };
}

function totalOf(out) {
  const text = readFileSync(out, "utf8");
  return Number(/^(?:summary|totals): (\d+)/m.exec(text)[1]);
}

async function countClient(scenario, wire, messages, options, directory) {
  const out = join(directory, "callgrind.out");
  const server = await startServer([
    join(options.build, "bench/peal_echo"), "--port", "0", "--tcp-port", "0"]);
  let run;
  try {
    run = await load("valgrind", [
      "--quiet", "--tool=callgrind", `--callgrind-out-file=${out}`,
      join(options.build, "bench/clients"), "--to", wire.url(server.addresses),
      ...scenario.args, "--count", String(messages),
    ]);
  } finally {
    await endServer(server);
  }
  if (!run.ok) {
    throw new Error(`C client: ${scenario.name}: ${run.failure}`);
  }
  return { total: totalOf(out), out };
}

async function perMessage(counting, scenario, server, options) {
  const directory = mkdtempSync(join(tmpdir(), "peal-instructions-"));
  const { few, per = 1 } = scenario;
  try {
    const less = await counting(scenario, server, few, options, directory);
    const more = await counting(scenario, server, 5 * few, options, directory);
    if (options.profile) {
      const lines = output("callgrind_annotate", ["--auto=no", more.out])
        .split("\n");
      console.error(`${scenario.name}: ${server.name}`);
      console.error(lines.slice(0, 50).join("\n"));
    }
    return (more.total - less.total) / (4 * few * per);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function table(servers, rows) {
  const line = (fields) => `| ${fields.join(" | ")} |`;
  const names = servers.map((server) => server.name);
  return [
    line(["user-space instructions", ...names]),
    line(["---", ...names.map(() => "---:")]),
    ...rows.map((row) => line([
      row.name,
      ...servers.map((server) => row.counts.has(server.name)
        ? row.counts.get(server.name).toFixed(0) : ""),
    ])),
  ];
}

async function main() {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "" },
      build: { type: "string", default: join(root, "build/release") },
      write: { type: "string" },
      profile: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (output("valgrind", ["--version"]) === undefined) {
    console.error("bench/instructions: valgrind is missing");
    return 1;
  }
  const options = { ...values, build: resolve(values.build) };
  const servers = allServers(options.build)
    .filter((server) => server.name.startsWith("peal"));
  const rows = [];
  let failed = false;
  for (const scenario of SCENARIOS) {
    if (!scenario.name.includes(options.only)) {
      continue;
    }
    const counts = new Map();
    for (const server of servers) {
      const command = server.command(scenario.role);
      if (command === undefined) {
        continue;
      }
      if (!isProgram(command[0])) {
        console.error(`skipped: ${server.name}, ${command[0]} is missing`);
        continue;
      }
      try {
        counts.set(server.name,
          await perMessage(count, scenario, server, options));
        console.error(`${scenario.name}: ${server.name}: `
          + counts.get(server.name).toFixed(0));
      } catch (error) {
        console.error(error.message);
        failed = true;
      }
    }
    rows.push({ name: scenario.name, counts });
  }
  const clientRows = [];
  for (const scenario of CLIENT_SCENARIOS) {
    if (!`C client, ${scenario.name}`.includes(options.only)) {
      continue;
    }
    const counts = new Map();
    for (const wire of CLIENT_WIRES) {
      counts.set(wire.name,
        await perMessage(countClient, scenario, wire, options));
      console.error(`C client, ${scenario.name}: ${wire.name}: `
        + counts.get(wire.name).toFixed(0));
    }
    clientRows.push({ name: `C client, ${scenario.name}`, counts });
  }
  const text = [
    ...provenance("bench/instructions"),
    "Per message echoed, or per delivery in fan-out.", "",
    ...table(servers, rows), "",
    "The C client, for a message sent and its echo read, in the peal dialect.",
    "", ...table(CLIENT_WIRES, clientRows),
  ].join("\n");
  if (options.write !== undefined) {
    write(options.write, "instructions", text);
  } else {
    console.log(text);
  }
  return failed ? 1 : 0;
}

process.exitCode = await main();
