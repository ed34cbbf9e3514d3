// `peal pub`, `peal emit` and `peal sub` against a server that lets its clients
// join and publish: what one is given, the other prints, over both transports.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { WebSocketServer } from "ws";
import { makeCertificate } from "./support/certificate.mjs";
import { peal, stop, subscribe, wrote } from "./support/cli.mjs";
import { start } from "./support/process.mjs";

const folder = mkdtempSync(join(tmpdir(), "peal-cli-"));
let server;

before(async () => {
  server = await start("relay", "--port", "0", "--tcp-port", "0");
});
after(async () => {
  await stop(server);
  rmSync(folder, { recursive: true });
});

const lines = (text) => text.split("\n").slice(0, -1);

// Runs it to its end, which has to be a good one.
async function done(args, options) {
  const { code, out, err } = await peal(server, args, options).ended;
  assert.deepEqual({ code, err }, { code: 0, err: "" }, args.join(" "));
  return out;
}

test("data is JSON when it can be, and a string otherwise", async () => {
  const sent = [
    ["hello", '"hello"'],
    ['"hello"', '"hello"'],
    ["42", "42"],
    [" [1, 2,\n 3] ", "[1,2,3]"],
    ['{"a b": "c  d"}', '{"a b":"c  d"}'],
    ['1,"x":2', '"1,\\"x\\":2"'],
    ["1}", '"1}"'],
    ["", '""'],
    ["line\nend", '"line\\nend"'],
    ["\u00e9\u{1f514}", '"\u00e9\u{1f514}"'],
  ];
  const sub = await subscribe(server, "json", "-n", String(sent.length + 2));

  for (const [data] of sent) {
    assert.equal(await done(["pub", "json", "--", data]), "");
  }
  await done(["pub", "json", "42", "--string", "-e", "answer"]);
  await done(["pub", "json"]);
  const { code, out } = await sub.ended;
  assert.equal(code, 0);
  assert.deepEqual(lines(out), [
    ...sent.map(([, printed]) => `json message ${printed}`),
    'json answer "42"',
    "json message",
  ]);
});

test("bytes, files and standard input", async () => {
  const file = join(folder, "bytes");
  const bytes = Buffer.from([0, 1, 2, 10, 255]);

  writeFileSync(file, bytes);
  const json = await subscribe(server, "bytes", "--json", "-n", "3");
  const hex = await subscribe(server, "bytes", "-F", "%n %l %x", "-n", "3");
  await done(["pub", "bytes", `@${file}`, "--bytes"]);
  await done(["pub", "bytes", "@-", "--bytes"], { input: "in\nput" });
  await done(["pub", "bytes", "text", "-b"]);
  const objects = lines((await json.ended).out).map((line) => JSON.parse(line));
  assert.deepEqual(
    objects.map((object) => Buffer.from(object.bytes, "base64")),
    [bytes, Buffer.from("in\nput"), Buffer.from("text")]);
  assert.equal((await hex.ended).out,
    "1 5 0001020aff\n2 6 696e0a707574\n3 4 74657874\n");

  const { code, err } =
    await peal(server, ["pub", "bytes", `@${file}`]).ended;
  assert.equal(code, 1);
  assert.match(err, /not UTF-8: use --bytes/);
});

test("lines of standard input, the last one without an end", async () => {
  const sub = await subscribe(server, "lines", "--raw", "-n", "1004");
  const input = Array.from({ length: 1000 }, (_, i) => `${i}\n`).join("");

  assert.deepEqual(
    JSON.parse(await done(["pub", "lines", "-", "--json"],
      { input: `${input}\r\n\n{"a":1}\nend` })),
    { sent: 1004, ok: 1004, failed: 0, unanswered: 0 });
  assert.equal((await sub.ended).out, `${input}\n\n{"a":1}\nend\n`);
});

test("a line is sent as soon as it is there", async () => {
  const sub = await subscribe(server, "typed", "--raw");
  const pub = peal(server, ["pub", "typed", "-"], { input: null });

  for (const word of ["one", "two"]) {
    pub.stdin.write(`${word}\n`);
    await wrote(sub, "out", new RegExp(`^${word}$`, "m"));
  }
  pub.stdin.end();
  assert.equal((await pub.ended).code, 0);
  sub.kill("SIGINT");
  assert.equal((await sub.ended).code, 130);
});

test("a line that is larger than what is read at once", async () => {
  const sub = await subscribe(server, "large", "-F", "%l", "-n", "2");
  const input = `${"x".repeat(300_000)}\n${"y".repeat(900_000)}\n`;

  await done(["pub", "large", "-"], { input });
  assert.equal((await sub.ended).out, "300002\n900002\n");
});

test("rates and counts", async () => {
  const began = performance.now();
  const sub = await subscribe(server, "rate", "--raw", "-n", "11");

  await done(["pub", "rate", "tick", "-n", "11", "-r", "50"]);
  assert.equal((await sub.ended).out, "tick\n".repeat(11));
  assert.ok(performance.now() - began >= 200);
});

