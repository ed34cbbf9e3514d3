// The programs of the README work as they stand, together: the server and the
// client in C are compiled and run, and the browser's lines are run twice
// against it. Only the ports are others, which the system chooses.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import WebSocket from "ws";
import { run } from "./support/process.mjs";

const source = process.env.PEAL_SOURCE;
const build = process.env.PEAL_BUILD;
const readme = readFileSync(join(source, "README.md"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "peal-readme-"));

after(() => rmSync(folder, { recursive: true }));

// The first block of a language, or the one at `index`.
const block = (language, index = 0) =>
  [...readme.matchAll(new RegExp("```" + language + "\\n([^]*?)```", "g"))][
    index][1];

function compile(name, index, port) {
  const file = join(folder, `${name}.c`);
  const program = join(folder, name);

  writeFileSync(file,
    block("c", index).replaceAll(/127\.0\.0\.1:\d+/g, `127.0.0.1:${port}`));
  execFileSync("cc", [
    "-std=c11", "-Wall", "-Werror", file, "-o", program,
    "-I", join(source, "include"), "-L", build, "-lpeal",
  ]);
  return program;
}

// Runs the client's lines; `line` resolves when it has printed such a message.
function client(port) {
  const printed = [];
  const waiting = [];
  const text = block("js").replaceAll(/127\.0\.0\.1:\d+/g, `127.0.0.1:${port}`);
  const console = {
    log(message) {
      printed.push(message);
      waiting.forEach((look) => look());
    },
  };
  const ws = new Function("WebSocket", "console", `${text}\nreturn ws;`)(
    WebSocket, console);
  const line = (event) =>
    new Promise((resolve) => {
      const look = () => {
        const found = printed.find((message) => message.event === event);
        if (found) {
          resolve(found);
        }
      };
      waiting.push(look);
      look();
    });

  return { ws, line };
}

test("the README's server and clients", { timeout: 60_000 }, async () => {
  const env = { ...process.env, LD_LIBRARY_PATH: build };
  const server = run(compile("server", 0, 0), [], { env });
  let inC;

  try {
    const port = await new Promise((resolve, reject) => {
      server.stderr.on("data", () => {
        const line = /transport=ws address=\S*:(\d+)/.exec(server.texts.err);
        if (line) {
          resolve(line[1]);
        }
      });
      server.ended.then(({ err }) => reject(new Error(`ended: ${err}`)));
    });
    const first = client(port);
    assert.match((await first.line("peal:welcome")).data.id, /^[0-9a-f-]{36}$/);
    assert.deepEqual(await first.line("peal:ok"), { event: "peal:ok", id: 1 });

    const second = client(port);
    await second.line("peal:ok");
    assert.deepEqual(await first.line("chat"), {
      event: "chat",
      room: "lobby",
      data: { text: "hello" },
    });
    // To a terminal, each line is written at once; stdbuf does it for a pipe.
    inC = run("stdbuf", ["-oL", compile("client", 1, port)], { env });
    const heard = new Promise((resolve, reject) => {
      inC.stdout.on("data", () =>
        inC.texts.out.includes("\n") && resolve(inC.texts.out));
      inC.ended.then(({ err }) => reject(new Error(`ended: ${err}`)));
    });
    await second.line("chat");
    client(port);
    assert.equal(await heard, '{"text":"hello"}\n');
    first.ws.close();
    second.ws.close();
  } finally {
    if (inC) {
      inC.kill("SIGKILL");
      await inC.ended;
    }
    server.kill("SIGKILL");
    await server.ended;
  }
});
