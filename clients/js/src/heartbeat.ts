/**
 * Notices a dead server. The server leads: it pings who is silent, and in Node
 * these pings are heard. A page does not see them, so after the interval of
 * silence, and a little more to let the server's ping come first, the client
 * asks itself. A page that is hidden has no timer at all: the server's pings,
 * which the browser answers, keep its connection.
 */
export interface HeartbeatOwner {
  ping(): void;
  /** Nothing came since the ping. */
  silent(): void;
  isHidden(): boolean;
}

/* How long a probe waits, when there is a reason to doubt the connection. */
const PROBE_MS = 5000;

export class Heartbeat {
  readonly #owner: HeartbeatOwner;
  #intervalMs = 0;
  #timeoutMs = 0;
  #heardAt = 0;
  #heardCount = 0;
  /** When silence after a ping is proof; 0: no ping is out. */
  #deadline = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(owner: HeartbeatOwner) {
    this.#owner = owner;
  }

  /** An interval of 0: no heartbeat, but probes. */
  start(intervalMs: number, timeoutMs: number): void {
    /* A quarter of the timeout is the server's; the sum of both waits stays. */
    this.#intervalMs = intervalMs > 0 ? intervalMs + timeoutMs / 4 : 0;
    this.#timeoutMs = timeoutMs * 3 / 4;
    this.heard();
    this.#wait();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#deadline = 0;
  }

  heard(): void {
    this.#heardAt = Date.now();
    this.#heardCount++;
  }

  /** Asks now: the network, or the page, is back from somewhere. */
  probe(): void {
    const patienceMs = Math.min(this.#timeoutMs || PROBE_MS, PROBE_MS);
    if (this.#deadline === 0 || this.#deadline > Date.now() + patienceMs) {
      this.#ask(patienceMs);
    }
  }

  #after(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  #wait(): void {
    this.#deadline = 0;
    if (this.#intervalMs > 0 && !this.#owner.isHidden()) {
      const silence = Date.now() - this.#heardAt;
      this.#after(this.#intervalMs - silence, () => this.#look());
    }
  }

  #look(): void {
    if (this.#owner.isHidden() ||
        Date.now() - this.#heardAt < this.#intervalMs - 1) {
      this.#wait();
    } else {
      this.#ask(this.#timeoutMs);
    }
  }

  #ask(patienceMs: number): void {
    /*
     * After a sleep of the machine all timers are late: only silence after a
     * ping of ours is proof.
     */
    const heardCount = this.#heardCount;
    this.#deadline = Date.now() + patienceMs;
    this.#after(patienceMs, () => {
      if (this.#heardCount === heardCount) {
        this.#owner.silent();
      } else {
        this.#wait();
      }
    });
    this.#owner.ping();
  }
}
