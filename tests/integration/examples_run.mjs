// Each small example does what its first comment says, to clients that are not
// ours, and ends cleanly on SIGTERM.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import WebSocket from "ws";
import { example, portOf, run, start } from "./support/process.mjs";
import { openWebSocket as open } from "./support/websocket.mjs";

// SIGTERM: clients are told, and the exit code is 0.
async function stopsCleanly(server, ...clients) {
  const closed = clients.map((client) => once(client, "close"));

  server.kill("SIGTERM");
  for (const [code] of await Promise.all(closed)) {
    assert.equal(code, 1001);
  }
  const { code, signal, err } = await server.ended;
  assert.deepEqual({ code, signal, err }, { code: 0, signal: null, err: "" });
}

// u32 total length | u8 type | u16 event length | event | payload
function frame(type, payload, event = "") {
  const bytes = Buffer.alloc(7);
  bytes.writeUInt32BE(7 + event.length + payload.length, 0);
  bytes.writeUInt8(type, 4);
  bytes.writeUInt16BE(event.length, 5);
  return Buffer.concat([bytes, Buffer.from(event), Buffer.from(payload)]);
}

async function readBytes(socket, size) {
  let bytes = Buffer.alloc(0);
  while (bytes.length < size) {
    const [more] = await once(socket, "data");
    bytes = Buffer.concat([bytes, more]);
  }
  return bytes;
}

for (const loops of ["1", "2"]) {
  test(`echo, ${loops} loops: every message comes back`, async () => {
    const server = await start(
      "echo", "--port", "0", "--tcp-port", "0", "--loops", loops);
    const client = await open(server.ws);
    const sent = ["hello", Buffer.from([0, 1, 2, 255]), "", "no {json",
      "x".repeat(100_000)];

    for (const message of sent) {
      client.send(message);
    }
    for (const message of sent) {
      assert.deepEqual(await client.receive(), message);
    }

    const tcp = connect(portOf(server.tcp), "127.0.0.1");
    const frames = Buffer.concat([frame(0, "hello"), frame(1, [0, 255])]);
    tcp.write(frames);
    assert.deepEqual(await readBytes(tcp, frames.length), frames);
    tcp.destroy();
    await stopsCleanly(server, client);
  });

  test(`fanout, ${loops} loops: what is published reaches all`, async () => {
    const server = await start("fanout", "--port", "0", "--loops", loops);
    const subscribers = await Promise.all(
      Array.from({ length: 20 }, () => open(server.ws, "/sub")));
    const publisher = await open(server.ws, "/pub");
    const sent = ["one", Buffer.from([2]), "three"];

    for (const message of sent) {
      publisher.send(message);
    }
    for (const subscriber of subscribers) {
      for (const message of sent) {
        assert.deepEqual(await subscriber.receive(), message);
      }
    }
    const other = new WebSocket(`ws://${server.ws}/other`);
    const [, response] = await once(other, "unexpected-response");
    assert.equal(response.statusCode, 404);
    other.on("error", () => {});
    other.terminate();
    await stopsCleanly(server, publisher, ...subscribers);
  });

  test(`chat, ${loops} loops: rooms, requests and refusals`, async () => {
    const server = await start("chat", "--port", "0", "--loops", loops);
    const clients = [await open(server.ws), await open(server.ws)];
    const [ada, grace] = clients;
    let id = 0;

    for (const client of clients) {
      const { event } = JSON.parse(await client.receive());
      assert.equal(event, "peal:welcome");
    }
    const ask = async (client, event, data) => {
      client.send(JSON.stringify({ event, id: ++id, data }));
      const answer = JSON.parse(await client.receive());
      assert.equal(answer.id, id);
      return answer;
    };

    for (const client of clients) {
      assert.equal((await ask(client, "join", "lobby")).event, "peal:ok");
    }
    assert.deepEqual((await ask(ada, "who", "lobby")).data, { count: 2 });

    const words = { room: "lobby", text: "hello" };
    assert.equal((await ask(ada, "say", words)).event, "peal:ok");
    assert.deepEqual(JSON.parse(await grace.receive()), {
      event: "said",
      room: "lobby",
      data: words,
    });

    const refusals = [
      ["join", ""],
      ["join", { no: "text" }],
      ["say", { room: "elsewhere", text: "hello" }],
      ["say", "no object"],
      ["unheard of", null],
    ];
    for (const [event, data] of refusals) {
      assert.equal((await ask(ada, event, data)).event, "peal:error");
    }
    await stopsCleanly(server, ...clients);
  });
}

