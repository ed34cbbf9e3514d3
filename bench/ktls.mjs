// What peal_tls_options.ktls changes: CPU per message and memory per connection
// with OpenSSL alone and with the kernel encrypting, on a kernel of Debian's that
// qemu emulates.
//
// qemu counts: each instruction of the guest is a nanosecond of its clock. So
// what the load generator reads as the server's CPU time is the instructions
// that were executed for it, in the process and in the kernel. They repeat; what
// they do not tell is that some take longer than others.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { isProgram, makeCertificate, root } from "./servers.mjs";
import { provenance, write } from "./table.mjs";

const USAGE = `usage: bench/ktls [options]

  --only TEXT    cases whose name has TEXT in it
  --build DIR    where the programs are [build/release]
  --write FILE   put the report between the markers of FILE

Needs what "scripts/setup test" fetches: qemu, and a kernel.
`;

const ECHO = ["echo", "--conns", "1"];
const FANOUT = ["fanout", "--conns", "100"];

// Fan-out counts deliveries.
const CASES = [
  { name: "echo 64 B", server: "echo", args: [...ECHO, "--count", "2000"] },
  {
    name: "echo 64 B, 16 in flight", server: "echo",
    args: [...ECHO, "--depth", "16", "--count", "16000"],
  },
  {
    name: "echo 16 KiB", server: "echo",
    args: [...ECHO, "--size", "16384", "--count", "1000"],
  },
  {
    name: "fan-out to 100, 1 in flight", server: "fanout",
    args: [...FANOUT, "--in-flight", "1", "--count", "100"],
  },
  {
    name: "fan-out to 100, 16 in flight", server: "fanout",
    args: [...FANOUT, "--in-flight", "16", "--count", "800"],
  },
  {
    name: "fan-out to 100, 1 in flight, 4 KiB", server: "fanout",
    args: [...FANOUT, "--in-flight", "1", "--size", "4096", "--count", "50"],
  },
  {
    name: "idle", server: "echo", isIdle: true,
    args: ["idle", "--conns", "300", "--seconds", "0.1"],
  },
];

const VERSIONS = ["1.2", "1.3"];

const script = (cases) => `
ulimit -n 20000
measure() {
    flags=$1; server=$2; label=$3; shift 3; : > /tmp/ready
    /programs/$server --port 0 --tls-cert /certificate.pem \\
        --tls-key /key.pem $flags > /tmp/ready &
    pid=$!
    until grep -q '^ready' /tmp/ready; do sleep 0.01; done
    to=$(sed -n 's/^ready ws=\\([^ ]*\\).*/\\1/p' /tmp/ready)
    echo "measured $label $(load "$@" --to $to --pid $pid --warm 0)"
    kill $pid; wait $pid
}
${cases.flatMap((each, index) => VERSIONS.flatMap((version) =>
    ["", "--ktls"].map((flag) => `measure "${flag}" ${each.server} ` +
      `${index},${version},${flag} ${each.args.join(" ")} --tls ${version}`)))
    .join("\n")}
grep TlsTxSw /proc/net/tls_stat
echo "kernel $(uname -r)"
`;

// "measured CASE,VERSION,FLAG {...}", a line each.
function resultsOf(console) {
  const found = new Map();

  for (const [, label, json] of console.matchAll(/^measured (\S+) (\{.*\})$/gm)) {
    found.set(label, JSON.parse(json));
  }
  return found;
}

const FIGURES = {
  instructions: (run) => (run.server_us * 1000).toFixed(0),
  rss: (run) => run.rss_per_conn.toFixed(0),
  slab: (run) => run.slab_per_conn.toFixed(0),
};

function table(cases, results) {
  const line = (fields) => `| ${fields.join(" | ")} |`;
  const columns = VERSIONS.flatMap((version) =>
    ["", "--ktls"].map((flag) => ({
      key: `${version},${flag}`,
      name: `TLS ${version}, ${flag === "" ? "OpenSSL" : "the kernel"}`,
    })));
  const rows = cases.flatMap((each, index) => {
    const row = (name, figure) => line([name, ...columns.map(({ key }) =>
      FIGURES[figure](results.get(`${index},${key}`)))]);
    return each.isIdle
      ? [row("idle: bytes of the process per connection", "rss"),
        row("idle: slab of the kernel per connection, both ends", "slab")]
      : [row(each.name, "instructions")];
  });

  return [
    line(["instructions per message, process and kernel",
      ...columns.map(({ name }) => name)]),
    line(["---", ...columns.map(() => "---:")]),
    ...rows,
  ];
}

async function main() {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "" },
      build: { type: "string", default: join(root, "build/release") },
      write: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  process.env.PEAL_GUEST ??= join(root, "build/tools/guest");
  process.env.PEAL_QEMU ??= "qemu-system-x86_64";
  const { noGuest, runInGuest } =
    await import("../tests/integration/support/guest.mjs");
  const build = resolve(values.build);
  const programs = ["examples/echo", "examples/fanout", "bench/load"]
    .map((name) => join(build, name));
  const missing = programs.find((program) => !isProgram(program));
  const problem = noGuest || (missing && `${missing} is missing`);
  if (problem) {
    console.error(`bench/ktls: ${problem}`);
    return 1;
  }
  const cases = CASES.filter(({ name }) => name.includes(values.only));
  const folder = mkdtempSync(join(tmpdir(), "peal-ktls-"));
  try {
    const identity = makeCertificate(folder);
    const text = await runInGuest(programs, script(cases), {
      files: {
        "/certificate.pem": identity.certificate,
        "/key.pem": identity.key,
      },
      more: ["-icount", "shift=0,sleep=off"],
      processor: "max,-erms,-fsrm", // "rep movsb" counts every byte
      processors: "1",
      onText: (part) => process.stderr.write(part),
    });
    const results = resultsOf(text);
    const failed = [...results].filter(([, run]) => !run.ok);
    if (failed.length > 0 ||
        results.size !== cases.length * VERSIONS.length * 2) {
      console.error("bench/ktls: not all was measured");
      return 1;
    }
    const kernel = /^kernel (\S+)$/m.exec(text)[1];
    const report = [
      ...provenance("bench/ktls"),
      `Instructions, counted by qemu, in a guest with Linux ${kernel}: per`,
      "message echoed, or per delivery in fan-out.", "",
      ...table(cases, results),
    ].join("\n");
    if (values.write !== undefined) {
      write(values.write, "ktls", report);
    } else {
      console.log(report);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return 0;
}

process.exitCode = await main();
