/**
 * A server of the peal dialect inside the test: no sockets, no ports, no waits.
 *
 *     import { FakeServer } from "peal/testing";
 *
 *     const server = new FakeServer();
 *     const rt = connect("ws://fake", { WebSocket: server.WebSocket });
 *     server.answer("sum", ({ a, b }) => a + b);
 *     const peer = await server.accept();
 *     peer.emit("news", { text: "hello" });
 */
import { asData, pealCodec, type Envelope, type Id, type Packet }
  from "./codec.js";
import { PealError, localError, serverError, type Failure } from "./errors.js";
import type { WebSocketConstructor, WebSocketLike } from "./transport.js";

export interface FakeServerOptions {
  pingIntervalMs?: number;
  pingTimeoutMs?: number;
  messageBytes?: number;
}

/** What a client of the server asked: data, and the peer that asks. */
export type FakeAnswer = (data: any, peer: FakePeer) => unknown;

/** The server's side of one connection. */
export class FakePeer {
  readonly id: string;
  readonly url: string;
  readonly rooms = new Set<string>();
  /** All events that this client sent, in order. */
  readonly received: Envelope[] = [];
  isOpen = true;
  readonly #server: FakeServer;
  readonly #socket: FakeSocket;
  readonly #asked = new Map<Id, {
    resolve(value: unknown): void; reject(error: PealError): void;
  }>();
  readonly #waiters: { event: string; resolve(found: Envelope): void }[] = [];
  #lastId = 0;

  /** @internal */
  constructor(server: FakeServer, socket: FakeSocket, url: string, id: string) {
    this.#server = server;
    this.#socket = socket;
    this.url = url;
    this.id = id;
  }

  emit(event: string, data?: unknown, room?: string): void {
    this.send({ event, room, data: asData(data) });
  }

  /** Asks the client. */
  request(event: string, data?: unknown): Promise<any> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.send({ event, id, data: asData(data) });
    });
  }

  /** The next event of this name that comes, or that came unnoticed. */
  next(event: string): Promise<Envelope> {
    const index = this.received.findIndex((one) => one.event === event);
    if (index >= 0) {
      return Promise.resolve(this.received.splice(index, 1)[0]!);
    }
    return new Promise((resolve) => this.#waiters.push({ event, resolve }));
  }

  /** Any envelope at all. */
  send(envelope: Envelope): void {
    this.sendPacket(pealCodec.encode(envelope));
  }

  /** Anything at all, for tests of what is no envelope. */
  sendPacket(packet: Packet): void {
    if (this.isOpen) {
      this.#socket.deliver(packet);
    }
  }

  /** Ends the connection; code 1006 is one that broke. */
  close(code = 1000, reason = ""): void {
    if (this.isOpen) {
      this.isOpen = false;
      this.#server.peers.delete(this);
      for (const { reject } of this.#asked.values()) {
        reject(localError("connection_lost", "The client has gone"));
      }
      this.#socket.ended(code, reason);
    }
  }

  /** @internal */
  async receive(packet: Packet): Promise<void> {
    const envelope = pealCodec.decode(packet)!;
    const { event, id, data } = envelope;
    const asked = id === undefined ? undefined : this.#asked.get(id);
    if (event === "peal:answer") {
      asked?.resolve(data);
    } else if (event === "peal:fail") {
      asked?.reject(serverError(data));
    } else {
      await this.#take(envelope);
      return;
    }
    this.#asked.delete(id!);
  }

  async #take(envelope: Envelope): Promise<void> {
    let reply: Envelope;
    try {
      const data = await this.#server.handle(this, envelope);
      reply = { event: "peal:ok", id: envelope.id, data: asData(data) };
    } catch (error) {
      const failure: Failure = error instanceof PealError ? error.toJSON()
        : { code: 107, name: "internal", message: String(error) };
      reply = { event: "peal:error", id: envelope.id, data: failure };
    }
    if (envelope.id !== undefined) {
      this.send(reply);
    }
  }

  /** @internal */
  note(envelope: Envelope): void {
    const index = this.#waiters.findIndex(
      ({ event }) => event === envelope.event);
    if (index >= 0) {
      this.#waiters.splice(index, 1)[0]!.resolve(envelope);
    } else {
      this.received.push(envelope);
    }
  }
}

class FakeSocket implements WebSocketLike {
  binaryType = "arraybuffer";
  readonly bufferedAmount = 0;
  onopen: WebSocketLike["onopen"] = null;
  onmessage: WebSocketLike["onmessage"] = null;
  onclose: WebSocketLike["onclose"] = null;
  onerror: WebSocketLike["onerror"] = null;
  readonly #server: FakeServer;
  #peer: FakePeer | null = null;
  #hasEnded = false;

