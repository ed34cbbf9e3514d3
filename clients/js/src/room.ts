/**
 * A room as an application sees it. It stays joined over reconnects until it
 * is left.
 */
import { checkName } from "./codec.js";
import { localError, PealError } from "./errors.js";
import { disposeKey, type Subscription } from "./events.js";
import { Listener } from "./listener.js";
import type {
  AnyEvents, EmitOptions, Gap, Meta, WaitOptions,
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
  watch(what: "gap", fn: (gap: Gap) => void): Subscription;
  /** Nothing comes any more, unless it is opened again. */
  isClosed(): boolean;
  failed(error: unknown, event: string): void;
}

/** A room that is joined, and joined again after each reconnect. */
export class Room<
  In extends object = AnyEvents, Out extends object = AnyEvents,
> extends Listener<In, Out> {
  /** As it was asked for. */
  readonly name: string;
  readonly #owner: RoomOwner;
  #state: RoomState = "left";
  #why: PealError | undefined;
  /** Called at each change; with true when the client is closed. */
  #watchers = new Set<(isOver: boolean) => void>();

  /** @internal */
  constructor(name: string, owner: RoomOwner) {
    super();
    checkName("A room", name);
    this.name = name;
    this.#owner = owner;
  }

  /** Whether it is joined now; `why` tells of a refusal. */
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

  /** Gaps of this room, in their places among its events. */
  watch(what: "gap", fn: (gap: Gap) => void): Subscription {
    return this.#owner.watch(what, (gap) => gap.room === this.name && fn(gap));
  }

  declare [Symbol.dispose]: () => void;

  /** @internal */
  protected handlerFailed(error: unknown, event: string): void {
    this.#owner.failed(error, event);
  }

  /** @internal */
  protected send(event: string, data: unknown, options: EmitOptions): unknown {
    return this.#owner.emit(event, data, { ...options, room: this.name });
  }

  /** @internal */
  protected whenOver(end: (error?: unknown) => void): () => void {
    const look = (isOver: boolean) => {
      if (this.#state === "refused") {
        end(this.#why);
      } else if (isOver || this.#why?.name === "left") {
        end();
      }
    };
    this.#watchers.add(look);
    look(this.#owner.isClosed());
    return () => this.#watchers.delete(look);
  }

  /** @internal */
  receive(data: unknown, meta: Meta): void {
    this.handlers.call(meta.event, data, meta);
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
