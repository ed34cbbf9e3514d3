// `peal doctor` finds what is wrong at each step of the way to a server, says
// what to change, and sends nothing to a server that it cannot trust.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import { createServer as createHttps } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { makeBadCertificate, makeCertificate } from "./support/certificate.mjs";
import { peal, stop } from "./support/cli.mjs";
import { portOf, start } from "./support/process.mjs";

const folder = mkdtempSync(join(tmpdir(), "peal-cli-"));
after(() => rmSync(folder, { recursive: true }));

// Its exit code and lines, by check; of those that come twice, the last one.
async function doctor(...args) {
  const { code, out, err } = await peal(null, ["doctor", "--json", ...args])
    .ended;
  const lines = out.split("\n").slice(0, -1).map((line) => JSON.parse(line));

  return { code, err, lines,
    ...Object.fromEntries(lines.map((line) => [line.check, line])) };
}

// Looks at one line: its result, and what it says or advises.
function says(line, result, pattern) {
  assert.ok(line, `no line for ${pattern}`);
  assert.equal(line.result, result, JSON.stringify(line));
  assert.match(`${line.message} > ${line.advice ?? ""}`, pattern);
}

async function listen(server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.port = server.address().port;
  return server;
}

test("a good server, over both transports", async () => {
  const server = await start("relay", "--port", "0", "--tcp-port", "0",
    "--deflate");

  for (const url of [`ws://${server.ws}/`, `tcp://${server.tcp}`]) {
    const found = await doctor(url);
    assert.equal(found.code, 0);
    assert.equal(found.lines.filter((line) => line.result === "fail").length,
      0);
    says(found.connect, "ok", /127\.0\.0\.1/);
    says(found.limits, "ok", /1048576 bytes, 128 rooms/);
    says(found.heartbeat, "ok", /after 25 s of silence, and 20 s/);
    says(found.ping, "ok", /ms/);
    assert.equal(Boolean(found.upgrade), url.startsWith("ws"));
    assert.equal(Boolean(found.deflate), url.startsWith("ws"));
  }
  const found = await doctor(`ws://${server.ws}/`, "-t", "secret");
  says(found.upgrade, "ok", /101, subprotocol peal/);
  says(found.deflate, "ok", /permessage-deflate/);
  says(found.origin, "warn", /any site are let in.*origins/);
  says(found.token, "note", /let in without/);
  await stop(server);
});

test("for people: a line for each, advice below, a sum", async () => {
  const server = await start("demo", "--port", "0", "--tcp-port", "0");
  const { code, out } =
    await peal(server, ["doctor", "--color", "never"]).ended;

  assert.equal(code, 0);
  assert.match(out, new RegExp(`^ws://${server.ws}/$`, "m"));
  assert.match(out, /^ok {4}origin {4}pages of other sites are refused$/m);
  assert.match(out, /^note {2}deflate {3}messages are not compressed$/m);
  assert.match(out, /^\d+ ok, \d+ warnings?, 0 failures$/m);
  await stop(server);
});

test("names, ports and sockets that are not there: 3", async () => {
  const closed = await listen(createServer());
  const { port } = closed;
  await new Promise((resolve) => closed.close(resolve));

  let found = await doctor("ws://nowhere.invalid/");
  assert.equal(found.code, 3);
  says(found.name, "fail", /nowhere\.invalid: .*check the spelling/);
  found = await doctor(`ws://localhost:${port}/`);
  assert.equal(found.code, 3);
  says(found.connect, "fail", /refused.*is the server running/);
  found = await doctor("unix:/nowhere.sock");
  assert.equal(found.code, 3);
  says(found.connect, "fail", /no such socket/);
  for (const url of ["http://x/", "ws://", "ws://x:y/", "tcp://x", "x"]) {
    found = await doctor(url);
    assert.equal(found.code, 2, url);
    assert.match(found.err, /no address of a server/);
  }
});

test("the wrong protocol for the port: 3", async () => {
  const server = await start("relay", "--port", "0", "--tcp-port", "0");
  let found = await doctor(`wss://${server.ws}/`);
  assert.equal(found.code, 3);
  says(found.tls, "fail", /is there TLS on this port/);
  found = await doctor(`ws://${server.tcp}/`);
  assert.equal(found.code, 3);
  says(found.upgrade, "fail", /no answer in HTTP.*tcp:/);
  found = await doctor(`tcp://${server.ws}`, "--timeout", "300ms");
  assert.equal(found.code, 3);
  says(found.welcome, "fail", /could be understood/);
  await stop(server);

  const echo = await start("echo", "--port", "0");
  found = await doctor(`ws://${echo.ws}/`, "--timeout", "300ms");
  assert.equal(found.code, 3);
  says(found.welcome, "fail", /peal dialect/);
  await stop(echo);
});

test("what the statuses of an upgrade mean", async () => {
  let answer;
  const server = await listen(createHttp());
  server.on("upgrade", (request, socket) =>
    socket.end(`HTTP/1.1 ${answer} X\r\nContent-Length: 0\r\n\r\n`));
  for (const [status, args, code, pattern] of [
    [401, [], 4, /who you are: --token/],
    [401, ["-t", "x"], 4, /not accepted/],
    [403, [], 4, /--origin missing/],
    [403, ["--origin", "http://x"], 4, /this origin/],
    [404, [], 3, /path is not one/],
    [200, [], 3, /pass on Upgrade and Connection/],
    [301, [], 3, /Location/],
    [502, [], 3, /proxy does not reach/],
  ]) {
    answer = status;
    const found = await doctor(`ws://127.0.0.1:${server.port}/`, ...args);
    assert.equal(found.code, code);
    says(found.upgrade, "fail", pattern);
  }
  server.close();
});