  constructor(server: FakeServer, url: string) {
    this.#server = server;
    queueMicrotask(() => {
      if (this.#hasEnded) {
        return;
      }
      if (server.isDown) {
        this.ended(1006, "");
        return;
      }
      this.onopen?.({});
      this.#peer = server.enter(this, url);
    });
  }

  send(packet: Packet): void {
    const peer = this.#peer;
    if (peer?.isOpen && !this.#server.isSilent) {
      queueMicrotask(() => void peer.receive(packet));
    }
  }

  close(code = 1005, reason = ""): void {
    if (this.#peer?.isOpen) {
      this.#peer.close(code, reason);
    } else {
      this.ended(1006, "");
    }
  }

  deliver(packet: Packet): void {
    const data = typeof packet === "string" ? packet : packet.slice().buffer;
    queueMicrotask(() => this.#hasEnded || this.onmessage?.({ data }));
  }

  ended(code: number, reason: string): void {
    if (!this.#hasEnded) {
      queueMicrotask(() => {
        this.#hasEnded = true;
        this.onclose?.({ code, reason, wasClean: code !== 1006 });
      });
    }
  }
}

export class FakeServer {
  /** Give this to `connect`. */
  readonly WebSocket: WebSocketConstructor;
  readonly peers = new Set<FakePeer>();
  /** While true, nobody can connect. */
  isDown = false;
  /** While true, whatever clients send is lost, as by a dead host. */
  isSilent = false;
  /** Whether a client may be in a room; throw a PealError to say no. */
  onJoin: (room: string, peer: FakePeer) => void = () => {};
  /** The dials so far. */
  dials = 0;
  readonly #options: Required<FakeServerOptions>;
  readonly #answers = new Map<string, FakeAnswer>();
  readonly #accepted: FakePeer[] = [];
  readonly #acceptors: ((peer: FakePeer) => void)[] = [];

  constructor(options: FakeServerOptions = {}) {
    const server = this;
    this.#options = { pingIntervalMs: 25_000, pingTimeoutMs: 20_000,
      messageBytes: 1024 * 1024, ...options };
    this.WebSocket = class extends FakeSocket {
      constructor(url: string) {
        server.dials++;
        super(server, url);
      }
    };
  }

  /** The next client that connects, or that nobody has asked for yet. */
  accept(): Promise<FakePeer> {
    const peer = this.#accepted.shift();
    return peer !== undefined ? Promise.resolve(peer)
      : new Promise((resolve) => this.#acceptors.push(resolve));
  }

  /** Answers requests of this name; what `fn` throws refuses them. */
  answer(name: string, fn: FakeAnswer): void {
    this.#answers.set(name, fn);
  }

  /** To all members of a room. */
  publish(room: string, event: string, data?: unknown, but?: FakePeer): void {
    for (const peer of this.peers) {
      if (peer !== but && peer.rooms.has(room)) {
        peer.emit(event, data, room);
      }
    }
  }

  /** Ends all connections; `returnMs`: and tells when to come back. */
  closeAll(code = 1006, reason = "", returnMs?: number): void {
    for (const peer of [...this.peers]) {
      if (returnMs !== undefined) {
        peer.emit("peal:goodbye", { code, reason, retry_after_ms: returnMs });
      }
      peer.close(code, reason);
    }
  }

  /** @internal */
  enter(socket: FakeSocket, url: string): FakePeer {
    const { pingIntervalMs, pingTimeoutMs, messageBytes } = this.#options;
    const peer = new FakePeer(this, socket, url, `fake-${this.dials}`);
    this.peers.add(peer);
    peer.emit("peal:welcome", {
      id: peer.id, protocol: 1, ping_interval_ms: pingIntervalMs,
      ping_timeout_ms: pingTimeoutMs,
      limits: { message_bytes: messageBytes, rooms: 100 },
    });
    const acceptor = this.#acceptors.shift();
    acceptor ? acceptor(peer) : this.#accepted.push(peer);
    return peer;
  }

  /** @internal */
  handle(peer: FakePeer, envelope: Envelope): unknown {
    const { event, room, id, data } = envelope;
    const wanted = (data as { room: string } | undefined)?.room ?? "";
    switch (event) {
      case "peal:ping":
        return data;
      case "peal:join":
        this.onJoin(wanted, peer);
        peer.rooms.add(wanted);
        return undefined;
      case "peal:leave":
        peer.rooms.delete(wanted);
        return undefined;
    }
    const answer = this.#answers.get(event);
    if (answer !== undefined && id !== undefined) {
      return answer(data, peer);
    }
    peer.note(envelope);
    if (room !== undefined) {
      this.publish(room, event, data, peer);
    }
    return undefined;
  }
}
