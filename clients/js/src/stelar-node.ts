/**
 * Drop-in for the client of stelar-time-real, in Node.
 *
 *     import StelarClient from "peal/stelar";
 */
import { dialers } from "./dialers-node.js";
import {
  StelarClientBase, type StelarClientOptions,
} from "./stelar-client.js";
import { makeStelarTcp } from "./stelar-tcp.js";

export class StelarClient extends StelarClientBase {
  constructor(url?: string | number, options?: StelarClientOptions) {
    super({ dialers, makeTcp: makeStelarTcp }, url, options);
  }
}

export default StelarClient;
export type {
  ConnectionState, StelarClientHooks, StelarClientOptions, StelarEventHandler,
  StelarMessage,
} from "./stelar-client.js";
