// The examples of `peal COMMAND --help` do what they say: each is run by a
// shell as it stands, with a server and whatever else it needs beside it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { peal, program, stop, wrote } from "./support/cli.mjs";
import { run, start } from "./support/process.mjs";

const { commands } = JSON.parse(
  execFileSync(program, ["help", "--json"], { encoding: "utf8" }));
const folder = mkdtempSync(join(tmpdir(), "peal-cli-"));
let server;

before(async () => {
  server = await start("relay", "--port", "0", "--tcp-port", "0");
  writeFileSync(join(folder, "file"), "some bytes");
  writeFileSync(join(folder, "call"),
    '{"room": "workers", "event": "upper", "data": "x"}');
});
after(async () => {
  await stop(server);
  rmSync(folder, { recursive: true });
});

// What goes on beside the examples of a command; it ends what it has begun.
const beside = {
  async sub(run) {
    const pub = ["pub", "lobby", "hello", "-n", "1000000", "-r", "50"];
    await during(peal(server, pub), run);
  },
  async request(run) {
    const worker = peal(server,
      ["reply", "upper", "--join", "workers", "--", "tr", "a-z", "A-Z"]);
    await wrote(worker, "err", /ready/);
    await during(worker, run);
  },
};

async function during(other, run) {
  await run();
  other.kill("SIGINT");
  assert.equal((await other.ended).code, 130);
}

// What a command needs while it runs.
const meanwhile = {
  async reply(child) {
    await wrote(child, "err", /ready/);
    const call = ["request", "call", `@${join(folder, "call")}`];
    assert.equal((await peal(server, call).ended).code, 0);
  },
};

async function runLine(name, line) {
  const child = run("/bin/sh", ["-c", line], {
    cwd: folder,
    env: {
      ...process.env,
      PATH: `${dirname(program)}:${process.env.PATH}`,
      PEAL_URL: `ws://${server.ws}/`,
      TCP_URL: `tcp://${server.tcp}`,
      FILE: join(folder, "file"),
      CALL: join(folder, "call"),
    },
  });

  child.stdin.end();
  await meanwhile[name]?.(child);
  const { code, err } = await child.ended;
  assert.equal(code, 0, `${line}: ${err}`);
}

for (const { name, examples } of commands) {
  test(`examples of peal ${name}`, async () => {
    const runAll = async () => {
      for (const { line } of examples) {
        await runLine(name, line);
      }
    };

    assert.ok(examples.length > 0);
    await (beside[name] ?? ((run) => run()))(runAll);
  });
}
