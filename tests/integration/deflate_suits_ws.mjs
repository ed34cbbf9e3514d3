// permessage-deflate with the client of `ws`: every combination of parameters,
// both ways, in fragments; in rooms of mixed members; and against bombs.
//
// The client checks each answer to its offer itself and fails the connection
// when that does not hold. What arrives is compared byte by byte, and whether
// it came compressed is seen in the bytes of the socket.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { constants, deflateRawSync } from "node:zlib";
import { portOf, start } from "./support/process.mjs";
import { openWebSocket } from "./support/websocket.mjs";

const words = ["alpha", "beta", "gamma", "delta", "{\"a\":", "é", "😀", "\n"];

function text(size) {
  let out = "";
  while (out.length < size) {
    out += words[Math.floor(Math.random() * words.length)];
  }
  return out;
}

const open = (address, deflate, path) =>
  openWebSocket(address, path, {
    perMessageDeflate: deflate,
    maxPayload: 64 << 20,
  });

// Sends a message in pieces, the first of which may be empty.
function sendInPieces(socket, message, pieces) {
  const bytes = Buffer.from(message);
  const binary = typeof message !== "string";
  const step = Math.ceil(bytes.length / pieces);

  for (let i = 0; i < pieces; i++) {
    socket.send(bytes.subarray(i * step, (i + 1) * step), {
      binary,
      fin: i === pieces - 1,
    });
  }
}

async function echoes(socket) {
  for (const size of [0, 1, 100, 1023, 1024, 5000, 70000]) {
    const message = text(size);
    socket.send(message);
    assert.equal(await socket.receive(), message);
  }
  const bytes = randomBytes(3000);
  socket.send(bytes);
  assert.deepEqual(await socket.receive(), bytes);
  for (const pieces of [2, 3, 17]) {
    const message = text(20000);
    sendInPieces(socket, message, pieces);
    assert.equal(await socket.receive(), message);
  }
  // Many at once, control frames between them.
  const many = Array.from({ length: 20 }, () => text(2000));
  const pong = once(socket, "pong");
  many.forEach((message, i) => {
    socket.send(message);
    if (i === 10) {
      socket.ping("now");
    }
  });
  for (const message of many) {
    assert.equal(await socket.receive(), message);
  }
  assert.equal(String((await pong)[0]), "now");
}

async function close(socket) {
  socket.close();
  await once(socket, "close");
}

const parameters = [];
for (const serverNoContextTakeover of [undefined, true]) {
  for (const clientNoContextTakeover of [undefined, true]) {
    for (const serverMaxWindowBits of [undefined, 9, 12, 15]) {
      for (const clientMaxWindowBits of [false, true, 9, 12]) {
        parameters.push({
          serverNoContextTakeover,
          clientNoContextTakeover,
          serverMaxWindowBits,
          clientMaxWindowBits,
        });
      }
    }
  }
}

for (const flag of ["--deflate", "--deflate=takeover"]) {
  test(`every combination of parameters, ${flag}`, async () => {
    const server = await start("echo", "--port", "0", flag);

    for (const offer of parameters) {
      const socket = await open(server.ws, { threshold: 0, ...offer });
      const what = `${JSON.stringify(offer)}: ${socket.answer}`;

      assert.match(socket.answer, /^permessage-deflate/, what);
      const keeps = (side, wish) =>
        assert.equal(
          socket.answer.includes(`${side}_no_context_takeover`),
          flag === "--deflate" || wish === true ||
            // It was not asked for a window that is worth keeping.
            (side === "client" && offer.clientMaxWindowBits === false),
          what,
        );
      keeps("server", offer.serverNoContextTakeover);
      keeps("client", offer.clientNoContextTakeover);
      await echoes(socket);
      await close(socket);
    }
    server.kill("SIGTERM");
    assert.equal((await server.ended).code, 0);
  });
}

