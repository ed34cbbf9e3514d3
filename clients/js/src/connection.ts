/**
 * The life of a connection: dial, welcome, heartbeat, loss, wait, dial again.
 * It knows nothing of rooms and requests; client.ts does.
 */
import { backoffDelay, defaultBackoff } from "./backoff.js";
import type { Envelope, Packet } from "./codec.js";
import { localError, PealError } from "./errors.js";
import { Heartbeat } from "./heartbeat.js";
import type {
  CloseInfo, Dialers, Transport, TransportSink,
} from "./transport.js";
import type { Options, ReconnectOptions, State } from "./types.js";
import { makeUrl, withToken, type Address } from "./url.js";
import { isHidden, isOffline, onWake } from "./wake.js";

export interface ConnectionOwner {
  readonly options: Options;
  /** The application's own part of opening, if it has one. */
  prepare(): Promise<unknown> | null;
  /** Before `state` says open: what has to go out first. */
  opened(welcome: Welcome): void;
  /** What was sent on it may be lost. */
  lost(why: PealError): void;
  /** No dial follows. */
  closed(why: PealError): void;
  state(to: State, from: State): void;
  message(envelope: Envelope): void;
  invalid(error: unknown): void;
  ping(): void;
}

/** The data of `peal:welcome`, as far as it is used. */
export interface Welcome {
  id: string;
  ping_interval_ms: number;
  ping_timeout_ms: number;
  limits: { message_bytes?: number };
}

/* Open for so long, a connection was a success, and failures count anew. */
const STABLE_MS = 5000;
/* A longer timer would fire at once. */
const TIMER_MAX = 2 ** 31 - 1;
const CLOSE_TIMEOUT_MS = 2000;
const CONNECT_TIMEOUT_MS = 10_000;
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
/* However long a server wants to be left alone. */
const RETURN_MAX_MS = 3600_000;

const isForGood = (code: number): boolean =>
  code === 1000 || (code >= 3500 && code < 4000) ||
  (code >= 4500 && code < 5000);

function readWelcome(data: unknown): Welcome {
  const said = (typeof data === "object" && data !== null ? data : {}) as
    Partial<Welcome>;
  const time = (value: unknown) =>
    typeof value === "number" && value > 0 ? Math.min(value, TIMER_MAX / 2) : 0;
  return {
    id: typeof said.id === "string" ? said.id : "",
    ping_interval_ms: time(said.ping_interval_ms),
    ping_timeout_ms: time(said.ping_timeout_ms),
    limits: typeof said.limits === "object" && said.limits !== null
      ? said.limits : {},
  };
}

function returnTime(data: unknown): number | undefined {
  const { retry_after_ms: ms } = Object(data) as { retry_after_ms?: unknown };
  return typeof ms === "number" && ms >= 0
    ? Math.min(ms, RETURN_MAX_MS) : undefined;
}

/** One dial, and what comes of it. */
interface Session {
  /** The transport has ended after our goodbye. */
  onEnd: () => void;
}

export class Connection {
  #state: State = { name: "idle" };
  /** The dial or connection of now; whatever is not it, is old. */
  #session: Session | null = null;
  #transport: Transport | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  /** What the server's goodbye said; undefined without one. */
  #returnMs: number | undefined;
  /** What the server's welcome said; undefined before. */
  id: string | undefined;
  #dialledAt = 0;
  dialCount = 0;
  #wakeOff: (() => void) | null = null;
  readonly #goodbyes = new Set<Promise<void>>();
  openedCount = 0;
  openedAt: number | undefined;
  connectMs: number | undefined;

