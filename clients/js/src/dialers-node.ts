/** What Node can dial. */
import { dialTcp } from "./transport-tcp.js";
import { dialNodeWebSocket } from "./transport-ws-node.js";
import type { Dialers } from "./transport.js";

export const dialers: Dialers = {
  "ws:": dialNodeWebSocket, "wss:": dialNodeWebSocket,
  "tcp:": dialTcp, "tls:": dialTcp, "unix:": dialTcp,
};
