/**
 * Drop-in for the client of stelar-time-real, in browsers and workers.
 *
 *     import StelarClient from "peal/stelar";
 */
import {
  StelarClientBase, type StelarClientOptions,
} from "./stelar-client.js";
import { dialWebSocket } from "./transport-ws.js";

export class StelarClient extends StelarClientBase {
  constructor(url?: string | number, options?: StelarClientOptions) {
    super({ dialers: { "ws:": dialWebSocket, "wss:": dialWebSocket } },
      url, options);
  }
}

export default StelarClient;
export type {
  ConnectionState, StelarClientHooks, StelarClientOptions, StelarEventHandler,
  StelarMessage,
} from "./stelar-client.js";
