// What `peal` says, and its exit codes, when something is wrong: with the
// command line, on the way to the server, and with what the server allows.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import { peal, stop, subscribe, wrote } from "./support/cli.mjs";
import { start } from "./support/process.mjs";

async function ends(server, args, code, pattern, options) {
  const result = await peal(server, args, options).ended;

  assert.equal(result.code, code, `${args.join(" ")}: ${result.err}`);
  assert.match(result.err, pattern, args.join(" "));
  return result;
}

test("command lines that make no sense: 2", async () => {
  for (const [args, pattern] of [
    [[], /usage: peal COMMAND/],
    [["nonsense"], /no command nonsense/],
    [["--nonsense"], /no option --nonsense/],
    [["help", "nonsense"], /no command nonsense/],
    [["sub"], /missing: peal sub ROOM/],
    [["pub"], /missing: peal pub ROOM/],
    [["pub", "a", "b", "c"], /too much: c/],
    [["pub", "a", "--nonsense"], /no option --nonsense/],
    [["pub", "a", "-n"], /value is missing behind -n/],
    [["pub", "a", "-n", "0"], /--count is a whole number.*"0"/],
    [["pub", "a", "-n", "1x"], /--count/],
    [["pub", "a", "-r", "-1"], /--rate is a number from 0.001/],
    [["pub", "a", "-r", "1e-11"], /--rate is a number from 0.001/],
    [["pub", "a", "-r", "inf"], /--rate/],
    [["pub", "a", "--timeout", "1y"], /--timeout is a time such as 250ms/],
    [["pub", "a", "--timeout", "0.0001"], /--timeout/],
    [["pub", "a", "--color", "blue"], /--color is one of: auto always never/],
    [["pub", "a", "--dialect", "raw"], /--dialect is one of: peal stelar/],
    [["pub", "a", "-H", "no header"], /a header is a line/],
    [["pub", "a", "-u", "http://x/"], /no address of a server/],
    [["pub", "a", "--token-file", "/none"], /cannot read a token from/],
    [["pub", "a", "-t", "x".repeat(5000)], /the token is too long/],
    [["pub", "a", "--cacert", "/none"], /\/none: No such file/],
    [["pub", "a", "--key", "/none"], /--key needs --cert/],
    [["sub", "a", "-F", "%q"], /"%q" in the format/],
    [["sub", "a", "-F", "%"], /in the format/],
    [["sub", "x".repeat(257)], /cannot be the name of a room/],
    [["pub", "", "x"], /cannot be the name of a room/],
    [["emit", "peal:x"], /cannot be the name of an event/],
  ]) {
    await ends(null, args, 2, pattern);
  }
});

