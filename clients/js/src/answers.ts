/**
 * What this client answers when the server asks.
 */
import { asData, packetSize, type Codec, type Envelope, type Id }
  from "./codec.js";
import { localError, PealError } from "./errors.js";
import { subscription, type Subscription } from "./events.js";
import type { Meta } from "./types.js";

export type Answerer = (data: any, meta: Meta) => unknown;

export interface AnswersOwner {
  readonly codec: Codec;
  readonly messageBytesMax: number;
  /** Counts the connections; null: there is none. */
  session(): number | null;
  write(envelope: Envelope): void;
  failed(error: unknown, event: string): void;
}

export class Answers {
  readonly #named = new Map<string, Answerer>();
  readonly #owner: AnswersOwner;

  constructor(owner: AnswersOwner) {
    this.#owner = owner;
  }

  add(name: string, fn: Answerer): Subscription {
    if (this.#named.has(name)) {
      throw localError("bad_option", `${name} is answered already`);
    }
    this.#named.set(name, fn);
    return subscription(() => {
      if (this.#named.get(name) === fn) {
        this.#named.delete(name);
      }
    });
  }

  get(name: string): Answerer | undefined {
    return this.#named.get(name);
  }

  /**
   * Answers with what `fn` returns or throws. An answer belongs to the
   * connection that brought the request: on the next one nobody waits for it.
   */
  async reply(event: string, id: Id, fn: () => unknown): Promise<void> {
    const session = this.#owner.session();
    const reply = await this.#answer(id, fn).catch((error: unknown) => {
      const isMeant = error instanceof PealError;
      if (!isMeant) {
        this.#owner.failed(error, event);
      }
      /* What a program's own error says is not for the server. */
      const failure = isMeant ? error
        : localError("internal", "The client failed");
      return { event: "peal:fail", id, data: failure.toJSON() };
    });
    if (session !== null && session === this.#owner.session()) {
      this.#owner.write(reply);
    }
  }

  async #answer(id: Id, fn: () => unknown): Promise<Envelope> {
    const reply = { event: "peal:answer", id, data: asData(await fn()) };
    const bytes = packetSize(this.#owner.codec.encode(reply));
    if (bytes > this.#owner.messageBytesMax) {
      throw localError("too_large", `An answer of ${bytes} bytes`);
    }
    return reply;
  }
}
