// `peal request` gets its answer, `peal reply` gives it by running commands, and
// `peal ping` measures the way: through a server that passes requests on.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync }
  from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { between, peal, stop, wrote } from "./support/cli.mjs";
import { portOf, start } from "./support/process.mjs";

const folder = mkdtempSync(join(tmpdir(), "peal-cli-"));
let server;

before(async () => {
  server = await start("relay", "--port", "0", "--tcp-port", "0");
});
after(async () => {
  await stop(server);
  rmSync(folder, { recursive: true });
});

// Starts a replier in a room of its own, and resolves when it is ready.
let rooms = 0;
async function reply(options, ...command) {
  const room = `workers-${++rooms}`;
  const child = peal(server,
    ["reply", "do", "--join", room, ...options, "--", ...command],
    { input: null });

  await wrote(child, "err", /ready/);
  child.ask = (data, ...more) =>
    peal(server, ["request", "call", "@-", ...more],
      { input: JSON.stringify({ room, event: "do", data }) }).ended;
  child.stop = async () => {
    child.kill("SIGINT");
    assert.equal((await child.ended).code, 130);
  };
  return child;
}

test("the data goes in, the output comes back", async () => {
  const cat = await reply([], "cat");

  for (const [data, out] of [
    [{ a: [1, "x"] }, '{"a":[1,"x"]}\n'],
    ["text", '"text"\n'],
    [undefined, ""],
    ["x".repeat(500_000), `"${"x".repeat(500_000)}"\n`],
  ]) {
    assert.deepEqual(await cat.ask(data),
      { code: 0, signal: null, out, err: "" });
  }
  assert.equal((await cat.ask("a\nb", "--raw", "--no-newline")).out, "a\nb");
  const { ok, ms, ...rest } = JSON.parse((await cat.ask(7, "--json")).out);
  assert.deepEqual({ ok, rest }, { ok: true, rest: { data: 7 } });
  assert.ok(ms > 0);
  await cat.stop();
});

test("strings as their text, other output, bytes, environment", async () => {
  const upper = await reply(["--raw"], "tr", "a-z", "A-Z");
  assert.equal((await upper.ask("two words\n")).out, '"TWO WORDS"\n');
  await upper.stop();

  const string = await reply(["--string"], "echo", "42");
  assert.equal((await string.ask()).out, '"42"\n');
  await string.stop();

  const bytes = await reply(["--bytes"], "printf", "\\377\\0");
  assert.equal((await bytes.ask()).out, "base64:/wA=\n");
  await bytes.stop();

  const named = await reply([], "printenv", "PEAL_EVENT");
  assert.equal((await named.ask()).out, '"do"\n');
  await named.stop();

  const latin = await reply([], "printf", "\\377");
  const { code, err } = await latin.ask();
  assert.equal(code, 1);
  assert.match(err, /1000 bad_output/);
  await latin.stop();
});

test("a status other than 0 is a failure with the error's text", async () => {
  const failing = await reply(["--json"],
    "sh", "-c", "echo no luck >&2; echo output; exit 3");
  const result = await failing.ask("x");
  assert.equal(result.code, 1);
  assert.match(result.err, /no luck \(1003 command_failed\)/);
  const { ok, code, name, message, temporary } =
    JSON.parse((await failing.ask("x", "--json")).out);
  assert.deepEqual({ ok, code, name, message, temporary }, { ok: false,
    code: 1003, name: "command_failed", message: "no luck", temporary: false });
  const [line] = failing.texts.out.split("\n");
  assert.deepEqual({ ...JSON.parse(line), time: 0, ms: 0 }, { time: 0, ms: 0,
    outcome: "failed", message: "no luck, exit status 3" });
  await failing.stop();

  const missing = await reply([], "/nowhere/command");
  assert.match((await missing.ask()).err, /1127 command_failed/);
  await missing.stop();

  const counted = await reply(["-n", "1", "--json"], "/nowhere/command");
  assert.equal((await counted.ask()).code, 1);
  const { code: status, out } = await counted.ended;
  assert.equal(status, 0);
  assert.equal(JSON.parse(out).outcome, "failed");
});

test("what nobody waits for any more is lost, not answered", async () => {
  const middle = await between(portOf(server.ws));
  const [begun, go] = ["begun", "go"].map((name) => join(folder, name));
  const slow = await reply(
    ["--json", "-u", `ws://127.0.0.1:${middle.address().port}/`],
    "sh", "-c", `touch ${begun}; until [ -e ${go} ]; do sleep 0.01; done`);
  const asked = slow.ask();

  while (!existsSync(begun)) {
    await new Promise(setImmediate);
  }
  middle.cut();
  await wrote(slow, "err", /the connection is lost/);
  writeFileSync(go, "");
  await wrote(slow, "out", /"outcome":"lost"/);
  assert.equal((await asked).code, 1);
  await slow.stop();
  middle.close();
});

