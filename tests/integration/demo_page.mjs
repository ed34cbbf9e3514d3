// The demo in a real browser, as somebody sees it in the first minute: both
// panes talk, services arrive over TCP, and a lost server is found again.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import {
  after,
  afterEach,
  before,
  beforeEach,
  describe,
  test,
} from "node:test";
import { deflateSync, gzipSync } from "node:zlib";
import WebSocket from "ws";
import { launchBrowser } from "./support/browser.mjs";
import { peal } from "./support/cli.mjs";
import { example, portOf, run, start } from "./support/process.mjs";

const WIDTH = 160;
const HEIGHT = 120;

// A PNG of one colour; filler makes it larger than one read of a socket.
function png(filler) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const bytes = Buffer.alloc(8 + body.length);
    bytes.writeUInt32BE(data.length);
    body.copy(bytes, 4);
    bytes.writeUInt32BE(crc(body), 4 + body.length);
    return bytes;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(WIDTH, 0);
  header.writeUInt32BE(HEIGHT, 4);
  header.set([8, 2], 8); // 8 bits, red green blue
  const row = Buffer.alloc(1 + 3 * WIDTH, 0xa0);
  row[0] = 0;
  const rows = Buffer.concat(Array.from({ length: HEIGHT }, () => row));

  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("teXt", Buffer.alloc(filler, "peal ")),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function crc(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
    }
  }
  return ~sum >>> 0;
}