test("without acknowledgements, all the same", async () => {
  for (const url of [`ws://${server.ws}/`, `tcp://${server.tcp}`]) {
    const sub = await subscribe(server, "plain", "-F", "%d", "-n", "5000");
    await done(["pub", "plain", "x", "--no-ack", "-n", "5000", "-u", url]);
    assert.equal((await sub.ended).code, 0);
  }
});

test("without acknowledgements, what could not be sent: 1", async () => {
  const pub = await peal(server, ["pub", "plain", "-", "--no-ack", "--json"],
    { input: `one\n${"x".repeat(1_500_000)}\ntwo\n` }).ended;

  assert.equal(pub.code, 1);
  assert.match(pub.err, /a message was not sent: /);
  assert.deepEqual(JSON.parse(pub.out),
    { sent: 3, ok: 0, failed: 1, unanswered: 0 });
});

test("formats have their letters", async () => {
  const sub = await subscribe(server, "format", "-n", "1", "-N", "-F",
    "%r|%e|%d|%j|%x|%l|%n|%i|%t|%T|%%\\t\\n\\\\\\0");

  await done(["pub", "format", '"a\\tb"', "-e", "tab"]);
  const { out } = await sub.ended;
  assert.match(out, new RegExp(
    "^format\\|tab\\|a\tb\\|\"a\\\\tb\"\\|22615c746222\\|6\\|1\\|" +
    "[0-9a-f-]{36}\\|" +
    "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z\\|" +
    "\\d+\\.\\d{6}\\|%\t\n\\\\\0$"));
});

test("what could command a terminal is shown as an escape", async () => {
  const sub = await subscribe(server, "evil", "-n", "1");

  await done(["pub", "evil", '"\\u001b[31m\u009b\u007f"', "-e", "a\u001bb"]);
  assert.equal((await sub.ended).out,
    'evil a\\x1bb "\\u001b[31m\\u009b\\u007f"\n');
});

test("several rooms, one event, and what comes through no room", async () => {
  const both = await subscribe(server, "a", "b", "-n", "3");
  const one = await subscribe(server, "a", "-e", "yes", "-n", "1", "--raw");

  await done(["pub", "a", "1"]);
  await done(["pub", "c", "2"]);
  await done(["pub", "b", "3", "-e", "yes"]);
  await done(["pub", "a", "4", "-e", "yes", "-u", `tcp://${server.tcp}`]);
  assert.equal((await both.ended).out,
    "a message 1\nb yes 3\na yes 4\n");
  assert.equal((await one.ended).out, "4\n");
});

test("the data of an emit reaches the server's handler", async () => {
  const sub = await subscribe(server, "notes", "--json", "-n", "1");

  await done(["emit", "note", '{"text":"hi"}']);
  const { time, ...event } = JSON.parse((await sub.ended).out);
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
  assert.deepEqual(event,
    { room: "notes", event: "note", data: { text: "hi" } });
});

test("sub ends when nobody reads what it prints", async () => {
  const sub = await subscribe(server, "pipe");

  sub.stdout.destroy();
  assert.equal((await sub.ended).signal, "SIGPIPE");
});

// A server that has let a client in and then says what it is told to.
function saying(...messages) {
  return pretending((say, { id }) => {
    say({ event: "peal:ok", id });
    messages.forEach(say);
  });
}

// A server that has let a client in and does this with each of its messages.
async function pretending(onMessage, id = "x") {
  const fake = new WebSocketServer({ port: 0, host: "127.0.0.1",
    handleProtocols: () => "peal" });
  fake.on("connection", (socket) => {
    const say = (message) => socket.send(JSON.stringify(message));
    say({ event: "peal:welcome", data: { id, protocol: 1 } });
    socket.on("message", (text) => onMessage(say, JSON.parse(text)));
  });
  await once(fake, "listening");
  return Object.assign(fake, { ws: `127.0.0.1:${fake.address().port}` });
}

test("what is not answered when it is interrupted is no failure", async () => {
  let pub;
  const fake = await pretending(() => pub.kill("SIGINT"));
  pub = peal(fake, ["emit", "x", "--json"]);
  const { code, out } = await pub.ended;

  assert.equal(code, 130);
  assert.deepEqual(JSON.parse(out),
    { sent: 1, ok: 0, failed: 0, unanswered: 1 });
  fake.close();
});

test("a room that is not joined again in time is told", async () => {
  let joins = 0;
  const fake = await pretending((say, { id }) => {
    if (joins++ === 0) {
      say({ event: "peal:ok", id });
      fake.clients.forEach((socket) => socket.close(1012));
    }
  });
  const sub = await subscribe(fake, "g", "--timeout", "300ms");

  await wrote(sub, "err", /a room could not be joined yet: no answer in time/);
  sub.kill("SIGINT");
  assert.equal((await sub.ended).code, 130);
  fake.close();
});

test("an id that could command a terminal", async () => {
  const fake = await pretending((say, { id }) => {
    say({ event: "peal:ok", id });
    say({ event: "m", room: "g", data: 1 });
  }, "\x1b[2J");
  const { out } =
    await peal(fake, ["sub", "g", "-n", "1", "-F", "%i"]).ended;

  assert.equal(out, "\\x1b[2J\n");
  fake.close();
});

