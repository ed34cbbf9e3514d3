// A client of the peal dialect over WebSocket, as small as it can be:
//
//     const client = new Client("ws://127.0.0.1:8080/live");
//
//     client.onState((state) => console.log(state.name));
//     client.on("said", (data, room) => console.log(data.text));
//     const answer = await client.request("time");
//
// Data is JSON, or bytes as a Uint8Array. docs/protocol.md has the wire.

const RETRY_FIRST_MS = 400;
const RETRY_MAX_MS = 10_000;
const REQUEST_TIMEOUT_MS = 10_000;

// An answer that says no. `temporary`: the same may work later. Codes come from
// the server; failures without one were noticed here.
export class Failure extends Error {
  constructor({ code = 0, name, message, temporary = false }) {
    super(message);
    this.code = code;
    this.name = name;
    this.temporary = temporary;
  }
}

export class Client {
  #url;
  #socket;
  #listeners = new Map();
  #stateListeners = [];
  #waiting = new Map(); // requests by id
  #lastId = 0;
  #attempts = 0;
  #timer;

  // One of:
  //   connecting
  //   open     id: our own; bytesMax: the largest message the server takes
  //   waiting  retryMs: until the next attempt
  //   closed   by close()
  state = { name: "closed" };

  constructor(url) {
    this.#url = url;
    // Whoever made this gets to add listeners before the first state.
    queueMicrotask(() => this.open());
  }

  // --- For the application

  // listener(data, room), where room is undefined outside of rooms.
  on(event, listener) {
    this.#listeners.set(event, listener);
  }

  onState(listener) {
    this.#stateListeners.push(listener);
  }

  emit(event, data) {
    this.#send({ event }, data);
  }

  // Resolves to the answer's data; rejects with a Failure. Always does one.
  request(event, data) {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const timer = setTimeout(() => {
        this.#settle(id)?.reject(
          new Failure({
            name: "timeout",
            message: "No answer came in time",
            temporary: true,
          }),
        );
      }, REQUEST_TIMEOUT_MS);

      this.#waiting.set(id, { resolve, reject, timer });
      try {
        this.#send({ event, id }, data);
      } catch (failure) {
        this.#settle(id).reject(failure);
      }
    });
  }

  open() {
    if (this.state.name === "closed") {
      this.#connect();
    }
  }

  // Ends it for good, unless open() is called.
  close() {
    clearTimeout(this.#timer);
    this.#setState({ name: "closed" });
    this.#socket?.close(1000);
  }

  // Loses the connection, to see what happens.
  drop() {
    this.#socket?.close(4000, "dropped on purpose");
  }

  // --- The connection

  #connect() {
    const socket = new WebSocket(this.#url, "peal");

    this.#socket = socket;
    this.#setState({ name: "connecting" });
    socket.binaryType = "arraybuffer";
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = () => {
      if (this.#socket === socket) {
        this.#lost();
      }
    };
  }

  #lost() {
    this.#socket = undefined;
    for (const id of [...this.#waiting.keys()]) {
      this.#settle(id).reject(
        new Failure({
          name: "gone",
          message: "The connection was lost before the answer came",
          temporary: true,
        }),
      );
    }
    if (this.state.name !== "closed") {
      this.#retry();
    }
  }

  // Full jitter: a random part of a span that doubles. A server that comes back
  // is not met by all of its clients at once.
  #retry() {
    const span = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#attempts);
    const retryMs = Math.random() * span;

    this.#attempts += 1;
    this.#timer = setTimeout(() => this.#connect(), retryMs);
    this.#setState({ name: "waiting", retryMs });
  }

  #setState(state) {
    this.state = state;
    for (const listener of this.#stateListeners) {
      listener(state);
    }
  }

  // --- Messages

  #send(envelope, data) {
    if (this.#socket?.readyState !== WebSocket.OPEN) {
      throw new Failure({
        name: "offline",
        message: "There is no connection now",
        temporary: true,
      });
    }
    if (data instanceof Uint8Array) {
      const message = packBytes(envelope, data);

      if (message.length > (this.state.bytesMax ?? Infinity)) {
        throw new Failure({
          name: "too_large",
          message: `The server takes ${this.state.bytesMax} bytes at once`,
        });
      }
      this.#socket.send(message);
    } else {
      this.#socket.send(JSON.stringify({ ...envelope, data }));
    }
  }

  #receive(message) {
    const { event, id, room, data } =
      typeof message === "string" ? JSON.parse(message) : unpackBytes(message);

    switch (event) {
      case "peal:welcome":
        this.#attempts = 0;
        this.#setState({
          name: "open",
          id: data.id,
          bytesMax: data.limits.message_bytes,
        });
        break;
      case "peal:ok":
        this.#settle(id)?.resolve(data);
        break;
      case "peal:error":
        this.#settle(id)?.reject(new Failure(data));
        break;
      default:
        this.#listeners.get(event)?.(data, room);
    }
  }

  // Takes out the request that waits under this id.
  #settle(id) {
    const request = this.#waiting.get(id);

    clearTimeout(request?.timer);
    this.#waiting.delete(id);
    return request;
  }
}

// u32 size of the header | header | bytes
function packBytes(envelope, bytes) {
  const header = new TextEncoder().encode(JSON.stringify(envelope));
  const message = new Uint8Array(4 + header.length + bytes.length);

  new DataView(message.buffer).setUint32(0, header.length);
  message.set(header, 4);
  message.set(bytes, 4 + header.length);
  return message;
}

function unpackBytes(buffer) {
  const size = new DataView(buffer).getUint32(0);
  const header = new TextDecoder().decode(new Uint8Array(buffer, 4, size));

  return { ...JSON.parse(header), data: new Uint8Array(buffer, 4 + size) };
}
