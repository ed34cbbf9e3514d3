// What links (peal/client.h) cost the program that has them: memory of each of
// 10,000 in one process. The server is another process, because each of the two
// needs a descriptor for every link.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import {
  endServer, load, makeCertificate, root, startServer,
} from "./servers.mjs";
import { median, provenance, write } from "./table.mjs";

const USAGE = `usage: bench/clients [options]

  --links N      in one process [10000]
  --rounds N     of which the median counts [3]
  --build DIR    where the programs are [build/release]
  --write FILE   put the report between the markers of FILE
`;

const CASES = [
  { name: "ws", url: (server) => `ws://${server.addresses.ws}/` },
  { name: "tcp", url: (server) => `tcp://${server.addresses.tcp}` },
  {
    name: "wss", url: (server) => `wss://${server.addresses.ws}/`,
    hasTls: true,
  },
];

async function measure(options, { url, hasTls }, identity) {
  const tls = hasTls
    ? ["--tls-cert", identity.certificate, "--tls-key", identity.key] : [];
  const server = await startServer([join(options.build, "bench/peal_echo"),
    "--port", "0", "--tcp-port", "0", ...tls]);

  try {
    const run = await load(join(options.build, "bench/clients"), [
      "--to", url(server), "--links", options.links, "--count", "1000",
      ...(hasTls ? ["--insecure"] : [])]);
    if (!run.ok) {
      throw new Error(run.failure);
    }
    return run.bytes_per_link;
  } finally {
    await endServer(server);
  }
}

async function main() {
  const { values } = parseArgs({
    options: {
      links: { type: "string", default: "10000" },
      rounds: { type: "string", default: "3" },
      build: { type: "string", default: join(root, "build/release") },
      write: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const options = { ...values, build: resolve(values.build) };
  const folder = mkdtempSync(join(tmpdir(), "peal-clients-"));
  const identity = makeCertificate(folder);
  const rows = [];

  for (const which of CASES) {
    const rounds = [];
    for (let round = 0; round < Number(options.rounds); round++) {
      rounds.push(await measure(options, which, identity));
    }
    rows.push(`| ${which.name} | ${Math.round(median(rounds))} |`);
    console.error(rows.at(-1));
  }
  rmSync(folder, { recursive: true });
  const text = [
    ...provenance("bench/clients"),
    `${options.links} links of the C client in one process, on one loop; each of`,
    "them open, with a heartbeat, and after the first has had 1,000 echoes.", "",
    "| resident memory | bytes per link |",
    "| --- | ---: |",
    ...rows,
  ].join("\n");

  if (options.write !== undefined) {
    write(options.write, "clients", text);
  } else {
    console.log(text);
  }
}

await main();