test("errors as JSON, and colours only where they are wanted", async () => {
  const json = await ends(null, ["pub", "a", "-n", "0", "--json"], 2, /./);
  const { level, message } = JSON.parse(json.err);
  assert.equal(level, "error");
  assert.match(message, /--count/);

  const always = ["pub", "a", "-u", "http://x/", "--color", "always"];
  assert.match((await ends(null, always, 2, /./)).err, /^\x1b\[31m/);
  assert.doesNotMatch(
    (await ends(null, always.slice(0, 4), 2, /./)).err, /\x1b/);
});

test("help and version: 0", async () => {
  for (const args of [["--help"], ["help"], ["sub", "--help"], ["help", "sub"],
    ["--version"], ["pub", "-V"]]) {
    const { code, out, err } = await peal(null, args).ended;
    assert.deepEqual({ code, err }, { code: 0, err: "" });
    assert.match(out, /peal/);
    out.split("\n").forEach((line) => assert.ok(line.length < 80, line));
  }
});

test("servers that cannot be reached: 3", async () => {
  const closed = createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const port = closed.address().port;
  await new Promise((resolve) => closed.close(resolve));
  await ends(null, ["pub", "a", "-u", `ws://127.0.0.1:${port}/`], 3,
    /nobody listens there/);
  await ends(null, ["sub", "a", "-u", "tcp://nowhere.invalid:1"], 3,
    /name cannot be resolved/);
  await ends(null, ["sub", "a", "-u", "unix:/nowhere.sock"], 3,
    /cannot connect/);

  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const url = `ws://127.0.0.1:${silent.address().port}/`;
  await ends(null, ["sub", "a", "-u", url, "--timeout", "100ms"], 3,
    /took too long/);
  silent.close();

  const server = await start("echo", "--port", "0");
  const http = `ws://${server.ws}/`;
  await ends(null, ["sub", "a", "-u", http, "--timeout", "200ms"], 3, /./);
  await stop(server);
});

// A server that refuses each upgrade with a status.
async function refusing(status) {
  const server = createHttp();
  server.on("upgrade", (request, socket) => {
    server.seen = request.headers;
    socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.url = `ws://127.0.0.1:${server.address().port}/`;
  return server;
}

test("who is not let in: 4, with what it has sent", async () => {
  for (const [status, code] of [[401, 4], [403, 4], [404, 3], [503, 3]]) {
    const server = await refusing(status);
    await ends(null, ["pub", "a", "-u", server.url, "-H", "X-User: ada",
      "--origin", "http://here"], code, new RegExp(`status ${status}`),
    { env: { PEAL_TOKEN: "secret" } });
    assert.equal(server.seen.authorization, "Bearer secret");
    assert.equal(server.seen["x-user"], "ada");
    assert.equal(server.seen.origin, "http://here");
    server.close();
  }
  const demo = await start("demo", "--port", "0", "--tcp-port", "0");
  await ends(demo, ["sub", "a", "--origin", "http://elsewhere"], 4,
    /1008: not from this page/);
  await stop(demo);
});

test("a token: the command line first, and of that the last", async () => {
  const server = await refusing(401);
  const folder = mkdtempSync(join(tmpdir(), "peal-cli-"));
  const file = join(folder, "token");
  const long = join(folder, "long");
  writeFileSync(file, "filed\n");
  writeFileSync(long, "x".repeat(5000));

  for (const [args, token] of [
    [[], "set"],
    [["--token-file", file], "filed"],
    [["--token-file", file, "-t", "given"], "given"],
    [["-t", "given", "--token-file", file], "filed"],
  ]) {
    await ends(null, ["pub", "a", "-u", server.url, ...args], 4, /401/,
      { env: { PEAL_TOKEN: "set" } });
    assert.equal(server.seen.authorization, `Bearer ${token}`);
  }
  await ends(null, ["pub", "a", "-u", server.url], 4, /401/,
    { env: { PEAL_TOKEN_FILE: file } });
  assert.equal(server.seen.authorization, "Bearer filed");
  await ends(null, ["pub", "a", "-t", "given", "-u", server.url], 4, /401/,
    { env: { PEAL_TOKEN_FILE: file } });
  assert.equal(server.seen.authorization, "Bearer given");
  await ends(null, ["pub", "a", "--token-file", long], 2, /line is too long/);
  server.close();
  rmSync(folder, { recursive: true });
});

test("rooms that nobody may join by himself: 4", async () => {
  const server = await start("chat", "--port", "0");

  await ends(server, ["sub", "lobby"], 4,
    /cannot join lobby: .*102 not_allowed.*lets nobody join/);
  await ends(server, ["pub", "lobby", "x"], 4,
    /102 not_allowed.*does not let its clients publish/);
  await ends(server, ["emit", "nothing"], 1, /101 unknown_event/);
  await stop(server);
});

test("what does not come in time: 5", async () => {
  const server = await start("relay", "--port", "0");

  await ends(server, ["sub", "a", "-n", "2", "-W", "50ms"], 5,
    /0 of 2 events came in time/);
  const { code } = await peal(server, ["sub", "a", "-W", "50ms"]).ended;
  assert.equal(code, 0);
  await stop(server);
});

test("interrupted: 130, and the server is told", async () => {
  const server = await start("relay", "--port", "0");

  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]]) {
    const sub = await subscribe(server, "a");
    sub.kill(signal);
    assert.equal((await sub.ended).code, code);
  }
  await stop(server);
});

test("a server that closes for good is not asked again", async () => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1",
    handleProtocols: () => "peal" });
  await once(server, "listening");
  server.on("connection", (socket) => socket.close(4500, "enough"));
  await ends({ ws: `127.0.0.1:${server.address().port}` },
    ["pub", "a", "x", "--retry"], 3, /the server closed with 4500: enough/);
  server.close();
});

test("--retry waits for a server that is not there yet", async () => {
  const first = await start("relay", "--port", "0");
  const port = first.ws.split(":").pop();
  await stop(first);

  const pub = peal(first, ["pub", "a", "x", "--retry"]);
  await wrote(pub, "err", /nobody listens there; again in/);
  const second = await start("relay", "--port", port);
  assert.equal((await pub.ended).code, 0);
  await stop(second);
});
