// The TLS of the examples with clients that are not ours: openssl s_client,
// curl, and Node with ws.

import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect } from "node:tls";
import WebSocket from "ws";
import {
  makeBadCertificate,
  makeCertificate,
} from "./support/certificate.mjs";
import { example, portOf, run, start } from "./support/process.mjs";
import { openWebSocket } from "./support/websocket.mjs";

const folder = mkdtempSync(join(tmpdir(), "peal-tls-"));
const file = (name) => join(folder, name);

const make = (name) => makeCertificate(folder, name);

before(() => ["old", "new"].forEach(make));
after(() => rmSync(folder, { recursive: true }));

const files = (name) => [
  ...["--tls-cert", file(`${name}.crt`), "--tls-key", file(`${name}.key`)],
];

async function stop(server) {
  server.kill("SIGTERM");
  const { code, err } = await server.ended;
  assert.deepEqual({ code, err }, { code: 0, err: "" });
}

// Opens a WebSocket that trusts NAME.crt and nothing else.
async function open(address, name) {
  const socket = new WebSocket(`wss://127.0.0.1:${portOf(address)}/`, {
    ca: readFileSync(file(`${name}.crt`)),
  });
  await once(socket, "open");
  return socket;
}

async function echoes(socket) {
  const text = "x".repeat(300000);
  socket.send(text);
  const [data] = await once(socket, "message");
  assert.equal(data.toString(), text);
}

test("curl and s_client, both versions, sessions taken up", async () => {
  const server = await start("echo", "--port", "0", ...files("old"));
  const port = portOf(server.ws);
  for (const version of ["1.2", "1.3"]) {
    const curl = run("curl", [
      ...["-sS", "-i", `--tlsv${version}`, "--tls-max", version],
      ...["--cacert", file("old.crt"), `https://127.0.0.1:${port}/`],
    ]);
    assert.match((await curl.ended).out, /^HTTP\/1.1 426 /);

    const session = file(`session-${version}`);
    for (const [flag, word] of [
      ["-sess_out", "New"],
      ["-sess_in", "Reused"],
    ]) {
      const client = run("openssl", [
        ...["s_client", "-connect", `127.0.0.1:${port}`, "-alpn", "http/1.1"],
        ...[`-tls${version.replace(".", "_")}`, flag, session, "-ign_eof"],
      ]);
      // The answer ends the connection, so the ticket has come by then.
      client.stdin.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      const { out } = await client.ended;
      assert.match(out, new RegExp(`^${word}, TLSv${version}`, "m"));
      assert.match(out, /^ALPN protocol: http\/1.1$/m);
      assert.match(out, /^HTTP\/1.1 426 /m);
    }
  }
  const plain = run("curl", ["-sS", `http://127.0.0.1:${port}/`]);
  assert.notEqual((await plain.ended).code, 0);
  await stop(server);
});

test("Node over WebSocket and TCP", async () => {
  const server = await start(
    ...["echo", "--port", "0", "--tcp-port", "0", "--loops", "2"],
    ...files("old"),
  );
  const socket = await open(server.ws, "old");
  await echoes(socket);
  await assert.rejects(open(server.ws, "new"), /self.signed/);

  const tcp = connect({
    port: portOf(server.tcp),
    ca: readFileSync(file("old.crt")),
  });
  await once(tcp, "secureConnect");
  const frame = Buffer.from("0000000c010000" + "68656c6c6f", "hex");
  tcp.write(frame);
  const [data] = await once(tcp, "data");
  assert.deepEqual(data, frame);
  tcp.end();
  await once(tcp, "close");

  const closed = once(socket, "close");
  await stop(server);
  assert.equal((await closed)[0], 1001);
});