test("spaces: three servers in one, by path", async () => {
  const server = await start("spaces", "--port", "0", "--loops", "2");
  const clients = [];
  for (const path of ["/app/lobby", "/app/lobby", "/app/den", "/legacy",
    "/legacy", "/log", "/log"]) {
    clients.push(await open(server.ws, path));
  }
  const [ada, grace, alone, old, older, log, other] = clients;
  for (const client of [ada, grace, alone]) {
    assert.equal(JSON.parse(await client.receive()).event, "peal:welcome");
  }
  ada.send('{"event":"say","data":"hi"}');
  assert.deepEqual(JSON.parse(await grace.receive()),
    { event: "say", room: "lobby", data: "hi" });
  old.send('{"event":"say","data":"old"}');
  assert.deepEqual(JSON.parse(await older.receive()),
    { event: "say", data: "old" });
  log.send("a line");
  assert.equal(await other.receive(), "a line");
  // What comes next is the answer, so nothing else had come before.
  alone.send('{"event":"peal:ping","id":1}');
  assert.equal(JSON.parse(await alone.receive()).id, 1);
  await assert.rejects(open(server.ws, "/app"), /404/);
  await stopsCleanly(server, ...clients);
});

test("client: says and hears, over both transports and a restart", {
  timeout: 60_000,
}, async () => {
  let server = await start("relay", "--port", "0", "--tcp-port", "0");
  const ada = run(example("client"), [`ws://${server.ws}/`, "lobby"]);
  const grace = run(example("client"), [`tcp://${server.tcp}`, "lobby"]);
  const heard = (who, line) =>
    new Promise((resolve) => {
      const look = () => who.texts.out.includes(`${line}\n`) && resolve();
      who.stdout.on("data", look);
      look();
    });

  // Who joins first is unknown, so a first word is said until it is heard.
  const call = async (from, to, word) => {
    const repeating = setInterval(() => from.stdin.write(`${word}\n`), 50);
    await heard(to, JSON.stringify(word));
    clearInterval(repeating);
  };

  await call(grace, ada, "hello?");
  await call(ada, grace, "hello!");
  ada.stdin.write('a "b"\n');
  await heard(grace, '"a \\"b\\""');

  server.kill("SIGTERM");
  await server.ended;
  server = await start("relay", "--port", portOf(server.ws),
    "--tcp-port", portOf(server.tcp));
  await call(ada, grace, "back?");
  ada.stdin.end("bye\n");
  await heard(grace, '"bye"');
  const { code, err } = await ada.ended;
  assert.deepEqual({ code, err }, { code: 0, err: "" });
  grace.stdin.end();
  assert.equal((await grace.ended).code, 0);
  await stopsCleanly(server);
});

test("client: refuses what is no address", async () => {
  for (const args of [[], ["ws://", "lobby"], ["http://x/", "lobby"]]) {
    assert.equal((await run(example("client"), args).ended).code, 1);
  }
});

test("stelar_interop ends in time, whoever does not close", async () => {
  const server = await start("stelar_interop", "0", "0");
  const tcp = connect({ port: portOf(server.tcp), host: "127.0.0.1",
    allowHalfOpen: true });

  await once(tcp, "data"); // CONNECT: it is in, and will not end its side
  const began = Date.now();
  await stopsCleanly(server);
  assert.ok(Date.now() - began < 4500);
  tcp.destroy();
});

test("webhook: what is posted reaches the room", async () => {
  const server = await start("webhook", "--port", "0", "--loops", "2");
  const clients = [await open(server.ws, "/rooms/a%20b"),
    await open(server.ws, "/rooms/a%20b"), await open(server.ws, "/rooms/c")];
  const post = async (room, body) => {
    const answer = await fetch(`http://${server.ws}/rooms/${room}/news`,
      { method: "POST", body });
    return { status: answer.status, ...(await answer.json()) };
  };

  for (const client of clients) {
    assert.equal(JSON.parse(await client.receive()).event, "peal:welcome");
  }
  assert.deepEqual(await post("a%20b", '{"build":"done"}'),
    { status: 202, clients: 2 });
  for (const client of clients.slice(0, 2)) {
    assert.deepEqual(JSON.parse(await client.receive()),
      { event: "news", room: "a b", data: { build: "done" } });
  }
  assert.deepEqual(await post("c", "no json"),
    { status: 400, error: "inval" });
  assert.deepEqual(await post("nobody", "1"), { status: 202, clients: 0 });
  await stopsCleanly(server, ...clients);
});

