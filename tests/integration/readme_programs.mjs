// The programs of the README work as they stand, together: the server and the
// client in C are compiled and run, and the page is opened twice in Chromium.
// Only the ports are others, which the system chooses.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { launchBrowser } from "./support/browser.mjs";
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

function save(name, text, port) {
  const file = join(folder, name);

  writeFileSync(file,
    text.replaceAll(/127\.0\.0\.1:\d+/g, `127.0.0.1:${port}`));
  return file;
}

function compile(name, index, port) {
  const file = save(`${name}.c`, block("c", index), port);
  const program = join(folder, name);

  execFileSync("cc", [
    "-std=c11", "-Wall", "-Werror", file, "-o", program,
    "-I", join(source, "include"), "-L", build, "-lpeal",
  ]);
  return program;
}

// Opens the page, and waits until it is connected.
async function openPage(browser, port) {
  const page = await browser.newPage();

  await page.goto(pathToFileURL(save("chat.html", block("html"), port)).href);
  const shows = (text) => page.getByText(text).waitFor();
  await shows("(open)");
  return {
    shows,
    async say(text) {
      await page.getByRole("textbox").fill(text);
      await page.keyboard.press("Enter");
    },
  };
}

test("the README's server and clients", { timeout: 60_000 }, async () => {
  const env = { ...process.env, LD_LIBRARY_PATH: build };
  const program = compile("server", 0, 0);
  const browser = await launchBrowser();
  const server = run(program, [], { env });
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
    const first = await openPage(browser, port);
    const second = await openPage(browser, port);
    await first.say("anybody there?");
    await second.shows("> anybody there?");

    // To a terminal, each line is written at once; stdbuf does it for a pipe.
    inC = run("stdbuf", ["-oL", compile("client", 1, port)], { env });
    const heard = new Promise((resolve, reject) => {
      inC.stdout.on("data", () =>
        inC.texts.out.includes("\n") && resolve(inC.texts.out));
      inC.ended.then(({ err }) => reject(new Error(`ended: ${err}`)));
    });
    await Promise.all([first.shows("> hello"), second.shows("> hello")]);
    await second.say("good morning");
    assert.equal(await heard, '{"text":"good morning"}\n');
    server.kill("SIGKILL");
    await first.shows("(waiting)");
  } finally {
    await browser.close();
    if (inC) {
      inC.kill("SIGKILL");
      await inC.ended;
    }
    server.kill("SIGKILL");
    await server.ended;
  }
});
