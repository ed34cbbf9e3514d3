// Starting and ending the programs that are tested.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after } from "node:test";

const folder = process.env.PEAL_EXAMPLES;
if (!folder) {
  throw new Error("PEAL_EXAMPLES is not set: the folder of built examples");
}

export const example = (name) => join(folder, name);

// Runs a program. `ended` resolves to { code, signal, out, err }.
export function run(program, args, options = {}) {
  const child = spawn(program, args, options);
  const texts = { out: "", err: "" };

  child.stdout.setEncoding("utf8").on("data", (text) => (texts.out += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (texts.err += text));
  child.ended = once(child, "close").then(([code, signal]) => ({
    code,
    signal,
    ...texts,
  }));
  child.texts = texts;
  return child;
}

const started = new Set();

// What a failed test leaves running would keep this process from ending.
after(() => started.forEach((child) => child.kill("SIGKILL")));

// Runs an example and waits for its line "ready ws=HOST:PORT tcp=HOST:PORT".
export async function start(name, ...args) {
  const child = run(example(name), args);

  started.add(child);
  child.ended.then(() => started.delete(child));
  const ready = new Promise((resolve, reject) => {
    child.stdout.on("data", () => {
      const line = /^ready ws=(\S+)(?: tcp=(\S+))?$/m.exec(child.texts.out);
      if (line) {
        resolve({ ws: line[1], tcp: line[2] });
      }
    });
    child.ended.then(({ err }) => reject(new Error(`${name} ended: ${err}`)));
  });
  return Object.assign(child, await ready);
}

export const portOf = (address) => Number(address.split(":").pop());