test("own_loop: the program's input, its timer and peal's clients", async () => {
  const server = await start("own_loop", "--port", "0");
  const client = await open(server.ws);
  const printed = new Promise((resolve) => {
    server.stdout.on("data", () => {
      if (server.texts.out.includes("from the socket\n")) {
        resolve();
      }
    });
  });

  server.stdin.write("typed\nas two lines\n");
  client.send("from the socket");
  await printed;
  const heard = new Set();
  while (!["typed", "as two lines", "tick 1"].every((x) => heard.has(x))) {
    heard.add(await client.receive());
  }
  await stopsCleanly(server, client);

  const other = await start("own_loop", "--port", "0");
  other.stdin.end();
  const { code } = await other.ended;
  assert.equal(code, 0);
});

test("auth_chat: a token opens the door until its user signs out", async () => {
  const server = await start("auth_chat", "--port", "0", "--loops", "2");
  const post = async (path, options) => {
    const answer = await fetch(`http://${server.ws}${path}`,
      { method: "POST", ...options });
    return { status: answer.status, ...(await answer.json()) };
  };
  const login = (user, password) =>
    post("/login", { body: JSON.stringify({ user, password }) });
  const refused = async (path) => {
    const client = new WebSocket(`ws://${server.ws}${path}`);
    const [code, reason] = await once(client, "close");
    return [code, reason.toString()];
  };
  const heard = async (client) => JSON.parse(await client.receive());

  assert.equal((await login("ada", "wrong")).status, 401);
  assert.equal((await login("nobody", "lovelace")).status, 401);
  assert.equal((await post("/login", { body: "no json" })).status, 401);
  assert.equal((await post("/logout", {})).status, 401);

  const bare = new WebSocket(`ws://${server.ws}/`);
  const [, response] = await once(bare, "unexpected-response");
  assert.equal(response.statusCode, 401);
  bare.on("error", () => {});
  bare.terminate();

  const { token } = await login("ada", "lovelace");
  const forged = token.replace("ada", "grace");
  const late = token.replace(/\d{13}/, (ms) => Number(ms) + 1);
  for (const bad of [forged, late, token.slice(0, -1), `${token}0`, "x"]) {
    assert.deepEqual(await refused(`/?token=${bad}`), [4401, "bad token"]);
  }

  const ada = await open(server.ws, `/?token=${token}`);
  const other = await login("grace", "hopper");
  const grace = await open(server.ws, "/",
    { headers: { Authorization: `Bearer ${other.token}` } });
  for (const client of [ada, grace]) {
    assert.equal((await heard(client)).event, "peal:welcome");
  }
  ada.send('{"event":"say","id":1,"data":"hi \\"all\\""}');
  assert.deepEqual(await heard(grace), { event: "said", room: "lobby",
    data: { from: "ada", text: 'hi "all"' } });
  assert.equal((await heard(ada)).event, "peal:ok");
  grace.send('{"event":"whisper","id":1,"data":{"to":"ada","text":"hi"}}');
  const { event, data } = await heard(ada);
  assert.deepEqual({ event, data },
    { event: "whispered", data: { from: "grace", text: "hi" } });
  assert.equal((await heard(grace)).id, 1);
  grace.send('{"event":"whisper","id":2,"data":{"to":"eve","text":"hi"}}');
  assert.equal((await heard(grace)).data.name, "notfound");

  const closed = once(ada, "close");
  assert.deepEqual(
    await post("/logout", { headers: { Authorization: `Bearer ${token}` } }),
    { status: 200, closed: 1 });
  assert.equal((await closed)[0], 4401);
  assert.deepEqual(await refused(`/?token=${token}`), [4401, "signed out"]);
  await stopsCleanly(server, grace);
});

for (const name of [
  "auth_chat", "echo", "fanout", "chat", "webhook", "spaces", "own_loop",
]) {
  test(`${name}: flags that make no sense, and a taken port`, async () => {
    for (const args of [
      ["--port", "x"],
      ["--port", "70000"],
      ["--loops", "0"],
      ["--nonsense"],
      ["nonsense"],
    ]) {
      const { code, err } = await run(example(name), args).ended;
      assert.equal(code, 2, args.join(" "));
      assert.match(err, /usage: /);
    }
    const server = await start(name, "--port", "0");
    const port = String(portOf(server.ws));
    const { code, err } = await run(example(name), ["--port", port]).ended;
    assert.equal(code, 1);
    assert.match(err, new RegExp(port));
    await stopsCleanly(server);
  });
}
