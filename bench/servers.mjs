// Starting and ending servers and the load generator, for run.mjs and
// instructions.mjs.

import { execFileSync, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const here = dirname(fileURLToPath(import.meta.url));
export const root = dirname(here);

const READY_MS = 60_000;
const END_MS = 10_000;

// The server has the first core, the generator the second. With one core there
// is nothing to choose.
const pinned = availableParallelism() > 1;

function pin(core, command) {
  return pinned ? ["taskset", "-c", String(core), ...command] : command;
}

export function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export function output(command, args) {
  const options = { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] };
  try {
    return execFileSync(command, args, options).trim();
  } catch {
    return undefined;
  }
}

// A key and a certificate for it, signed by itself, in a folder.
export function makeCertificate(folder) {
  const identity = {
    certificate: join(folder, "certificate.pem"),
    key: join(folder, "key.pem"),
  };
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
    "-keyout", identity.key, "-out", identity.certificate],
  { stdio: ["ignore", "ignore", "pipe"] });
  return identity;
}

function ended(child) {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve();
    } else {
      child.once("exit", resolve);
    }
  });
}

// Reads the line "ready ws=ADDRESS tcp=ADDRESS" that every server prints.
function readiness(child, command) {
  return new Promise((resolve, reject) => {
    let text = "";
    const fail = (why) => reject(new Error(`${command.join(" ")}: ${why}`));
    const timer = setTimeout(() => fail("not ready in time"), READY_MS);

    child.once("error", (error) => fail(error.message));
    child.once("exit", () => {
      clearTimeout(timer);
      fail("ended before it was ready");
    });
    child.stdout.on("data", (chunk) => {
      text += chunk;
      const line = /^ready (.*)\n/m.exec(text);
      if (line !== null) {
        clearTimeout(timer);
        resolve(Object.fromEntries(
          line[1].split(" ").map((field) => field.split("=")),
        ));
      }
    });
  });
}

// Starts a server. `pid` is its own, since every step before it is an exec.
export async function startServer(command) {
  const shell = 'ulimit -n "$(ulimit -Hn)" && exec "$@"';
  const child = spawn("sh", ["-c", shell, "sh", ...pin(0, command)], {
    stdio: ["ignore", "pipe", "inherit"],
    cwd: root,
  });
  try {
    const addresses = await readiness(child, command);
    return { child, pid: child.pid, addresses };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

export async function endServer(server) {
  const timer = setTimeout(() => server.child.kill("SIGKILL"), END_MS);

  server.child.kill("SIGTERM");
  await ended(server.child);
  clearTimeout(timer);
}

// Runs the load generator and returns what its line of JSON says.
export async function load(program, args) {
  const [command, ...rest] = pin(1, [program, ...args]);
  const child = spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  let complaint = "";

  child.stdout.on("data", (chunk) => { text += chunk; });
  child.stderr.on("data", (chunk) => { complaint += chunk; });
  await new Promise((resolve) => child.once("close", resolve));
  if (text === "") {
    return { ok: false, failure: complaint.trim() || "no report" };
  }
  return JSON.parse(text);
}

// npm's package puts its binary into the one or the other place, as it was
// allowed to run its script or not.
function bunProgram() {
  const modules = join(here, "peers/node_modules");
  const places = ["@oven/bun-linux-x64", "@oven/bun-linux-aarch64"]
    .map((place) => join(modules, place, "bin/bun"));
  return places.find(isProgram) ?? join(modules, ".bin/bun");
}

// A server as a client of this dialect and wire sees it. `command(role)` gives
// how to start it for "echo", "fanout" or "rooms", or undefined where it has no
// such role; `args(role)` are what the generator must know about it.
export function allServers(build) {
  const bun = bunProgram();
  const bench = (name) => join(build, "bench", name);
  const example = (name) => join(build, "examples", name);
  const peal = ["--dialect", "peal"];
  const tcp = ["--wire", "tcp"];
  const epoll = ["--io", "epoll"];

  return [
    {
      name: "peal",
      command: (role) => [example(role), "--port", "0", ...epoll],
      args: () => [],
    },
    {
      name: "peal uring",
      command: (role) => [example(role), "--port", "0", "--io", "io_uring"],
      args: () => [],
    },
    {
      name: "peal json",
      command: (role) => [bench(`peal_${role}`), "--port", "0", ...epoll],
      args: (role) => [...peal, ...pealArgs(role, "ws")],
    },
    {
      name: "peal tcp",
      command: (role) => role === "echo"
        ? [example("echo"), "--port", "0", "--tcp-port", "0", ...epoll]
        : undefined,
      args: () => tcp,
    },
    {
      name: "peal json tcp",
      command: (role) =>
        [bench(`peal_${role}`), "--port", "0", "--tcp-port", "0", ...epoll],
      args: (role) => [...tcp, ...peal, ...pealArgs(role, "tcp")],
    },
    {
      name: "Bun",
      command: () => [bun, join(here, "peers/bun_server.js")],
      args: () => [],
    },
    {
      name: "ws",
      command: () => ["node", join(here, "peers/ws_server.mjs")],
      args: () => [],
      needs: join(here, "peers/node_modules/ws"),
    },
  ];
}

// What bench/peal_fanout.c wants to hear from a subscriber, and how what a
// publisher sends reaches one: with its room, for which TCP has no field.
function pealArgs(role, wire) {
  if (role !== "fanout") {
    return [];
  }
  const event = '{"event":"bench","room":"all","data":"%"}';
  return wire === "tcp"
    ? ["--join", "0 sub 0", "--expect", `16 - ${event}`]
    : ["--join", '{"event":"sub","data":0}', "--expect", event];
}
