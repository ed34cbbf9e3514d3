/** Servers made of a socket, which do what no real one does. */
import { createHash } from "node:crypto";
import { createServer, type AddressInfo, type Socket } from "node:net";

import { onTestFinished } from "vitest";

/** Calls `serve` with each connection; returns host:port. */
export async function listen(serve: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A WebSocket server up to the 101; then `serve` writes what it likes. */
export async function upgrade(
  serve: (socket: Socket) => void, { accept = (real: string) => real,
    headers = "" } = {},
): Promise<string> {
  return `ws://${await listen((socket) => socket.once("data", (head) => {
    const [, key] = /Sec-WebSocket-Key: (.*)\r/.exec(String(head))!;
    const real = createHash("sha1")
      .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
      `Connection: Upgrade\r\nSec-WebSocket-Accept: ${accept(real)}\r\n` +
      `${headers}\r\n`);
    serve(socket);
  }))}`;
}

/** A text message, unmasked, or another frame of these bytes. */
export function text(payload: string, first = 0x81): Buffer {
  const bytes = Buffer.from(payload);
  const head = bytes.length < 126 ? [first, bytes.length]
    : [first, 126, bytes.length >> 8, bytes.length & 255];
  return Buffer.concat([Buffer.from(head), bytes]);
}
