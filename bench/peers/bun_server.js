// Bun's WebSocket server, which has uWebSockets inside, as a peer to measure
// against. On any path it sends each message back as it came; clients on /sub
// receive what clients on /pub send.
//
//     bun bun_server.js [--port N] [--deflate[=takeover]]
//         [--tls-cert FILE --tls-key FILE]

function valueOf(flag) {
  const at = process.argv.indexOf(flag);
  return at < 0 ? undefined : process.argv[at + 1];
}

const port = Number(valueOf("--port") ?? 0);
const takeover = process.argv.includes("--deflate=takeover");
const deflate = takeover || process.argv.includes("--deflate");
const certificate = valueOf("--tls-cert");

const server = Bun.serve({
  hostname: "127.0.0.1",
  port,
  tls: certificate && {
    cert: Bun.file(certificate),
    key: Bun.file(valueOf("--tls-key")),
  },
  fetch(request, server) {
    const path = new URL(request.url).pathname;
    if (server.upgrade(request, { data: { path } })) {
      return undefined;
    }
    return new Response("WebSocket only\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: takeover
      ? { compress: "dedicated", decompress: "dedicated" }
      : deflate,
    idleTimeout: 0,
    // The limits that could lose messages are out of the way: what is
    // measured is speed, and a lost message fails the run.
    backpressureLimit: 1 << 30,
    closeOnBackpressureLimit: false,
    maxPayloadLength: 16 << 20,
    open(socket) {
      if (socket.data.path === "/sub") {
        socket.subscribe("bench");
      }
    },
    message(socket, message) {
      if (socket.data.path === "/pub") {
        server.publish("bench", message, deflate);
      } else {
        socket.send(message, deflate);
      }
    },
  },
});

process.on("SIGTERM", () => process.exit(0));
console.log(`ready ws=127.0.0.1:${server.port}`);
