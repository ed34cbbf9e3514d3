/**
 * The client for browsers and workers.
 *
 *     import { connect } from "peal";
 *
 *     const rt = connect("wss://example.com/rt");
 *     rt.on("news", (data) => console.log(data));
 *     const { sum } = await rt.request("sum", { a: 1, b: 2 });
 */
import { makeConnect } from "./connect.js";
import { dialWebSocket } from "./transport-ws.js";

export * from "./exports.js";
export const connect = makeConnect({
  "ws:": dialWebSocket, "wss:": dialWebSocket,
});
