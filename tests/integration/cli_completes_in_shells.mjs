// `peal completion` prints scripts that real shells load, and what they then
// offer is what the tables have.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { peal, program } from "./support/cli.mjs";

const { commands } = JSON.parse(
  execFileSync(program, ["help", "--json"], { encoding: "utf8" }));
const folder = mkdtempSync(join(tmpdir(), "peal-completion-"));
writeFileSync(join(folder, "a file"), "");
writeFileSync(join(folder, ".zshrc"), `
  PS1=ready
  autoload -U compinit
  compinit -u -D
  source <(peal completion zsh)
  show() { print -r -- "<<$BUFFER>>"; BUFFER=; zle accept-line }
  zle -N show
  bindkey '^X' show
`);
after(() => rmSync(folder, { recursive: true }));

const env = {
  PATH: `${dirname(program)}:${process.env.PATH}`,
  HOME: folder,
  TERM: "dumb",
};

function shell(name, args, input) {
  return execFileSync(name, args, {
    cwd: folder, encoding: "utf8", env, input, timeout: 60_000,
  });
}

const isMissing = (name) =>
  spawnSync(name, ["--version"]).error ? `there is no ${name}` : false;

const lines = (text) => text.split("\n").filter((line) => line !== "");

// What each shell offers for a command line whose last word is incomplete.
const offers = {
  bash: (words) => lines(shell("bash", ["--norc", "-c", `
    source <(peal completion bash)
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _peal
    printf '%s\\n' "\${COMPREPLY[@]}"`, "bash", ...words])),

  // The line as zsh itself has it after the tabulator key.
  zsh: (words) => lines(shell("zsh", ["-f", "-c", `
    zmodload zsh/zpty
    zpty z zsh -d -i
    zpty -r z out '*ready*'
    zpty -n -w z "$1"$'\\t\\x18'
    zpty -r z out '*<<*>>*'
    print -r -- "\${\${out##*<<}%%>>*}"
    zpty -d z`, "zsh", words.join(" ")])),

  fish: (words) => lines(shell("fish", ["--no-config", "-c", `
    peal completion fish | source
    complete -C ${JSON.stringify(words.join(" "))}`]))
    .map((line) => line.split("\t")[0]),
};

for (const name of ["bash", "fish"]) {
  test(`${name}: commands, options, values, files`, {
    skip: isMissing(name),
  }, () => {
    const offered = (...words) => offers[name](["peal", ...words]);
    const sorted = (...words) => offered(...words).sort();
    const names = commands.map((command) => command.name);

    assert.deepEqual(sorted("").filter((word) => word[0] !== "-"),
      [...names].sort());
    for (const command of commands) {
      assert.deepEqual(
        sorted(command.name, "--").filter((word) => word !== "--"),
        command.options.map((option) => `--${option.name}`).sort(),
        command.name);
      for (const option of command.options.filter(({ choices }) => choices)) {
        assert.deepEqual(sorted(command.name, `--${option.name}`, ""),
          option.choices.split(" ").sort());
      }
    }
    assert.deepEqual(sorted("sub", "--cacert", "a").map(
      (word) => word.replace("\\ ", " ")), ["a file"]);
    assert.deepEqual(offered("help", "su"), ["sub"]);
    assert.deepEqual(offered("completion", "f"), ["fish"]);
    assert.deepEqual(offered("sub", "--url", ""), []);
  });
}

test("zsh: commands, options, values, files", { skip: isMissing("zsh") }, () => {
  for (const [words, line] of [
    [["compl"], "peal completion "],
    [["sub", "--diale"], "peal sub --dialect="],
    [["sub", "--dialect=st"], "peal sub --dialect=stelar "],
    [["pub", "lobby", "hello", "--no-a"], "peal pub lobby hello --no-ack "],
    [["sub", "--cacert", "a"], "peal sub --cacert a\\ file "],
    [["help", "em"], "peal help emit "],
    [["completion", "fi"], "peal completion fish "],
  ]) {
    assert.deepEqual(offers.zsh(["peal", ...words]), [line]);
  }
});

test("another shell: 2", async () => {
  const { code, err } = await peal(null, ["completion", "tcsh"]).ended;
  assert.equal(code, 2);
  assert.match(err, /bash zsh fish/);
});
