// The npm package `ws` as a peer to measure against. On any path it sends each
// message back as it came; clients on /sub receive what clients on /pub send.
//
//     node ws_server.mjs [--port N] [--deflate[=takeover]]
//         [--tls-cert FILE --tls-key FILE]

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";

import { WebSocketServer } from "ws";

function valueOf(flag) {
  const at = process.argv.indexOf(flag);
  return at < 0 ? undefined : process.argv[at + 1];
}

const port = Number(valueOf("--port") ?? 0);
const takeover = process.argv.includes("--deflate=takeover");
const deflate = takeover || process.argv.includes("--deflate");
const certificate = valueOf("--tls-cert");
const http = certificate === undefined
  ? createServer()
  : createSecureServer({
    cert: readFileSync(certificate),
    key: readFileSync(valueOf("--tls-key")),
  });
const subscribers = new Set();

const server = new WebSocketServer({
  server: http,
  perMessageDeflate: deflate && {
    serverNoContextTakeover: !takeover,
    clientNoContextTakeover: !takeover,
    zlibDeflateOptions: { level: 1 },
  },
  maxPayload: 16 << 20,
});

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (request.url === "/sub") {
    subscribers.add(socket);
    socket.on("close", () => subscribers.delete(socket));
  } else if (request.url === "/pub") {
    socket.on("message", (data, binary) => {
      for (const subscriber of subscribers) {
        subscriber.send(data, { binary });
      }
    });
  } else {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  }
});

http.listen({ host: "127.0.0.1", port, backlog: 4096 }, () => {
  console.log(`ready ws=127.0.0.1:${http.address().port}`);
});
process.on("SIGTERM", () => process.exit(0));
