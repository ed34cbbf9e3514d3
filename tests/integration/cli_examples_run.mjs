// The examples of `peal COMMAND --help` do what they say: each is run by a
// shell as it stands, with a server and whatever else it needs beside it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { peal, program, stop } from "./support/cli.mjs";
import { run, start } from "./support/process.mjs";

const { commands } = JSON.parse(
  execFileSync(program, ["help", "--json"], { encoding: "utf8" }));
const folder = mkdtempSync(join(tmpdir(), "peal-cli-"));
let server;

before(async () => {
  server = await start("relay", "--port", "0", "--tcp-port", "0");
  writeFileSync(join(folder, "file"), "some bytes");
});
after(async () => {
  await stop(server);
  rmSync(folder, { recursive: true });
});

// What has to go on meanwhile for the examples of a command: arguments of peal.
const beside = {
  sub: [["pub", "lobby", "hello", "-n", "1000000", "-r", "50"]],
};

for (const { name, examples } of commands) {
  test(`examples of peal ${name}`, async () => {
    assert.ok(examples.length > 0);
    const others = (beside[name] ?? []).map((args) => peal(server, args));

    for (const { line } of examples) {
      const child = run("/bin/sh", ["-c", line], {
        cwd: folder,
        env: {
          ...process.env,
          PATH: `${dirname(program)}:${process.env.PATH}`,
          PEAL_URL: `ws://${server.ws}/`,
          FILE: join(folder, "file"),
        },
      });
      child.stdin.end();
      const { code, err } = await child.ended;
      assert.equal(code, 0, `${line}: ${err}`);
    }
    for (const other of others) {
      other.kill("SIGINT");
      assert.equal((await other.ended).code, 130);
    }
  });
}
