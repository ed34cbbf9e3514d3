// Running the command line `peal`.

import { once } from "node:events";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { run } from "./process.mjs";

export const program = join(process.env.PEAL_BUILD, "cmd", "peal");

// What the program inherits: no setting of the user's who runs the tests.
const clean = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^PEAL_|^NO_COLOR$/.test(name) || name === "PEAL_BUILD"),
);

// Runs `peal` against a server; `ended` as in process.mjs. `input` is its
// standard input, which is empty unless it is told.
export function peal(server, args, { input = "", env = {} } = {}) {
  const url = server ? { PEAL_URL: `ws://${server.ws}/` } : {};
  const child = run(program, args, { env: { ...clean, ...url, ...env } });

  child.stdin.on("error", () => {}); // it may have ended
  if (input !== null) {
    child.stdin.end(input);
  }
  return child;
}

// Resolves when the program has written such a text to a stream.
export function wrote(child, name, pattern) {
  const stream = name === "err" ? child.stderr : child.stdout;

  return new Promise((resolve, reject) => {
    const look = () => {
      const found = pattern.exec(child.texts[name]);
      if (found) {
        resolve(found);
      }
    };
    stream.on("data", look);
    child.ended.then(({ code, out, err }) =>
      reject(new Error(`ended with ${code}\n${out}\n${err}`)));
    look();
  });
}

// Runs `peal sub` and resolves when it is in its rooms.
export async function subscribe(server, ...args) {
  const child = peal(server, ["sub", ...args], { input: null });

  await wrote(child, "err", /subscribed/);
  return child;
}

// SIGTERM to a server of the examples, and wait.
export async function stop(server) {
  server.kill("SIGTERM");
  await server.ended;
}

// Between the clients and a server, and ends connections when it is told to.
export async function between(port) {
  const sockets = new Set();
  const middle = createServer((socket) => {
    const other = connect(port, "127.0.0.1");
    sockets.add(socket);
    for (const each of [socket, other]) {
      each.on("error", () => {});
    }
    socket.pipe(other);
    other.pipe(socket);
  });

  middle.listen(0, "127.0.0.1");
  await once(middle, "listening");
  middle.cut = () => sockets.forEach((socket) => socket.destroy());
  return middle;
}