test("gaps are told, in their place with --json, and end --strict", async () => {
  const gap = { event: "peal:gap", room: "g",
    data: { count: 3, reason: "drop_oldest" } };
  const fake = await saying({ event: "m", room: "g", data: 1 }, gap,
    { ...gap, room: "other" }, { event: "m", room: "g", data: 5 },
    { event: "peal:gap", data: { count: 2, reason: "drop_newest" } },
    { event: "m", room: "g", data: 6 });

  for (const [args, code, out, last] of [
    [["-n", "3", "--raw"], 0, "1\n5\n6\n", "2 messages of everybody"],
    [["-n", "3", "--raw", "-e", "m"], 0, "1\n5\n6\n", "2 messages of every"],
    [["-n", "9", "--raw", "--strict"], 1, "1\n", "3 messages of g"],
  ]) {
    const result = await peal(fake, ["sub", "g", ...args]).ended;
    assert.deepEqual([result.code, result.out], [code, out]);
    assert.match(result.err,
      /3 messages of g are missing here: drop_oldest/);
    assert.ok(lines(result.err).pop().includes(last), result.err);
    assert.doesNotMatch(result.err, /of other/);
  }
  const json = await peal(fake, ["sub", "g", "-n", "3", "--json"]).ended;
  assert.deepEqual(
    lines(json.out).map((line) => JSON.parse(line).data.count ??
      JSON.parse(line).data), [1, 3, 5, 2, 6]);
  fake.close();
});

test("compressed, when both sides want it", async () => {
  const own = await start("relay", "--port", "0", "--deflate");
  const sub = await subscribe(own, "z", "--deflate", "-F", "%l", "-n", "1");
  const { code } = await peal(own, ["pub", "z", "@-", "--deflate"],
    { input: "x".repeat(100_000) }).ended;
  const metrics = await (await fetch(`http://${own.ws}/metrics`)).text();
  const sent = /^peal_received_bytes_total (\d+)/m.exec(metrics)[1];

  assert.equal(code, 0);
  assert.ok(Number(sent) < 20_000, sent);
  assert.equal((await sub.ended).out, "100002\n");
  await stop(own);
});

test("with the demo, as it comes", async () => {
  const demo = await start("demo", "--port", "0", "--tcp-port", "0");
  const sub = await subscribe(demo, "lobby", "-n", "1");
  const { code } = await peal(demo, ["pub", "lobby", "hello"]).ended;

  assert.equal(code, 0);
  assert.equal((await sub.ended).out, 'lobby message "hello"\n');
  await stop(demo);
});

test("TLS on both transports, only with the right certificate", async () => {
  const { certificate, key } = makeCertificate(folder, "server");
  const other = makeCertificate(folder, "other").certificate;
  const tls = await start("relay", "--port", "0", "--tcp-port", "0",
    "--tls-cert", certificate, "--tls-key", key);
  const trusting = ["--cacert", certificate];

  for (const url of [`wss://${tls.ws}/`, `tls://${tls.tcp}`]) {
    const sub = await subscribe(tls, "t", "-n", "1", "-u", url, ...trusting);
    await done(["pub", "t", "x", "-u", url, ...trusting]);
    assert.equal((await sub.ended).out, 't message "x"\n');
    for (const [args, why] of [
      [[], /TLS: self-signed certificate/],
      [["--cacert", other], /TLS: /],
      [[...trusting, "--server-name", "elsewhere"], /TLS: hostname mismatch/],
    ]) {
      const { code, err } =
        await peal(tls, ["pub", "t", "x", "-u", url, ...args]).ended;
      assert.equal(code, 3);
      assert.match(err, why);
    }
    const { code, err } =
      await peal(tls, ["pub", "t", "x", "-u", url, "--insecure"]).ended;
    assert.equal(code, 0);
    assert.match(err, /nobody checks who the server is/);
  }
  await stop(tls);
});

test("a publisher goes on after the server was away", async () => {
  const own = await start("relay", "--port", "0");
  const port = own.ws.split(":").pop();
  const sub = await subscribe(own, "back", "--raw", "-n", "2");
  const strict = await subscribe(own, "back", "--strict");
  const pub = peal(own, ["pub", "back", "-"], { input: null });

  pub.stdin.write("before\n");
  await wrote(sub, "out", /before/);
  await stop(own);
  await Promise.all([wrote(sub, "err", /connection is lost: .*1001/),
    wrote(pub, "err", /connection is lost: .*1001/)]);
  const again = await start("relay", "--port", port);
  await Promise.all([wrote(sub, "err", /again after .* is missing/),
    wrote(pub, "err", /again after/)]);
  // It has asked to be in its room again; when it is, the server knows.
  const repeating = setInterval(() => pub.stdin.write("after\n"), 50);
  assert.equal((await sub.ended).out, "before\nafter\n");
  clearInterval(repeating);
  pub.stdin.end();
  assert.equal((await pub.ended).code, 0);
  assert.equal((await strict.ended).code, 1);
  await stop(again);
});
