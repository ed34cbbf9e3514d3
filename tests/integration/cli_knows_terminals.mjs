// What `peal` does on a terminal alone: colours, which NO_COLOR, TERM=dumb and
// --color switch off, and lines that are written over.

import assert from "node:assert/strict";
import { test } from "node:test";
import { program, stop } from "./support/cli.mjs";
import { run, start } from "./support/process.mjs";

// Runs a command line with a terminal for all three streams.
async function onTerminal(line, env = {}) {
  const { PATH, HOME } = process.env;
  const child = run("script", ["-qec", `${program} ${line}`, "/dev/null"],
    { env: { PATH, HOME, TERM: "xterm", ...env } });

  child.stdin.end();
  return child.ended;
}

const RED = "\x1b[31m";

test("errors are red on a terminal, unless somebody minds", async () => {
  const error = "help nonsense";

  for (const [line, env, isRed] of [
    [error, {}, true],
    [error, { NO_COLOR: "" }, true], // as no-color.org wants it
    [error, { NO_COLOR: "1" }, false],
    [error, { TERM: "dumb" }, false],
    [`${error} --color never`, {}, false],
    [`${error} --color always`, { NO_COLOR: "1" }, true],
    [`${error} --json`, {}, false],
  ]) {
    const { code, out } = await onTerminal(line, env);
    assert.equal(code, 2, line);
    assert.match(out, /there is no command nonsense/);
    assert.equal(out.includes(RED), isRed, JSON.stringify([line, env]));
  }
});

test("peal bench has a line of progress, and peal top a screen", async () => {
  const server = await start("relay", "--port", "0");
  const env = { PEAL_URL: `ws://${server.ws}/` };
  const bench = "bench --conns 4 --rooms 2 --rate 50 --duration 1500ms";
  const shown = await onTerminal(bench, env);

  assert.equal(shown.code, 0, shown.out);
  assert.match(shown.out, /\r\x1b\[Kpublishing: 4 connected, 0 failed, \d+ /);
  assert.match(shown.out, /\r\x1b\[Kconnections +4 in /); // it is cleared
  const quiet = await onTerminal(`${bench} --quiet`, env);
  assert.doesNotMatch(quiet.out, /\x1b\[K/);

  const top = await onTerminal("top -n 1", env);
  assert.equal(top.code, 0);
  assert.match(top.out, /^\x1b\[H\x1b\[2J/);
  assert.match(top.out, /\x1b\[32mready\x1b\[0m/);
  await stop(server);
});