describe("the page", () => {
  let browser;
  let server;
  let page;
  let left;
  let right;
  let troubles;
  let binaryMessages;

  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  beforeEach(async () => {
    troubles = [];
    binaryMessages = [];
    server = await start("demo", "--port", "0", "--tcp-port", "0");
    page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.on("pageerror", (error) => troubles.push(String(error)));
    page.on("console", (line) => {
      if (line.type() === "error") {
        troubles.push(line.text());
      }
    });
    page.on("websocket", (socket) => {
      socket.on("framereceived", ({ payload }) => {
        if (typeof payload !== "string") {
          binaryMessages.push(payload);
        }
      });
    });
    await page.goto(`http://${server.ws}/`);
    left = page.getByRole("region", { name: "First client" });
    right = page.getByRole("region", { name: "Second client" });
  });

  afterEach(async () => {
    await page.close();
    server.kill("SIGTERM");
    const { code, signal, err } = await server.ended;
    assert.deepEqual({ code, signal, err }, { code: 0, signal: null, err: "" });
  });

  const isConnected = (pane) => pane.getByText("connected").waitFor();
  const member = (pane, name) =>
    pane.getByRole("list", { name: "Who is here" }).getByText(name, {
      exact: true,
    });
  const message = (pane, text) => pane.getByRole("log").getByText(text);

  async function say(pane, text) {
    await pane.getByRole("textbox", { name: "Message" }).fill(text);
    await pane.getByRole("button", { name: "Send" }).click();
  }

  async function bothAreIn() {
    for (const pane of [left, right]) {
      await isConnected(pane);
      await member(pane, "Ada").waitFor();
      await member(pane, "Grace").waitFor();
    }
  }

  test("both panes connect and see each other", async () => {
    await bothAreIn();
    for (const pane of [left, right]) {
      await pane.locator(".members .self").getByText("you").waitFor();
    }
    assert.deepEqual(troubles, []);
  });

  test("what one says, both read, with the time of the answer", async () => {
    await bothAreIn();
    await say(left, "Hello <b>Grace</b> & 'all' \u{1f514}");
    for (const pane of [left, right]) {
      await message(pane, "Hello <b>Grace</b> & 'all' \u{1f514}").waitFor();
    }
    await left.getByRole("log").getByText(/✓ \d+\.\d ms/).waitFor();
    await say(right, "Hello Ada");
    await message(left, "Hello Ada").waitFor();
    assert.deepEqual(troubles, []);
  });

  test("a request shows its answer and the time it took", async () => {
    await bothAreIn();
    // The page has asked once by itself.
    const trip = left.getByText(/answered in \d+\.\d ms/);
    await trip.evaluate((element) => (element.textContent = ""));
    await left.getByRole("button", { name: "Ask the time" }).click();
    await trip.waitFor();
  });

  test("rooms are apart, and who is there is kept up", async () => {
    await bothAreIn();
    await right.getByLabel("Room").fill("tower");
    await right.getByRole("button", { name: "Enter" }).click();
    await member(left, "Grace").waitFor({ state: "detached" });
    await member(right, "Ada").waitFor({ state: "detached" });
    await message(left, "Grace left").waitFor();
    await say(left, "only for the lobby");
    await message(left, "only for the lobby").waitFor();

    await right.getByLabel("Room").fill("lobby");
    await right.getByLabel("Name").fill("Hedy");
    await right.getByRole("button", { name: "Enter" }).click();
    await message(left, "Hedy joined").waitFor();
    await member(right, "Ada").waitFor();
    assert.equal(await message(right, "only for the lobby").count(), 0);
  });

  test("a refusal is shown and harms nothing", async () => {
    await bothAreIn();
    await left.getByLabel("Room").fill("");
    await left.getByRole("button", { name: "Enter" }).click();
    await left.getByRole("alert").getByText("bad_room, 1000").waitFor();
    await say(left, "");
    await left.getByRole("alert").getByText("bad_text").waitFor();
    await say(left, "still here");
    await message(right, "still here").waitFor();
    assert.equal(await left.getByRole("alert").isVisible(), false);
  });

  test("an image dropped on one side arrives as the same bytes", async () => {
    const bytes = png(300_000);

    await bothAreIn();
    const dropped = await page.evaluateHandle((base64) => {
      const data = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([data], "a.png", { type: "image/png" }));
      return transfer;
    }, bytes.toString("base64"));
    await left.dispatchEvent("drop", { dataTransfer: dropped });

    const image = right.getByRole("img", { name: /Image from Ada, 29\d KB/ });
    await image.waitFor();
    const size = await image.evaluate(async (element) => {
      await element.decode();
      return [element.naturalWidth, element.naturalHeight];
    });
    assert.deepEqual(size, [WIDTH, HEIGHT]);
    assert.equal(binaryMessages.length, 1);
    assert.deepEqual(binaryMessages[0].subarray(-bytes.length), bytes);
    await left.getByRole("img", { name: /Image from Ada/ }).waitFor();

    // The other way, by the button.
    const chosen = page.waitForEvent("filechooser");
    await right.getByRole("button", { name: "Image" }).click();
    await (await chosen).setFiles({
      name: "b.png",
      mimeType: "image/png",
      buffer: bytes,
    });
    await left.getByRole("img", { name: /Image from Grace/ }).waitFor();
    assert.deepEqual(troubles, []);
  });

  test("an image beyond the limit is refused by name", async () => {
    await bothAreIn();
    await left.locator("input[type=file]").setInputFiles({
      name: "large.png",
      mimeType: "image/png",
      buffer: Buffer.alloc(9 * 1024 * 1024),
    });
    await left.getByRole("alert").getByText(/the server takes 8388608/).waitFor();
    await say(left, "still here");
    await message(right, "still here").waitFor();
  });

  test("the commands that are shown work, marked as tcp", async () => {
    await bothAreIn();
    for (const [name, text] of [
      ["Command for a terminal", "Hello over TCP"],
      ["Frames for bash", "Hello by hand"],
    ]) {
      const command = await page.getByLabel(name).textContent();
      const { code, err } = await run("bash", ["-c", command]).ended;

      assert.deepEqual({ code, err }, { code: 0, err: "" });
      for (const pane of [left, right]) {
        const entry = pane.getByRole("listitem").filter({ hasText: text });
        await entry.getByText("tcp", { exact: true }).waitFor();
      }
    }
  });

  test("what the command line publishes is shown", async () => {
    await bothAreIn();
    const { code, err } =
      await peal(server, ["pub", "lobby", "Hello from a shell"]).ended;

    assert.deepEqual({ code, err }, { code: 0, err: "" });
    for (const pane of [left, right]) {
      await message(pane, "Hello from a shell").waitFor();
    }
  });

  test("who stays on over TCP is listed, and hears the others", async () => {
    await bothAreIn();
    const port = String(portOf(server.tcp));
    const terminal = run(example("demo"), [
      "--send", "lobby", "--tcp-port", port, "--name", "backup"]);
    const heard = new Promise((resolve) => {
      terminal.stdout.on("data", () => {
        if (terminal.texts.out.includes("Ada: Anybody there?\n")) {
          resolve();
        }
      });
    });

    for (const pane of [left, right]) {
      await member(pane, "backup").waitFor();
    }
    await say(left, "Anybody there?");
    await heard;
    terminal.stdin.write("At your service\n");
    for (const pane of [left, right]) {
      await message(pane, "At your service").waitFor();
    }
    terminal.stdin.end();
    assert.equal((await terminal.ended).code, 0);
    await member(left, "backup").waitFor({ state: "detached" });
  });

  test("a dropped connection comes back by itself", async () => {
    await bothAreIn();
    await left.getByRole("button", { name: "Drop connection" }).click();
    await message(left, "The connection is lost").waitFor();
    await message(right, "Ada joined").waitFor();
    await bothAreIn();
    await say(right, "Welcome back");
    await message(left, "Welcome back").waitFor();
  });

  test("a server that is killed and started again is found", async () => {
    await bothAreIn();
    const ports = [String(portOf(server.ws)), String(portOf(server.tcp))];

    server.kill("SIGKILL");
    await server.ended;
    for (const pane of [left, right]) {
      await pane.getByText(/again in|connecting/).waitFor();
      await message(pane, "The connection is lost").waitFor();
    }
    await left.getByRole("button", { name: "Ask the time" }).click();
    await left.getByRole("alert").getByText("no connection").waitFor();
    for (const text of ["still here", "and waiting"]) {
      await say(left, text);
    }
    await message(left, "This is sent when").first().waitFor();

    server = await start("demo", "--port", ports[0], "--tcp-port", ports[1]);
    await bothAreIn();
    await say(left, "here again");
    await message(right, "here again").waitFor();
    const said = await left.locator(".said-text").allTextContents();
    assert.ok(
      said.join("|").includes("still here|and waiting"), said.join("|"));
  });
});

