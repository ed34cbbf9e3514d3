// permessage-deflate of the C client, in `peal`, with the server of `ws`: every
// combination of parameters that the server may ask for, both ways, whole and in
// fragments. `ws` inflates strictly and checks each frame; here it also says
// whether what came was compressed.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import { peal } from "./support/cli.mjs";

const WELCOME = {
  id: "me", protocol: 1, ping_interval_ms: 0, ping_timeout_ms: 20000,
  limits: { message_bytes: 1 << 20, rooms: 100 },
};
const COUNT = 12;

// Texts that are worth compressing, and some that are not.
const texts = Array.from({ length: COUNT }, (_, i) =>
  i % 4 === 3 ? randomBytes(2000).toString("base64")
    : `${i} ${"the same words again and again, ".repeat(20 * (i + 1))}`);

async function serve(perMessageDeflate) {
  const server = new WebSocketServer({
    host: "127.0.0.1", port: 0, perMessageDeflate,
    handleProtocols: (offered) => (offered.has("peal") ? "peal" : false),
  });
  const heard = [];
  let compressed = 0;

  server.on("connection", (socket) => {
    const send = (message) => socket.send(JSON.stringify(message));
    const extension = Object.values(socket._receiver?._extensions ?? {})[0];
    const decompress = extension?.decompress;

    if (extension) {
      extension.decompress = (...args) => {
        compressed++;
        return decompress.apply(extension, args);
      };
    }
    send({ event: "peal:welcome", data: WELCOME });
    socket.on("message", (bytes) => {
      const { event, id, data } = JSON.parse(bytes);
      if (event === "message") {
        heard.push(data);
      }
      if (id !== undefined) {
        send({ event: "peal:ok", id });
      }
      if (event === "peal:join" && data.room === "lobby") {
        texts.forEach((text, i) => {
          const message = Buffer.from(JSON.stringify(
            { event: "message", room: "lobby", data: text }));
          const pieces = 1 + i % 3;
          const step = Math.ceil(message.length / pieces);
          for (let at = 0; at < pieces; at++) {
            socket.send(message.subarray(at * step, (at + 1) * step),
              { binary: false, fin: at === pieces - 1 });
          }
        });
      }
    });
  });
  await once(server, "listening");
  return {
    url: `ws://127.0.0.1:${server.address().port}/`,
    heard,
    compressed: () => compressed,
    close: () => server.close(),
  };
}

const combinations = [];
for (const serverNoContextTakeover of [undefined, true]) {
  for (const clientNoContextTakeover of [undefined, true]) {
    for (const serverMaxWindowBits of [undefined, 9, 15]) {
      for (const clientMaxWindowBits of [undefined, 9, 15]) {
        combinations.push({
          threshold: 0, serverNoContextTakeover, clientNoContextTakeover,
          serverMaxWindowBits, clientMaxWindowBits,
        });
      }
    }
  }
}

test("every combination of parameters, both ways", async () => {
  for (const wanted of combinations) {
    const server = await serve(wanted);
    const what = JSON.stringify(wanted);
    const env = { PEAL_URL: server.url };
    const sub = await peal(null,
      ["sub", "lobby", "--deflate", "--raw", "-q", "-n", String(COUNT)],
      { env }).ended;

    assert.equal(sub.code, 0, `${what}: ${sub.err}`);
    assert.deepEqual(sub.out.split("\n").slice(0, -1), texts, what);
    const pub = await peal(null, ["pub", "kitchen", "-", "--string",
      "--deflate"], { env, input: texts.join("\n") }).ended;
    assert.equal(pub.code, 0, `${what}: ${pub.err}`);
    assert.deepEqual(server.heard, texts, what);
    assert.ok(server.compressed() > 0, `${what}: nothing came compressed`);
    server.close();
  }
});

test("a server that does not compress", async () => {
  const server = await serve(false);
  const { code, out, err } = await peal(null,
    ["sub", "lobby", "--deflate", "--raw", "-q", "-n", String(COUNT)],
    { env: { PEAL_URL: server.url } }).ended;

  assert.equal(code, 0, err);
  assert.deepEqual(out.split("\n").slice(0, -1), texts);
  server.close();
});
