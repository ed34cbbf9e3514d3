/**
 * The client for Node: over WebSocket, and over framed TCP with the same API.
 *
 *     import { connect } from "peal";
 *
 *     const rt = connect("tcp://127.0.0.1:8081");
 */
import { makeConnect } from "./connect.js";
import { dialers } from "./dialers-node.js";

export * from "./exports.js";
export const connect = makeConnect(dialers);
