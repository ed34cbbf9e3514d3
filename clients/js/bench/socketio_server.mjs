// The server of socket.io as a peer to measure against: sends each event "bench"
// back as it came.

import { createServer } from "node:http";

import { Server } from "socket.io";

const http = createServer();
const server = new Server(http, { transports: ["websocket"] });

server.on("connection", (socket) => {
  socket.on("bench", (data) => socket.emit("bench", data));
});
http.listen(0, "127.0.0.1", () =>
  console.log(`ready ws=127.0.0.1:${http.address().port}`));
process.on("SIGTERM", () => process.exit());
