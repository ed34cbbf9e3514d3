// The manual pages: one for each command and no others, without a complaint of
// mandoc's, and what they say of options, defaults, variables, exit codes and
// examples is what --help says.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { peal, program } from "./support/cli.mjs";

const folder = join(process.env.PEAL_BUILD, "man");
const { commands } = JSON.parse(
  execFileSync(program, ["help", "--json"], { encoding: "utf8" }));
const skip = spawnSync("mandoc", ["-Tascii", "/dev/null"]).error
  ? "there is no mandoc" : false;

// The sections of a page as plain text, by name, each on one line.
function sections(page) {
  const text = execFileSync(
    "mandoc", ["-Tascii", "-Owidth=1000", join(folder, page)],
    { encoding: "utf8" }).replace(/.\x08/g, "");
  const parts = text.split(/^(?=[A-Z])(.*)$/m).slice(1);
  const found = {};

  for (let i = 0; i < parts.length; i += 2) {
    found[parts[i]] = parts[i + 1].trim().replace(/\s+/g, " ");
  }
  return found;
}

test("a page for each command, and peal(1)", () => {
  assert.deepEqual(
    readdirSync(folder).sort(),
    ["peal.1", ...commands.map(({ name }) => `peal-${name}.1`)].sort());
});

test("no page has anything that mandoc warns of", { skip }, () => {
  for (const page of readdirSync(folder)) {
    const { stdout } = spawnSync(
      "mandoc", ["-Tlint", "-Wwarning", join(folder, page)],
      { encoding: "utf8" });
    assert.equal(stdout, "");
  }
});

test("pages say what --help says", { skip }, async () => {
  for (const command of commands) {
    const { out } = await peal(null, [command.name, "--help"]).ended;
    const help = out.replace(/\s+/g, " ");
    const page = sections(`peal-${command.name}.1`);
    const options = command.options.map((option) => {
      const value = option.value ? ` ${option.value}` : "";
      const short = option.letter ? `-${option.letter}` : "";
      return { ...option, value, short };
    });

    // What both show of an option, each in its own way.
    const helped = [];
    const paged = [];
    for (const { name, value, short, help: text, ...option } of options) {
      const said = [option.environment, option.default];
      helped.push(`${short ? `${short}, ` : ""}--${name}${value} ${text}`
        + (said[0] ? ` [$${said[0]}]` : "")
        + (said[1] ? ` (default ${said[1]})` : ""));
      paged.push(`${short ? `${short}${value}, ` : ""}--${name}${value} ${text}`
        + (said[0] || said[1]
          ? ` (default ${said.filter(Boolean).join(", else ")})` : ""));
    }
    assert.ok(help.includes(helped.join(" ")), out);
    assert.equal(page.OPTIONS, paged.join(" "));
    for (const { environment } of options.filter((row) => row.environment)) {
      assert.ok(page.ENVIRONMENT.includes(`${environment} is taken`));
    }
    for (const { line } of command.examples) {
      assert.ok(help.includes(line), line);
      assert.ok(page.EXAMPLES.includes(line), line);
    }
    const [, usage] = /^usage: (.*)$/m.exec(out);
    assert.equal(page.SYNOPSIS, usage.replace("[OPTION...]", "[OPTION ...]"));
    assert.equal(page.NAME, `peal-${command.name} - ${command.summary}`);
  }
});

test("exit codes are the same everywhere", { skip }, async () => {
  const { out } = await peal(null, ["--help"]).ended;
  const codes = /exit codes: ([^]*)\n$/.exec(out)[1].replaceAll(",", "")
    .replaceAll("\n", " ");

  for (const page of readdirSync(folder)) {
    assert.equal(sections(page)["EXIT STATUS"], codes);
  }
});

test("a file without a date: 1", async () => {
  const { code, err } =
    await peal(null, ["help", "sub", "--manual", "/dev/null"]).ended;
  assert.equal(code, 1);
  assert.match(err, /\/dev\/null:1: the date/);
});
