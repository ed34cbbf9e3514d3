import { Client } from "./client.js";
import type { Dialers } from "./transport.js";
import type { AnyCalls, AnyEvents, Options } from "./types.js";
import type { Address } from "./url.js";

/**
 * Makes a client, and dials unless told otherwise.
 *
 * The type parameters are events of the server, requests to it, events to it,
 * and its requests: `connect<In, Calls, Out, Asks>("wss://example.com/rt")`.
 */
export type Connect = <
  In extends object = AnyEvents, Calls extends object = AnyCalls,
  Out extends object = AnyEvents, Asks extends object = AnyCalls,
>(address: Address, options?: Options) => Client<In, Calls, Out, Asks>;

/** `connect` for a platform: what it can dial. */
export function makeConnect(dialers: Dialers): Connect {
  return (address, options = {}) => new Client(address, options, dialers);
}