// Requests as they are written, and what becomes of them.
async function ask(address, lines) {
  const socket = connect(portOf(address), "127.0.0.1");

  socket.write(
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n" +
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
      `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${lines}\r\n`,
  );
  let head = "";
  while (!head.includes("\r\n\r\n")) {
    head += String((await once(socket, "data"))[0]);
  }
  socket.status = Number(head.split(" ")[1]);
  socket.answer = /^sec-websocket-extensions: (.*)\r$/im.exec(head)?.[1];
  return socket;
}

const offer = (value) => `Sec-WebSocket-Extensions: ${value}\r\n`;
const none = "; server_no_context_takeover; client_no_context_takeover";

test("offers are taken, declined and refused", async () => {
  const on = await start("echo", "--port", "0", "--deflate");
  const off = await start("echo", "--port", "0");
  const cases = [
    [on, "permessage-deflate", 101, `permessage-deflate${none}`],
    [on, "permessage-deflate; server_max_window_bits=8", 101, undefined],
    [
      on,
      "permessage-deflate; server_max_window_bits=8, permessage-deflate",
      101,
      `permessage-deflate${none}`,
    ],
    [on, "permessage-deflate; server_max_window_bits=16", 101, undefined],
    [on, "permessage-deflate; what", 101, undefined],
    [on, "permessage-deflate;", 400, undefined],
    [off, "permessage-deflate", 101, undefined],
    [off, "permessage-deflate;", 101, undefined],
  ];

  for (const [server, value, status, answer] of cases) {
    const socket = await ask(server.ws, offer(value));
    assert.deepEqual([socket.status, socket.answer], [status, answer], value);
    socket.destroy();
  }
  on.kill();
  off.kill();
});

// A masked frame; the key is zero, so that the payload stands as it is.
function frame(first, payload) {
  const head = Buffer.alloc(14);
  head[0] = first;
  head[1] = 0x80 | 127;
  head.writeBigUInt64BE(BigInt(payload.length), 2);
  if (payload.length < 126) {
    head[1] = 0x80 | payload.length;
    return Buffer.concat([head.subarray(0, 2), Buffer.alloc(4), payload]);
  }
  if (payload.length < 65536) {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(payload.length, 2);
    return Buffer.concat([head.subarray(0, 4), Buffer.alloc(4), payload]);
  }
  return Buffer.concat([head, payload]);
}

// The compressed payload of a message: without the tail of its flush.
const pack = (bytes) =>
  deflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(
    0,
    -4,
  );

async function closeCode(socket) {
  let bytes = Buffer.alloc(0);
  while (bytes.length < 4 || bytes.length < 2 + bytes[1]) {
    bytes = Buffer.concat([bytes, (await once(socket, "data"))[0]]);
  }
  assert.equal(bytes[0], 0x88);
  return bytes.readUInt16BE(2);
}

test("what breaks the rules is refused with its code", async () => {
  const on = await start("echo", "--port", "0", "--deflate");
  const off = await start("echo", "--port", "0");
  const hello = pack(Buffer.from("Hello"));
  const cases = [
    ["RSV1 that was not agreed on", off, 1002, frame(0xc1, hello)],
    ["RSV2", on, 1002, frame(0xa1, hello)],
    ["RSV1 and RSV2", on, 1002, frame(0xe1, hello)],
    ["a compressed ping", on, 1002, frame(0xc9, hello)],
    ["a compressed close", on, 1002, frame(0xc8, hello)],
    [
      "RSV1 in a later fragment",
      on,
      1002,
      Buffer.concat([frame(0x41, hello), frame(0xc0, hello)]),
    ],
    ["no deflate data", on, 1007, frame(0xc2, Buffer.from([0xff, 0xff]))],
    ["cut off", on, 1007, frame(0xc2, hello.subarray(0, 3))],
    ["a text that is no UTF-8", on, 1007, frame(0xc1, pack(randomBytes(99)))],
    ["a bomb of 1 GiB", on, 1009, frame(0xc2, bomb(1 << 30))],
    [
      "a bomb in fragments",
      on,
      1009,
      Buffer.concat([
        frame(0x42, bomb(1 << 28).subarray(0, 1000)),
        frame(0x80, bomb(1 << 28).subarray(1000)),
      ]),
    ],
    ["one byte too many", on, 1009, frame(0xc2, bomb((1 << 20) + 1))],
  ];

  for (const [what, server, code, bytes] of cases) {
    const socket = await ask(server.ws, offer("permessage-deflate"));
    assert.equal(socket.status, 101);
    socket.write(bytes);
    assert.equal(await closeCode(socket), code, what);
    socket.destroy();
  }
  on.kill();
  off.kill();
});