// A WebSocket server that says what it is told to.
async function speaking({ date, messages, close, proof = true }) {
  const server = await listen(createHttp());
  server.on("upgrade", (request, socket) => {
    const key = request.headers["sec-websocket-key"] +
      "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const accept = createHash("sha1").update(key).digest("base64");

    socket.on("error", () => {});
    socket.write("HTTP/1.1 101 X\r\nUpgrade: websocket\r\n" +
      `Connection: Upgrade\r\nSec-WebSocket-Accept: ` +
      `${proof ? accept : "no"}\r\n` +
      `${date ? `Date: ${date.toUTCString()}\r\n` : ""}\r\n`);
    for (const message of messages) {
      const text = Buffer.from(JSON.stringify(message));
      socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]));
    }
    socket.on("data", () => socket.write(Buffer.from([0x8a, 0])));
    if (close) {
      const reason = Buffer.from(close[1]);
      socket.end(Buffer.concat([Buffer.from([0x88, 2 + reason.length,
        close[0] >> 8, close[0] & 255]), reason]));
    }
  });
  server.url = `ws://127.0.0.1:${server.port}/`;
  return server;
}

test("clocks, heartbeats, false proofs and closes", async () => {
  const welcome = (ms) => ({ event: "peal:welcome",
    data: { id: "x", ping_interval_ms: ms } });
  for (const [how, check, result, code, pattern] of [
    [{ date: new Date(), messages: [welcome(1000)] }, "clock", "ok", 0,
      /is right/],
    [{ date: new Date(Date.now() + 3_600_000), messages: [welcome(1000)] },
      "clock", "warn", 0, /3\d\d\d s ahead of.*NTP/],
    [{ date: new Date(Date.now() - 3_600_000), messages: [welcome(1000)] },
      "clock", "warn", 0, /behind/],
    [{ messages: [welcome(0)] }, "heartbeat", "warn", 0, /ping_interval_ms/],
    [{ messages: [welcome(90000)] }, "heartbeat", "warn", 0, /proxies cut/],
    [{ messages: [], proof: false }, "upgrade", "fail", 3, /on the way/],
    [{ messages: [], close: [1008, "who are you"] }, "welcome", "fail", 4,
      /1008 who are you.*--token/],
    [{ messages: [], close: [1013, "full"] }, "welcome", "fail", 3, /1013/],
  ]) {
    const server = await speaking(how);
    const found = await doctor(server.url);
    assert.equal(found.code, code, JSON.stringify(found.lines));
    says(found[check], result, pattern);
    server.close();
    server.closeAllConnections();
  }
});

test("certificates: verdicts, days, and no token for strangers", async () => {
  const { certificate, key } = makeCertificate(folder, "good");
  const soon = makeCertificate(folder, "soon", 5);
  const server = await start("relay", "--port", "0", "--tcp-port", "0",
    "--tls-cert", certificate, "--tls-key", key);

  for (const url of [`wss://${server.ws}/`, `tls://${server.tcp}`]) {
    let found = await doctor(url, "--cacert", certificate);
    assert.equal(found.code, 0);
    says(found.tls, "ok", /good by good is good for (29|30) days/);
    assert.ok(found.ping);
    found = await doctor(url);
    assert.equal(found.code, 3);
    says(found.tls, "fail", /self-signed certificate.*--cacert/);
    assert.equal(found.upgrade, undefined);
    assert.equal(found.welcome, undefined);
    found = await doctor(url, "--cacert", certificate, "--server-name", "x");
    says(found.tls, "fail", /mismatch.*--server-name/);
    found = await doctor(url, "--insecure");
    assert.equal(found.code, 0);
    says(found.tls, "warn", /self-signed/);
  }
  await stop(server);

  // The library does not look for names in the subject, hence neither here.
  makeBadCertificate(folder, "localhost", { from: "20200101000000Z",
    to: "20991231235959Z", names: "email:a@example.org" });
  const named = await start("relay", "--port", "0", "--tls-cert",
    join(folder, "localhost.crt"), "--tls-key", join(folder, "localhost.key"));
  const strange = await doctor(`wss://localhost:${portOf(named.ws)}/`,
    "--cacert", join(folder, "localhost.crt"));
  says(strange.tls, "fail", /mismatch/);
  await stop(named);

  const requests = [];
  const other = createHttps({ cert: readFileSync(soon.certificate),
    key: readFileSync(soon.key) });
  other.on("upgrade", (request, socket) => {
    requests.push(request.headers.authorization);
    socket.end("HTTP/1.1 401 X\r\n\r\n");
  });
  await listen(other);
  const url = `wss://localhost:${other.port}/`;
  let found = await doctor(url, "-t", "secret");
  assert.equal(found.code, 3);
  assert.deepEqual(requests, []);
  found = await doctor(url, "-t", "secret", "--cacert", soon.certificate);
  says(found.tls, "warn", /good for [45] days.*renew/);
  assert.equal(found.code, 4);
  assert.deepEqual(requests, ["Bearer secret"]);
  other.close();
});