  readonly #heartbeat = new Heartbeat({
    ping: () => this.#owner.ping(),
    silent: () => this.drop(localError(
      "server_silent", "The server gave no sign of life")),
    isHidden,
  });

  readonly #address: Address;
  readonly #dialers: Dialers;
  readonly #owner: ConnectionOwner;

  constructor(address: Address, dialers: Dialers, owner: ConnectionOwner) {
    this.#address = address;
    this.#dialers = dialers;
    this.#owner = owner;
  }

  get state(): State {
    return this.#state;
  }

  get isOpen(): boolean {
    return this.#state.name === "open" && this.#session !== null;
  }

  /** Open, or about to be: the server listens. */
  get canSpeak(): boolean {
    return this.id !== undefined;
  }

  get bufferedBytes(): number {
    return this.#transport?.bufferedBytes ?? 0;
  }

  /** Does nothing while it is connecting or open. */
  open(): void {
    if (this.#session === null) {
      this.#wakeOff ??= onWake(() => this.probe());
      void this.#dial();
    }
  }

  /** Only while it can speak. A transport that throws has ended. */
  send(packet: Packet): boolean {
    try {
      this.#transport!.send(packet);
      return true;
    } catch (cause) {
      this.drop(localError("connection_lost", "The connection broke", cause));
      return false;
    }
  }

  /**
   * How the transport pings by itself, for codecs that have no words for it,
   * which are those without a welcome; undefined: not.
   */
  get ping(): ((done: () => void) => void) | undefined {
    const transport = this.#transport;
    return this.#owner.options.codec!.welcome && transport?.ping?.bind(transport);
  }

  /** Looks after the connection now rather than in time. */
  probe(): void {
    if (this.#state.name === "waiting") {
      if (!isOffline()) {
        this.open();
      }
    } else if (this.isOpen && this.#owner.options.heartbeat !== false) {
      this.#heartbeat.probe();
    }
  }

  /** Ends for good, with a goodbye if there is somebody to say it to. */
  close(code: number, reason: string): void {
    if (this.#state.name !== "closed") {
      const transport = this.#transport;
      const session = this.#session;
      const wasOpen = this.isOpen;
      this.#end(code, localError("closed", reason), true);
      if (wasOpen) {
        this.#sayGoodbye(session!, transport!, code, reason);
      } else {
        transport?.abort();
      }
    }
  }

  /** Ends this connection at once; the next dial follows. */
  drop(why: PealError): void {
    this.#transport?.abort();
    this.#lose({ code: 1006, reason: why.message }, why);
  }

  /** When all goodbyes have been said. */
  async settled(): Promise<void> {
    await Promise.all(this.#goodbyes);
  }

  #sayGoodbye(
    session: Session, transport: Transport, code: number, reason: string,
  ): void {
    const said = new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        transport.abort();
        resolve();
      }, CLOSE_TIMEOUT_MS);
      session.onEnd = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#goodbyes.add(said);
    void said.then(() => this.#goodbyes.delete(said));
    transport.close(code, reason);
  }

  #set(state: State): void {
    const from = this.#state;
    this.#state = state;
    this.#owner.state(state, from);
  }

  async #dial(): Promise<void> {
    const session: Session = { onEnd: () => {} };
    const attempt = this.#failures + 1;
    const { options } = this.#owner;
    const timeoutMs = options.connectTimeout ?? CONNECT_TIMEOUT_MS;
    this.#session = session;
    this.#returnMs = undefined;
    this.dialCount++;
    this.#dialledAt = Date.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const isMute = this.#transport !== null && !this.canSpeak;
      this.drop(isMute
        ? localError("no_welcome", `No welcome within ${timeoutMs} ms`)
        : localError("dial_failed", `Not open within ${timeoutMs} ms`));
    }, timeoutMs);
    this.#set({ name: "connecting", attempt });
    try {
      const url = await withToken(await makeUrl(this.#address), options, {
        reason: this.openedCount > 0 ? "reconnect" : "connect", attempt,
      });
      if (this.#session === session) {
        this.#transport = this.#start(url, session);
      }
    } catch (error) {
      if (this.#session === session) {
        this.#lose({ code: 1006, reason: "" }, error instanceof PealError
          ? error : localError("dial_failed", String(error), error));
      }
    }
  }

  #start(url: string, session: Session): Transport {
    const scheme = url.slice(0, url.indexOf(":") + 1);
    const dial = this.#dialers[scheme];
    if (dial === undefined) {
      throw localError("bad_option", `Cannot dial ${scheme} from here`);
    }
    const { options } = this.#owner;
    const codec = options.codec!;
    codec.start?.();
    const isCurrent = () => this.#session === session;
    const sink: TransportSink = {
      onOpen: () => {
        if (isCurrent() && codec.welcome !== undefined) {
          this.#receive(codec.welcome);
        }
      },
      onEnvelope: (envelope) => isCurrent() && this.#receive(envelope),
      onInvalid: (error) => {
        if (isCurrent()) {
          this.#heartbeat.heard();
          this.#owner.invalid(error);
        }
      },
      onHeard: () => isCurrent() && this.#heartbeat.heard(),
      onClose: (info) => {
        if (isCurrent()) {
          this.#lose(info, this.isOpen
            ? localError("connection_lost", describe(info))
            : localError("dial_failed", describe(info)));
        } else {
          session.onEnd();
        }
      },
    };
    return dial({
      url, codec,
      protocols: options.protocols ?? [],
      headers: options.headers ?? {},
      tls: options.tls ?? {},
      acceptAnyKey: options.acceptAnyKey ?? false,
      messageBytesMax: options.messageBytesMax ?? MESSAGE_BYTES_MAX,
      WebSocket: options.WebSocket,
    }, sink);
  }

  #receive(envelope: Envelope): void {
    if (this.canSpeak) {
      this.#heartbeat.heard();
      if (envelope.event === "peal:goodbye") {
        this.#returnMs = returnTime(envelope.data);
      } else {
        this.#owner.message(envelope);
      }
    } else if (envelope.event === "peal:welcome") {
      const welcome = readWelcome(envelope.data);
      this.id = welcome.id;
      void this.#prepare(welcome);
    }
  }

  async #prepare(welcome: Welcome): Promise<void> {
    const session = this.#session;
    const prepared = this.#owner.prepare();
    if (prepared !== null) {
      try {
        await prepared;
      } catch (error) {
        if (this.#session === session) {
          this.drop(error instanceof PealError ? error
            : localError("dial_failed", "It could not be prepared", error));
        }
        return;
      }
    }
    if (this.#session === session) {
      this.#welcome(welcome);
    }
  }

  #welcome(welcome: Welcome): void {
    const { heartbeat } = this.#owner.options;
    clearTimeout(this.#timer);
    this.openedAt = Date.now();
    this.connectMs = this.openedAt - this.#dialledAt;
    this.openedCount++;
    if (heartbeat !== false) {
      this.#heartbeat.start(
        heartbeat?.interval ?? welcome.ping_interval_ms,
        heartbeat?.timeout ?? welcome.ping_timeout_ms);
    }
    const session = this.#session;
    this.#state = { name: "open", id: welcome.id,
      reopened: this.openedCount > 1 };
    this.#owner.opened(welcome);
    /* Whoever was told first may have closed it. */
    if (this.#session === session) {
      this.#owner.state(this.#state, { name: "connecting",
        attempt: this.#failures + 1 });
    }
  }

  #lose(info: CloseInfo, why: PealError): void {
    if (this.#session === null) {
      return;
    }
    const before = this.#state;
    const wasOpen = this.isOpen;
    const wasGreeted = this.canSpeak;
    const { reconnect } = this.#owner.options;
    this.#release();
    if (wasOpen && Date.now() - this.openedAt! >= STABLE_MS) {
      this.#failures = 0;
    }
    this.#failures++;
    const wants = reconnect === false ? null : reconnect ?? {};
    const after = wants?.after ?? ((code) => !isForGood(code));
    const isFinal = !why.temporary || !after(info.code, info.reason);
    if (isFinal || wants === null ||
        this.#failures > (wants.attempts ?? Infinity)) {
      this.#end(info.code, why, isFinal);
    } else {
      if (wasGreeted) {
        this.#owner.lost(why);
      }
      /* Whoever was told may have closed it, or dialled. */
      if (this.#session === null && this.#state === before) {
        this.#wait(this.#delay(wants, why, info), why);
      }
    }
  }

  #delay(
    wants: Partial<ReconnectOptions>, why: PealError, info: CloseInfo,
  ): number {
    const own = wants.delay?.(this.#failures, why);
    if (typeof own === "number" && own >= 0) {
      return own;
    }
    /* A goodbye's time is for us alone, and so random enough. */
    const jitter = this.#returnMs !== undefined && this.#failures === 1
      ? 0 : backoffDelay({ ...defaultBackoff, ...wants }, this.#failures);
    return (info.retryAfterMs ?? 0) + Math.max(this.#returnMs ?? 0, jitter);
  }

  #wait(delayMs: number, why: PealError): void {
    this.#timer = setTimeout(() => this.open(), Math.min(delayMs, TIMER_MAX));
    this.#set({ name: "waiting", retryAt: Date.now() + delayMs,
      attempt: this.#failures, why });
  }

  #release(): void {
    this.#session = null;
    this.#transport = null;
    this.id = undefined;
    this.#heartbeat.stop();
    clearTimeout(this.#timer);
  }

  #end(code: number, why: PealError, final: boolean): void {
    this.#release();
    this.#failures = 0;
    this.#wakeOff?.();
    this.#wakeOff = null;
    this.#set({ name: "closed", code, why, final });
    this.#owner.closed(why);
  }
}

function describe({ code, reason }: CloseInfo): string {
  return reason === "" ? `The connection ended with code ${code}`
    : `The connection ended with code ${code}: ${reason}`;
}
