/**
 * A node socket with many small writes of one turn made into one.
 */
import type { Socket } from "node:net";

export class BatchedSocket {
  readonly socket: Socket;
  #isCorked = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay?.(true);
  }

  get bufferedBytes(): number {
    return this.socket.writableLength;
  }

  write(bytes: Uint8Array): void {
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.socket.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.socket.uncork();
      });
    }
    this.socket.write(bytes);
  }
}
