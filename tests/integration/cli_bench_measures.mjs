// `peal bench` counts what it has published and what has arrived, over both
// transports and TLS, and its exit code tells what is missing.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { makeCertificate } from "./support/certificate.mjs";
import { between, peal, stop } from "./support/cli.mjs";
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

async function bench(args, code = 0) {
  const result = await peal(server, ["bench", "--json", ...args]).ended;

  assert.equal(result.code, code, `${result.out}${result.err}`);
  return { ...JSON.parse(result.out || "{}"), err: result.err };
}

// A number of the server's metrics, and the time when it is so large.
const PUBLISHED = 'peal_messages_received_total{kind="publish"}';
async function metric({ ws }, name) {
  const text = await (await fetch(`http://${ws}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line.slice(name.length));
}
async function until(where, name, value) {
  while ((await metric(where, name)) < value) {
    await new Promise(setImmediate);
  }
}

// All in order: from the least to the most.
function rises({ count, min, max, ...percentiles }) {
  const times = [min, percentiles.p50, percentiles.p90, percentiles.p99,
    percentiles["p99.9"], max];

  assert.ok(count > 0 && min > 0);
  assert.deepEqual(times, [...times].sort((a, b) => a - b));
}

test("what is published arrives at all others, counted exactly", async () => {
  const urls = [`ws://${server.ws}/`, `tcp://${server.tcp}`];

  for (const [args, threads] of [[urls, 2], [[urls[1]], 1]]) {
    const found = await bench([...args, "-c", "61", "--rooms", "4", "-r", "20",
      "-d", "500ms", "-p", "1KiB", "--threads", String(threads)]);
    // 10 times in each room of 16, 15, 15 and 15 members.
    assert.equal(found.connected, 61);
    assert.equal(found.published, 40);
    assert.equal(found.expected, 10 * (15 + 3 * 14));
    assert.equal(found.delivered, found.expected);
    assert.equal(found.bytes, found.delivered * 1024);
    for (const name of ["failed", "lost_connections", "dropped", "lost",
      "disordered"]) {
      assert.equal(found[name], 0, name);
    }
    rises(found.latency_ms);
    rises(found.connect_ms);
    assert.equal(found.latency_ms.count, found.delivered);
  }
});

test("with TLS", async () => {
  const { certificate, key } = makeCertificate(folder, "server");
  const tls = await start("relay", "--port", "0", "--tls-cert", certificate,
    "--tls-key", key);
  const url = `wss://${tls.ws}/`;
  const found = await bench([url, "--cacert", certificate, "-c", "20",
    "--rooms", "2", "-d", "200ms"]);

  assert.equal(found.delivered, found.expected);
  assert.ok(found.delivered > 0);
  const { err } = await bench([url, "-c", "4", "--rooms", "2"], 3);
  assert.match(err, /self-signed/);
  await stop(tls);
});

test("limits decide the exit code", async () => {
  const short = ["-c", "10", "--rooms", "2", "-d", "200ms"];
  const met =
    await bench([...short, "--slo", "p99=60s", "--slo", "max=60s"]);
  assert.deepEqual(met.slo.map((slo) => [slo.percentile, slo.met]),
    [[99, true], [100, true]]);
  const missed = await bench([...short, "--slo", "p50=1us"], 1);
  assert.deepEqual(missed.slo.map((slo) => slo.met), [false]);
  const { code, out } = await peal(server,
    ["bench", ...short, "--slo", "p50=1us"]).ended;
  assert.equal(code, 1);
  assert.match(out, /^slo {10}p50 is .* ms, wanted 0\.001 ms: missed$/m);
  assert.match(out, /^delivered .* 0 lost, 0 out of order$/m);
});

test("connections that break, and messages that are lost by it: 1", async () => {
  const middle = await between(portOf(server.ws));
  const url = `ws://127.0.0.1:${middle.address().port}/`;
  const begun = await metric(server, PUBLISHED);
  const child = peal(server, ["bench", url, `ws://${server.ws}/`, "--json",
    "-c", "20", "--rooms", "5", "-d", "2s", "-r", "50"]);

  // A message from each room to see whether it may publish, then the others.
  await until(server, PUBLISHED, begun + 25);
  middle.cut();
  const { code, out, err } = await child.ended;
  const found = JSON.parse(out);
  assert.equal(code, 1);
  assert.equal(found.lost_connections, 10);
  assert.ok(found.lost > 0);
  assert.match(err, /ended|broke/);
  middle.close();
});

test("servers that are not there, or do not allow it", async () => {
  const chat = await start("chat", "--port", "0");
  const few = ["-c", "4", "--rooms", "2"];
  let { err } = await bench([...few, `ws://${chat.ws}/`], 4);
  assert.match(err, /102 not_allowed/);
  await stop(chat);
  ({ err } = await bench([...few, `ws://${chat.ws}/`], 3));
  assert.match(err, /nobody listens/);
});

test("options that make no sense, and an interrupt", async () => {
  for (const [args, pattern] of [
    [["-c", "10"], /10 rooms need at least 20 connections/],
    [["-p", "33"], /--payload is from 34/],
    [["-p", "1x"], /--payload is a size/],
    [["--threads", "65"], /--threads is at most 64/],
    [["--slo", "p101=1s"], /--slo is limits such as/],
    [["--slo", "p99"], /--slo/],
    [["--slo", "99=1s"], /--slo/],
    [["-r", "2e9"], /--rate is a number from 0.001 to 1000000/],
    [[`ws://${server.ws}/`, "http://x/"], /cannot begin: /],
    [["-c", "1000001"], /--conns is at most 1000000/],
  ]) {
    const { code, err } = await peal(server, ["bench", ...args]).ended;
    assert.equal(code, 2, args.join(" "));
    assert.match(err, pattern);
  }
  const begun = await metric(server, PUBLISHED);
  const child = peal(server, ["bench", "-c", "4", "--rooms", "2", "-d", "1h"]);
  await until(server, PUBLISHED, begun + 1);
  child.kill("SIGINT");
  const { code, out } = await child.ended;
  assert.equal(code, 130);
  assert.match(out, /^connections/m);
});
