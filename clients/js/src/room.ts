/**
 * A room as an application sees it. It stays joined over reconnects until it
 * is left.
 */
import { checkName } from "./codec.js";
import { localError, PealError } from "./errors.js";
import { disposeKey, Handlers, type Subscription } from "./events.js";
import { messages, type StreamOptions } from "./stream.js";
import type {
  AnyEvents, EmitOptions, Message, Meta, Name, WaitOptions,
} from "./types.js";

/**
 * - `joining`: until the server says yes, also while there is no connection.
 * - `joined`: a member.
 * - `refused`: the server said no; `join` asks again.
 * - `left`: not a member any more, by `leave` or the end of the client.
 */
export type RoomState = "joining" | "joined" | "refused" | "left";

/** What a room needs of its client. */
export interface RoomOwner {
  join(room: Room<any, any>): void;
  leave(name: string, options: WaitOptions): Promise<void>;
  emit(event: string, data: unknown, options: EmitOptions): unknown;
  wait(what: string, options: WaitOptions): {
    promise: Promise<unknown>; done(error?: unknown): void;
  };
  failed(error: unknown, event: string): void;
}

export class Room<
  In extends object = AnyEvents, Out extends object = AnyEvents,
> {
  readonly name: string;
  readonly #owner: RoomOwner;
  readonly #handlers: Handlers;
  #state: RoomState = "left";
  #why: PealError | undefined;
  /** Called at each change; with true when the client is closed. */
  #watchers = new Set<(isOver: boolean) => void>();

  /** @internal */
  constructor(name: string, owner: RoomOwner) {
    checkName("A room", name);
    this.name = name;
    this.#owner = owner;
    this.#handlers = new Handlers((error, event) => owner.failed(error, event));
  }

  get state(): RoomState {
    return this.#state;
  }

  /** Why it was refused or left. */
  get why(): PealError | undefined {
    return this.#why;
  }

  /** Joins, again after it was left or refused. */
  join(): this {
    if (this.#state !== "joined" && this.#state !== "joining") {
      this.move("joining");
      this.#owner.join(this);
    }
    return this;
  }

  /** When the server has said that this client is in; throws why it is not. */
  async ready(options: WaitOptions = {}): Promise<void> {
    const wait = this.#owner.wait(`joining ${this.name}`, options);
    const look = () => {
      if (this.#state === "joined") {
        wait.done();
      } else if (this.#state !== "joining") {
        wait.done(this.#why ?? localError("left", "It was never joined"));
      }
    };
    this.#watchers.add(look);
    look();
    try {
      await wait.promise;
    } finally {
      this.#watchers.delete(look);
    }
  }

  /** Settles when the server has said so, or cannot be asked. */
  leave(options: WaitOptions = {}): Promise<void> {
    if (this.#state === "left") {
      return Promise.resolve();
    }
    this.move("left", localError("left", `The room ${this.name} was left`));
    return this.#owner.leave(this.name, options);
  }

  on<E extends Name<In>>(
    event: E, fn: (data: In[E], meta: Meta) => void,
  ): Subscription {
    return this.#handlers.add(event, fn);
  }

  once<E extends Name<In>>(
    event: E, fn: (data: In[E], meta: Meta) => void,
  ): Subscription {
    return this.#handlers.add(event, fn, true);
  }

  /** All events of this room. */
  any(fn: (data: In[Name<In>], meta: Meta) => void): Subscription {
    return this.#handlers.add(null, fn);
  }

  /** One function, or all of that event. */
  off<E extends Name<In>>(
    event: E, fn?: (data: In[E], meta: Meta) => void,
  ): void {
    this.#handlers.remove(event, fn);
  }

  /**
   * To all others in the room, where the server lets clients publish. As
   * `emit` of the client.
   */
  emit<E extends Name<Out>>(
    event: E, data: Out[E] | undefined, options: EmitOptions & { ack: true },
  ): Promise<unknown>;
  emit<E extends Name<Out>>(
    event: E, data?: Out[E], options?: EmitOptions & { ack?: false },
  ): boolean;
  emit(event: string, data?: unknown, options: EmitOptions = {}): unknown {
    return this.#owner.emit(event, data, { ...options, room: this.name });
  }

  /** The same events as a stream: `for await (const m of room.messages())`. */
  messages(options: StreamOptions = {}): AsyncGenerator<Message<In>, void> {
    return messages<Message<In>>((push, end) => {
      const subscription = this.#handlers.add(null, (data, meta) =>
        push({ ...meta, data }));
      const look = (isOver: boolean) => {
        if (this.#state === "refused") {
          end(this.#why);
        } else if (isOver || this.#why?.name === "left") {
          end();
        }
      };
      this.#watchers.add(look);
      look(false);
      return () => {
        subscription.off();
        this.#watchers.delete(look);
      };
    }, options);
  }

  [Symbol.asyncIterator](): AsyncGenerator<Message<In>, void> {
    return this.messages();
  }

  declare [Symbol.dispose]: () => void;

  /** @internal */
  receive(data: unknown, meta: Meta): void {
    this.#handlers.call(meta.event, data, meta);
  }

  /** @internal */
  move(state: RoomState, why?: PealError): void {
    this.#state = state;
    this.#why = why;
    this.#look(false);
  }

  /** @internal The client is closed. */
  close(why: PealError): void {
    if (this.#state !== "left") {
      this.#state = "left";
      this.#why = why;
    }
    this.#look(true);
  }

  #look(isOver: boolean): void {
    for (const look of [...this.#watchers]) {
      look(isOver);
    }
  }
}

Object.defineProperty(Room.prototype, disposeKey, {
  configurable: true,
  value(this: Room) {
    /* Nobody waits for this answer: the room is left in any case. */
    this.leave().catch(() => {});
  },
});
