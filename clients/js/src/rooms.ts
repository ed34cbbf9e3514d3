/**
 * The rooms of a client on the wire: joined, joined again after a reconnect,
 * left.
 */
import { backoffDelay, defaultBackoff } from "./backoff.js";
import type { PealError } from "./errors.js";
import { Room, type RoomOwner } from "./room.js";
import type { Meta, WaitOptions } from "./types.js";

export interface RoomsOwner extends Omit<RoomOwner, "join" | "leave"> {
  /** Counts the connections; null: there is none. */
  session(): number | null;
  control(event: string, data: unknown, options: WaitOptions):
    Promise<unknown>;
  refused(error: PealError): void;
}

export class Rooms {
  readonly #rooms = new Map<string, Room<any, any>>();
  readonly #owner: RoomsOwner;
  readonly #port: RoomOwner;

  constructor(owner: RoomsOwner) {
    this.#owner = owner;
    this.#port = {
      join: (room) => this.#join(room, 1),
      leave: (name, options) => this.#leave(name, options),
      emit: (event, data, options) => owner.emit(event, data, options),
      wait: (what, options) => owner.wait(what, options),
      watch: (what, fn) => owner.watch(what, fn),
      isClosed: () => owner.isClosed(),
      failed: (error, event) => owner.failed(error, event),
    };
  }

  /** One object for a name. */
  get(name: string): Room<any, any> {
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = new Room(name, this.#port);
      this.#rooms.set(name, room);
    }
    return room;
  }

  receive(name: string, data: unknown, meta: Meta): void {
    this.#rooms.get(name)?.receive(data, meta);
  }

  opened(): void {
    for (const room of this.#rooms.values()) {
      if (room.state === "joining") {
        this.#join(room, 1);
      }
    }
  }

  lost(): void {
    for (const room of this.#rooms.values()) {
      if (room.state === "joined") {
        room.move("joining");
      }
    }
  }

  closed(why: PealError): void {
    for (const room of this.#rooms.values()) {
      room.close(why);
    }
  }

  #join(room: Room<any, any>, attempt: number): void {
    const session = this.#owner.session();
    if (session === null) {
      return; /* `opened` will do it. */
    }
    const isDue = () =>
      room.state === "joining" && this.#owner.session() === session;
    this.#owner.control("peal:join", { room: room.name }, {}).then(
      () => isDue() && room.move("joined"),
      (error: PealError) => {
        if (!isDue()) {
          return;
        }
        if (error.temporary) {
          setTimeout(() => isDue() && this.#join(room, attempt + 1),
            backoffDelay(defaultBackoff, attempt));
        } else {
          room.move("refused", error);
          this.#owner.refused(error);
        }
      });
  }

  async #leave(name: string, options: WaitOptions): Promise<void> {
    const session = this.#owner.session();
    if (session === null) {
      return;
    }
    try {
      await this.#owner.control("peal:leave", { room: name }, options);
    } catch (error) {
      /* With its connection the membership ended, too. */
      if (this.#owner.session() === session) {
        throw error;
      }
    }
  }
}
