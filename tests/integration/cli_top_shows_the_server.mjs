// `peal top` shows what a server's metrics say: numbers, rates, times and
// reasons; and says what is wrong when it cannot.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { makeCertificate } from "./support/certificate.mjs";
import { peal, program, stop, subscribe, wrote } from "./support/cli.mjs";
import { run, start } from "./support/process.mjs";

const folder = mkdtempSync(join(tmpdir(), "peal-top-"));
after(() => rmSync(folder, { recursive: true }));

const objects = (out) =>
  out.trim().split("\n").map((line) => JSON.parse(line));

test("numbers, rates and times of a server that is used", async () => {
  const server = await start("relay", "--port", "0", "--tcp-port", "0");
  const sub = await subscribe(server, "lobby");
  const top = peal(server, ["top", "-n", "3", "-i", "100ms", "--json"]);
  await wrote(top, "out", /\n/);
  const pub = await peal(server, ["pub", "lobby", "x", "-n", "500"]).ended;
  assert.equal(pub.code, 0);
  const { code, out, err } = await top.ended;
  assert.deepEqual({ code, err }, { code: 0, err: "" });

  const [first, ...later] = objects(out);
  assert.equal(first.ready, 1);
  assert.equal(first.ws_clients, 1);
  assert.equal(first.tcp_clients, 0);
  assert.equal(first.rooms, 1);
  assert.ok(first.memory > 1e6);
  assert.equal(first.per_second.received, null);
  for (const object of later) {
    assert.ok(object.per_second.received >= 0);
  }

  const { out: table } = await peal(server, ["top", "-n", "1"]).ended;
  assert.match(table, /^http:\/\/\S+\/metrics {3}peal \S+, up \d+ s, ready$/m);
  assert.match(table, /^ws clients +1$/m);
  assert.match(table, /^received +500 +-$/m);
  assert.match(table, /^loop turn +\d+(\.\d)? (us|ms|s) +\d/m);
  assert.match(table, /peal_connections_closed_total\{code="1000",/);
  sub.kill("SIGTERM");
  await sub.ended;
  await stop(server);
});

// A server whose counters are known, so that what is made of them is, too.
async function pretend(answers) {
  const server = createServer((request, response) => {
    const body = answers.length > 1 ? answers.shift() : answers[0];
    response.writeHead(body === undefined ? 503 : 200).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const page = (started, delivered, buckets) => [
  'peal_build_info{version="9.9"} 1',
  `process_start_time_seconds ${started}`,
  `peal_messages_delivered_total ${delivered}`,
  'peal_connections{namespace="a",transport="ws"} 3',
  'peal_connections{namespace="b",transport="ws"} 4',
  ...["a", "b"].flatMap((method, m) => ["0.001", "0.01", "+Inf"].map((le, i) =>
    `peal_request_duration_seconds_bucket{method="${method}",le="${le}"} ` +
    `${m === 0 ? 0 : buckets[i]}`)),
].join("\n");

test("rates of a run, percentiles of an interval, sums of labels", async () => {
  const server = await pretend([
    page(100, 1000, [10, 10, 10]),
    page(100, 2000, [10, 109, 110]), // 99 up to 10 ms, one beyond
    page(200, 5, [0, 0, 0]), // it has been started anew
  ]);
  const url = `http://127.0.0.1:${server.address().port}/`;
  const { code, out } = await peal(
    null, ["top", url, "-n", "3", "-i", "50ms", "--json"]).ended;
  const [first, second, third] = objects(out);

  assert.equal(code, 0);
  assert.equal(first.ws_clients, 7);
  assert.equal(first.rooms, null);
  assert.equal(first.seconds.p50_request, 0.001);
  assert.ok(second.per_second.delivered > 0);
  assert.ok(second.per_second.delivered <= 1000 / 0.01);
  assert.equal(second.seconds.p50_request, 0.01);
  assert.equal(second.seconds.p99_request, 0.01);
  assert.equal(third.per_second.delivered, null);
  assert.equal(third.seconds.p99_request, null);
  server.close();
});

test("what could command a terminal is shown as an escape", async () => {
  const server = await pretend([[
    'peal_build_info{version="1\x1b[2J"} 1',
    'peal_limit_refusals_total{limit="\x1b[31m"} 7',
  ].join("\n")]);
  const { code, out } = await peal(
    null, ["top", `http://127.0.0.1:${server.address().port}/`, "-n", "1"])
    .ended;

  assert.equal(code, 0);
  assert.ok(!out.includes("\x1b"), out);
  assert.ok(out.includes("peal 1\\x1b[2J, up"), out);
  assert.ok(out.includes('{limit="\\x1b[31m"}\n'), out);
  server.close();
});

test("a server that goes away is asked again; SIGINT: 130", async () => {
  const server = await pretend([page(1, 1, [0, 0, 0]), undefined]);
  const top = peal(
    null, ["top", `http://127.0.0.1:${server.address().port}/`, "-i", "10ms"]);

  await wrote(top, "err", /HTTP status 503[^]*HTTP status 503/);
  top.kill("SIGINT");
  assert.equal((await top.ended).code, 130);
  server.close();
});

test("a server that does not answer does not hold up SIGINT", async () => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const asked = once(server, "request");
  const top = peal(
    null, ["top", `http://127.0.0.1:${server.address().port}/`]);

  await asked;
  top.kill("SIGINT");
  assert.equal((await top.ended).code, 130);
  server.closeAllConnections();
  server.close();
});

test("TLS: verified, like everything else", async () => {
  const { certificate, key } = makeCertificate(folder, "top");
  const server = await start("relay", "--port", "0", "--tls-cert", certificate,
    "--tls-key", key);
  const env = { PEAL_URL: `wss://${server.ws}/` };
  const run = (...args) =>
    peal(null, ["top", "-n", "1", "--json", ...args], { env }).ended;

  assert.equal((await run("--cacert", certificate)).code, 0);
  assert.equal((await run("--insecure")).code, 0);
  const { code, err } = await run();
  assert.equal(code, 3);
  assert.match(err, /certificate/);
  await stop(server);
});

// With authorities of its own in the system's folder, which takes a namespace
// that not every system lets its users have.
test("TLS: --cacert stands alone, without the system's folder", async (t) => {
  const trusted = join(folder, "trusted");
  const { certificate, key } = makeCertificate(folder, "system");
  const other = makeCertificate(folder, "other").certificate;
  const hash = execFileSync(
    "openssl", ["x509", "-noout", "-hash", "-in", certificate]);
  const script = 'mount --bind "$0" /etc/ssl/certs && exec "$@"';
  const inside = (...command) =>
    run("unshare", ["-Urm", "sh", "-c", script, trusted, ...command]).ended;

  mkdirSync(trusted);
  copyFileSync(certificate, join(trusted, `${String(hash).trim()}.0`));
  copyFileSync(other, join(trusted, "ca-certificates.crt"));
  if ((await inside("true")).code !== 0) {
    t.skip("no namespaces for users");
    return;
  }
  const server = await start("relay", "--port", "0", "--tls-cert", certificate,
    "--tls-key", key);
  const top = (...args) =>
    inside(program, "top", `https://${server.ws}/metrics`, "-n", "1", ...args);

  assert.equal((await top()).code, 0);
  const { code, err } = await top("--cacert", other);
  assert.equal(code, 3);
  assert.match(err, /certificate/);
  await stop(server);
});

test("what is wrong is said", async () => {
  const server = await pretend(["hello"]);
  const port = server.address().port;
  const silent = createServer(() => {});
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const chat = await start("chat", "--port", "0");

  for (const [args, code, pattern] of [
    [[`http://127.0.0.1:${port}/`], 1, /no metrics of peal/],
    [[`http://${chat.ws}/metrics`], 1, /HTTP status \d+ \(.*metrics_path/],
    [["http://127.0.0.1:1/"], 3, /127\.0\.0\.1:1/],
    [[`http://127.0.0.1:${silent.address().port}/`, "--timeout", "50ms"], 5,
      /timed out/],
    [["tcp://127.0.0.1:1"], 2, /no address of metrics/],
    [["-H", "x"], 2, /a header is a line/],
  ]) {
    const result = await peal(null, ["top", ...args]).ended;
    assert.equal(result.code, code, args.join(" "));
    assert.match(result.err, pattern, args.join(" "));
  }
  silent.closeAllConnections();
  silent.close();
  server.close();
  await stop(chat);
});
