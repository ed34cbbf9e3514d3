import { onTestFinished } from "vitest";

import { connect as connectNode, type Client, type Options, type PealError,
  type State, type Address } from "../../src/node.js";

/** Clients that end with their test, and come back quickly. */
export function connect(address: Address, options: Options = {}): Client {
  const client = connectNode(address, {
    reconnect: { min: 20, max: 200 }, ...options,
  });
  onTestFinished(() => void client.close());
  return client;
}

/** The next time that the state is this one, or now. */
export function reached<N extends State["name"]>(
  client: Client<any, any, any, any>, name: N,
): Promise<Extract<State, { name: N }>> {
  return new Promise((resolve) => {
    const look = (state: State) => {
      if (state.name === name) {
        watch.off();
        resolve(state as Extract<State, { name: N }>);
      }
    };
    const watch = client.watch("state", look);
    look(client.state);
  });
}

/** The error of a promise; fails the test if it has none. */
export async function errorOf(promise: Promise<unknown>): Promise<PealError> {
  return promise.then(
    (value) => { throw new Error(`No error but ${JSON.stringify(value)}`); },
    (error: PealError) => error);
}

/** When it holds, looked at again and again; the test's own timeout ends it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
