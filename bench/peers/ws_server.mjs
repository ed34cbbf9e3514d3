// The npm package `ws` as a peer to measure against. On any path it sends each
// message back as it came; clients on /sub receive what clients on /pub send.
//
//     node ws_server.mjs [--port N] [--deflate]

import { WebSocketServer } from "ws";

const at = process.argv.indexOf("--port");
const port = at < 0 ? 0 : Number(process.argv[at + 1]);
const deflate = process.argv.includes("--deflate");
const subscribers = new Set();

const server = new WebSocketServer({
  host: "127.0.0.1",
  port,
  backlog: 4096,
  perMessageDeflate: deflate && {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
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

server.on("listening", () => {
  console.log(`ready ws=127.0.0.1:${server.address().port}`);
});
process.on("SIGTERM", () => process.exit(0));
