// A WebSocket of the package ws that keeps what it receives, until somebody asks
// for it with `receive`. `answer` is what the server said to its extensions,
// `upgraded` the socket below.

import { once } from "node:events";
import WebSocket from "ws";

export async function openWebSocket(
  address,
  path = "/",
  { isSecure = false, ...options } = {},
) {
  const scheme = isSecure ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${address}${path}`, options);
  const messages = [];
  const waiting = [];

  socket.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    const next = waiting.shift();
    if (next) {
      next(message);
    } else {
      messages.push(message);
    }
  });
  socket.receive = () =>
    messages.length > 0
      ? Promise.resolve(messages.shift())
      : new Promise((resolve) => waiting.push(resolve));
  socket.on("upgrade", (response) => {
    socket.answer = response.headers["sec-websocket-extensions"] ?? "";
    socket.upgraded = response.socket;
  });
  await once(socket, "open");
  return socket;
}