const isAlive = (pid) => existsSync(`/proc/${pid}`) &&
  !/State:\s+Z/.test(readFileSync(`/proc/${pid}/status`, "utf8"));

test("commands that do not want to end do not stay behind", async () => {
  const stubborn = await reply([], "sh", "-c",
    `trap "" TERM; cd ${folder}; sleep 1000 & echo $! $$ >new; mv new pids
     wait; wait`);
  const asked = stubborn.ask();
  const pids = join(folder, "pids");

  while (!existsSync(pids)) {
    await new Promise(setImmediate);
  }
  await stubborn.stop();
  const left = readFileSync(pids, "utf8").trim().split(" ").filter(isAlive);
  assert.deepEqual(left, []);
  assert.equal((await asked).code, 1);
});

test("a command that takes too long is killed, with its children", async () => {
  const mark = join(folder, "pid");
  const slow = await reply(["--limit", "100ms"],
    "sh", "-c", `sleep 1000 & echo $! >${mark}; wait`);
  const { code, err } = await slow.ask();

  assert.equal(code, 5);
  assert.match(err, /took too long \(106 timeout\)/);
  const pid = Number(readFileSync(mark, "utf8"));
  while (isAlive(pid)) {
    await new Promise(setImmediate);
  }
  await slow.stop();
});

test("so many at once, the rest in turn, and an end after N", async () => {
  // Each waits until two are there; a third one at once would make three.
  const script = `cd ${folder}; touch $$.run; n=0
    while [ $(ls *.run | wc -l) -lt 2 ] && [ ! -e two ]; do sleep 0.01; done
    touch two; ls *.run | wc -l; rm $$.run`;
  const two = await reply(["--jobs", "2", "-n", "5"], "sh", "-c", script);
  const results = await Promise.all(
    Array.from({ length: 5 }, () => two.ask()));

  for (const { code, out } of results) {
    assert.equal(code, 0);
    assert.ok(Number(out) <= 2, out);
  }
  assert.equal((await two.ended).code, 0);
});

test("input that the command does not read, and too much output", async () => {
  const deaf = await reply([], "true");
  assert.equal((await deaf.ask("x".repeat(500_000))).code, 0);
  await deaf.stop();

  const loud = await reply([], "cat", "/dev/zero");
  const { code, err } = await loud.ask();
  assert.equal(code, 1);
  assert.match(err, /1000 too_much_output/);
  await loud.stop();
});

test("requests that nobody answers, and failures of the server", async () => {
  for (const [args, code, pattern] of [
    [["request", "nothing"], 1, /101 unknown_event/],
    [["request", "call", "{}"], 1, /1000 bad_call/],
    [["request", "call", '{"room":"r","event":"e"}'], 1, /1001 nobody_there/],
    [["request", "peal:x"], 2, /cannot be the name of an event/],
    [["reply", "do"], 2, /missing: peal reply EVENT -- COMMAND/],
    [["reply", "do", "--jobs", "65", "--", "cat"], 2, /at most 64 jobs/],
    [["reply", "do", "--join", "", "--", "cat"], 2, /name of a room/],
  ]) {
    const result = await peal(server, args).ended;
    assert.equal(result.code, code, result.err);
    assert.match(result.err, pattern);
  }
  const slow = await reply([], "sleep", "1000");
  const result = await slow.ask("x", "--timeout", "100ms");
  assert.equal(result.code, 5);
  assert.match(result.err, /no answer in time/);
  await slow.stop();
});

test("pings have percentiles, over both transports", async () => {
  for (const url of [`ws://${server.ws}/`, `tcp://${server.tcp}`]) {
    const text = await peal(server, ["ping", "-n", "3", "-i", "1ms",
      "-u", url]).ended;
    assert.equal(text.code, 0);
    assert.match(text.out, /^1: [\d.]+ ms\n2: .*\n3: .*\n3 sent, 0 lost\nmin /);
    const json = await peal(server, ["ping", "-n", "20", "-i", "1ms", "--json",
      "-u", url]).ended;
    const figures = JSON.parse(json.out);
    assert.equal(figures.sent, 20);
    assert.equal(figures.lost, 0);
    const times = ["min", "p50", "p90", "p99", "max"].map(
      (name) => figures[`${name}_ms`]);
    assert.deepEqual(times, [...times].sort((a, b) => a - b));
    assert.ok(times[0] > 0);
  }
  const stelar = await peal(server, ["ping", "--dialect", "stelar"]).ended;
  assert.equal(stelar.code, 1);
  assert.match(stelar.err, /no way to say this/);
});