describe("the script that is served", () => {
  test("is the JavaScript client, below 10 KB compressed", async () => {
    const server = await start("demo", "--port", "0", "--tcp-port", "0");
    const response = await fetch(`http://${server.ws}/peal.js`);
    const script = await response.text();

    assert.equal(response.headers.get("content-type"),
      "text/javascript; charset=utf-8");
    assert.equal(script, readFileSync(
      join(process.env.PEAL_SOURCE, "clients/js/bundle/peal.js"), "utf8"));
    assert.ok(gzipSync(script, { level: 9 }).length < 10_000);
    server.kill("SIGTERM");
    assert.equal((await server.ended).code, 0);
  });
});

describe("the program", () => {
  test("a port that is taken is named, with the way out", async () => {
    const server = await start("demo", "--port", "0", "--tcp-port", "0");

    for (const [flag, other, port] of [
      ["--port", "--tcp-port", portOf(server.ws)],
      ["--tcp-port", "--port", portOf(server.tcp)],
    ]) {
      const args = [flag, String(port), other, "0"];
      const { code, out, err } = await run(example("demo"), args).ended;
      assert.equal(code, 1);
      assert.equal(out, "");
      assert.match(err, new RegExp(`^demo: port ${port} is taken.* ${flag} `));
      assert.equal(err.split("\n").length, 2, err);
    }
    server.kill("SIGTERM");
    assert.equal((await server.ended).code, 0);
  });

  test("it prints its addresses and helps with its flags", async () => {
    const ports = ["--port", "0", "--tcp-port", "0"];
    const server = await start("demo", ...ports, "--loops", "2");
    const { out } = server.texts;

    assert.ok(out.includes(`http://${server.ws}/\n`), out);
    server.kill("SIGINT");
    assert.equal((await server.ended).code, 0);

    const help = await run(example("demo"), ["--help"]).ended;
    assert.equal(help.code, 0);
    for (const flag of ["--port", "--tcp-port", "--loops", "--send"]) {
      assert.ok(help.out.includes(flag));
    }
    for (const args of [["--port", "x"], ["--loops", "65"], ["--no"], ["x"]]) {
      assert.equal((await run(example("demo"), args).ended).code, 2);
    }
  });

  test("with several loops, the last list of members is whole", async () => {
    const COUNT = 24;
    const ports = ["--port", "0", "--tcp-port", "0"];
    const server = await start("demo", ...ports, "--loops", "4");
    const sockets = Array.from({ length: COUNT }, () => {
      return new WebSocket(`ws://${server.ws}/live`);
    });

    // All at once; each waits for the list whose version is the highest.
    await Promise.all(
      sockets.map((socket, index) => {
        const data = { room: "lobby", name: `n${index}` };
        const request = JSON.stringify({ event: "enter", id: 1, data });

        socket.on("open", () => socket.send(request));
        return new Promise((resolve) => {
          socket.on("message", (text) => {
            const { event, data } = JSON.parse(text);
            if (event === "members" && data.version === COUNT) {
              assert.equal(data.total, COUNT);
              assert.equal(data.members.length, COUNT);
              resolve();
            }
          });
        });
      }),
    );
    sockets.forEach((socket) => socket.terminate());
    server.kill("SIGTERM");
    assert.equal((await server.ended).code, 0);
  });

  test("without a server, --send says so", async () => {
    const server = await start("demo", "--port", "0", "--tcp-port", "0");
    const port = String(portOf(server.tcp));
    const args = ["--send", "lobby", "hello", "--tcp-port", port];

    const refused = await run(example("demo"), [...args, "--name", ""]).ended;
    assert.equal(refused.code, 1);
    assert.match(refused.err, /bad_name/);
    server.kill("SIGTERM");
    await server.ended;
    const { code, err } = await run(example("demo"), args).ended;
    assert.equal(code, 1);
    assert.match(err, new RegExp(`TCP port ${port}`));
  });

  test("a page of another site is turned away", async () => {
    const server = await start("demo", "--port", "0", "--tcp-port", "0");
    const key = Buffer.alloc(16).toString("base64");
    const socket = connect(portOf(server.ws), "127.0.0.1");
    let bytes = Buffer.alloc(0);

    socket.write(
      `GET /live HTTP/1.1\r\nHost: ${server.ws}\r\nUpgrade: websocket\r\n` +
        `Connection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\n` +
        "Sec-WebSocket-Version: 13\r\nOrigin: http://evil.example\r\n\r\n",
    );
    for await (const chunk of socket) {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.includes("not from this page")) {
        break;
      }
    }
    assert.ok(bytes.includes(Buffer.from([0x03, 0xf0])), "close code 1008");
    server.kill("SIGTERM");
    assert.equal((await server.ended).code, 0);
  });
});