// `size` zeros, packed; a gigabyte is made of one piece, repeated, for speed.
function bomb(size) {
  const piece = Math.min(size, 1 << 20);
  const whole = deflateRawSync(Buffer.alloc(piece), {
    finishFlush: constants.Z_FULL_FLUSH,
  });
  const parts = Array(Math.floor(size / piece)).fill(whole);
  if (size % piece > 0) {
    parts.push(pack(Buffer.alloc(size % piece)));
  } else {
    parts.push(Buffer.from([0]));
  }
  return Buffer.concat(parts).subarray(0, 1 << 20);
}

test("a message of the largest size that may be passes", async () => {
  const server = await start("echo", "--port", "0", "--deflate");
  const socket = await open(server.ws, { threshold: 0 });

  for (const message of [Buffer.alloc(1 << 20), randomBytes(1 << 20)]) {
    socket.send(message);
    assert.deepEqual(await socket.receive(), message);
  }
  await close(socket);
  server.kill();
});

test("a room of mixed members hears the same", async () => {
  for (const flag of ["--deflate", "--deflate=takeover"]) {
    const server = await start("fanout", "--port", "0", flag, "--loops", "2");
    const members = [];
    const offers = [
      false,
      {},
      {},
      { serverMaxWindowBits: 10 },
      { serverMaxWindowBits: 10, serverNoContextTakeover: true },
      { serverMaxWindowBits: 9, serverNoContextTakeover: true },
      { clientNoContextTakeover: true },
      { serverNoContextTakeover: true },
    ];
    for (const offer of [...offers, ...offers]) {
      members.push(await open(server.ws, offer, "/sub"));
    }
    const publisher = await open(server.ws, { threshold: 0 }, "/pub");
    const messages = [];
    for (let i = 0; i < 40; i++) {
      const size = [10, 1500, 900, 40000][i % 4];
      messages.push(i % 8 < 6 ? text(size) : randomBytes(size));
    }
    messages.forEach((message) => publisher.send(message));
    for (const member of members) {
      for (const message of messages) {
        assert.deepEqual(await member.receive(), message);
      }
    }
    // Those who agreed to it were spared most of the bytes.
    const plain = members[0]._socket.bytesRead;
    assert.ok(members[1]._socket.bytesRead < plain * 0.9);
    await Promise.all([...members, publisher].map(close));
    server.kill("SIGTERM");
    assert.equal((await server.ended).code, 0);
  }
});

test("clients that go away in the middle leave the others alone", async () => {
  const server = await start("fanout", "--port", "0", "--deflate=takeover");
  const stays = await open(server.ws, {}, "/sub");
  const publisher = await open(server.ws, { threshold: 0 }, "/pub");

  for (let i = 0; i < 20; i++) {
    const goes = await open(server.ws, {}, "/sub");
    const message = text(5000);
    publisher.send(message);
    if (i % 2 === 0) {
      goes.terminate();
    } else {
      goes.close();
    }
    assert.equal(await stays.receive(), message);
  }
  await close(stays);
  await close(publisher);
  server.kill("SIGTERM");
  assert.equal((await server.ended).code, 0);
});