// A certificate that is no good is the clients' to refuse; the server goes on.
test("expired certificates, and those of other hosts", async () => {
  const bad = {
    expired: {
      from: "20200101000000Z",
      to: "20200201000000Z",
      names: "DNS:localhost,IP:127.0.0.1",
      error: "CERT_HAS_EXPIRED",
      says: /certificate has expired/,
    },
    elsewhere: {
      from: "20200101000000Z",
      to: "20990101000000Z",
      names: "DNS:elsewhere.example",
      error: "ERR_TLS_CERT_ALTNAME_INVALID",
      says: /(hostname|IP address) mismatch|no alternative certificate/,
    },
  };
  for (const [name, { error, says, ...wish }] of Object.entries(bad)) {
    makeBadCertificate(folder, name, wish);
    const server = await start("echo", "--port", "0", ...files(name));
    const port = portOf(server.ws);

    const client = run("openssl", [
      ...["s_client", "-connect", `127.0.0.1:${port}`, "-brief"],
      ...["-CAfile", file(`${name}.crt`), "-verify_ip", "127.0.0.1"],
      "-verify_return_error",
    ]);
    client.stdin.end();
    const refused = await client.ended;
    assert.notEqual(refused.code, 0);
    assert.match(refused.err, says);

    const curl = run("curl", [
      ...["-sS", "--cacert", file(`${name}.crt`), `https://127.0.0.1:${port}/`],
    ]);
    const { code, err } = await curl.ended;
    assert.equal(code, 60);
    assert.match(err, says);

    await assert.rejects(open(server.ws, name), { code: error });

    // Who does not look comes in.
    const careless = await openWebSocket(server.ws, "/", {
      rejectUnauthorized: false,
      isSecure: true,
    });
    careless.send("still there");
    assert.equal(await careless.receive(), "still there");
    careless.terminate();
    await stop(server);
  }
});

test("fanout, encrypted and compressed, on two loops", async () => {
  for (const flag of ["--deflate", "--deflate=takeover"]) {
    const server = await start(
      ...["fanout", "--port", "0", "--loops", "2", flag],
      ...files("old"),
    );
    const options = { ca: readFileSync(file("old.crt")), isSecure: true };
    const members = await Promise.all(
      [true, true, true, false].map((perMessageDeflate) =>
        openWebSocket(server.ws, "/sub", { ...options, perMessageDeflate }),
      ),
    );
    const publisher = await openWebSocket(server.ws, "/pub", options);
    const messages = Array.from({ length: 20 }, (_, i) =>
      `${i} `.repeat(100 * i),
    );

    assert.match(members[0].answer, /^permessage-deflate/);
    messages.forEach((message) => publisher.send(message));
    for (const member of members) {
      for (const message of messages) {
        assert.equal(await member.receive(), message);
      }
      member.close();
    }
    publisher.close();
    await stop(server);
  }
});

test("SIGHUP brings a new certificate and drops nobody", async () => {
  copyFileSync(file("old.crt"), file("live.crt"));
  copyFileSync(file("old.key"), file("live.key"));
  const server = await start("tls_reload", "--port", "0", ...files("live"));
  const before = await open(server.ws, "old");

  copyFileSync(file("new.crt"), file("live.crt"));
  server.kill("SIGHUP");
  const [kept] = await once(server.stdout, "data");
  assert.match(kept, /^kept the old certificate: key_file .*live\.key/);
  (await open(server.ws, "old")).close();

  copyFileSync(file("new.key"), file("live.key"));
  server.kill("SIGHUP");
  assert.equal((await once(server.stdout, "data"))[0], "reloaded\n");
  const later = await open(server.ws, "new");
  await echoes(before);
  await echoes(later);
  await stop(server);
});

test("files that do not fit are an error at start", async () => {
  const server = run(example("echo"), [
    ...["--port", "0", "--tls-cert", file("old.crt")],
    ...["--tls-key", file("new.key")],
  ]);
  const { code, out, err } = await server.ended;
  assert.equal(code, 1);
  assert.equal(out, "");
  assert.match(err, /^key_file .*new\.key/);
});
