// Bun's WebSocket server, which has uWebSockets inside, as a peer to measure
// against. On any path it sends each message back as it came; clients on /sub
// receive what clients on /pub send.
//
//     bun bun_server.js [--port N] [--deflate]

const at = process.argv.indexOf("--port");
const port = at < 0 ? 0 : Number(process.argv[at + 1]);
const deflate = process.argv.includes("--deflate");

const server = Bun.serve({
  hostname: "127.0.0.1",
  port,
  fetch(request, server) {
    const path = new URL(request.url).pathname;
    if (server.upgrade(request, { data: { path } })) {
      return undefined;
    }
    return new Response("WebSocket only\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: deflate,
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
        socket.send(message);
      }
    },
  },
});

process.on("SIGTERM", () => process.exit(0));
console.log(`ready ws=127.0.0.1:${server.port}`);
