/** What a client and a room have in common: events that come, and that go. */
import { Handlers, type Subscription } from "./events.js";
import { messages, type StreamOptions } from "./stream.js";
import type {
  AnyEvents, EmitOptions, Message, Meta, Name,
} from "./types.js";

export abstract class Listener<
  In extends object = AnyEvents, Out extends object = AnyEvents,
> {
  /** @internal */
  protected readonly handlers = new Handlers((error, event) =>
    this.handlerFailed(error, event));

  /** @internal */
  protected abstract handlerFailed(error: unknown, event: string): void;
  /** @internal */
  protected abstract send(
    event: string, data: unknown, options: EmitOptions): unknown;
  /** @internal Calls `end` when no event follows; returns how to stop. */
  protected abstract whenOver(end: (error?: unknown) => void): () => void;

  /** Events of this name. A client also hears those that come through rooms. */
  on<E extends Name<In>>(
    event: E, fn: (data: In[E], meta: Meta) => void,
  ): Subscription {
    return this.handlers.add(event, fn);
  }

  /** The same for the next event of this name alone. */
  once<E extends Name<In>>(
    event: E, fn: (data: In[E], meta: Meta) => void,
  ): Subscription {
    return this.handlers.add(event, fn, true);
  }

  /** All events. */
  any(fn: (data: In[Name<In>], meta: Meta) => void): Subscription {
    return this.handlers.add(null, fn);
  }

  /** One function, or all of that event. */
  off<E extends Name<In>>(
    event: E, fn?: (data: In[E], meta: Meta) => void,
  ): void {
    this.handlers.remove(event, fn);
  }

  /**
   * All events as a stream: `for await (const m of room.messages())`. That of a
   * client ends when it is closed, that of a room also when it is left; a room
   * that refuses this client makes it throw.
   */
  messages(options: StreamOptions = {}): AsyncGenerator<Message<In>, void> {
    return messages<Message<In>>((push, end) => {
      const all = this.handlers.add(null, (data, meta) =>
        push({ ...meta, data }));
      const stop = this.whenOver(end);
      return () => {
        all.off();
        stop();
      };
    }, options);
  }

  [Symbol.asyncIterator](): AsyncGenerator<Message<In>, void> {
    return this.messages();
  }

  /**
   * Sends an event: to the server, or to all others in the room, where the
   * server lets clients publish. True: it is on its way or waits in the outbox,
   * which does not mean delivered; with `{ ack: true }` a promise of the
   * server's word that it has it. What is not sent after all is told to
   * `watch("drop")`, or rejects the promise. Bytes go as bytes, all else as
   * JSON.
   */
  emit<E extends Name<Out>>(
    event: E, data: Out[E] | undefined, options: EmitOptions & { ack: true },
  ): Promise<unknown>;
  emit<E extends Name<Out>>(
    event: E, data?: Out[E], options?: EmitOptions & { ack?: false },
  ): boolean;
  emit(event: string, data?: unknown, options: EmitOptions = {}): unknown {
    return this.send(event, data, options);
  }
}
