// One client with all that is seen of it.

const { connect } = globalThis.peal; // of the script peal.js

const ENTRIES_MAX = 200;

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

function sizeOf(bytes) {
  return bytes < 1024 ? `${bytes} B` : `${Math.round(bytes / 1024)} KB`;
}

function badge(via) {
  return make("span", `badge ${via}`, via);
}

function ackTime(ms) {
  return make("small", "answered", `✓ ${ms.toFixed(1)} ms`);
}

export class Pane {
  onAbout = () => {};
  onRoom = () => {};

  #client;
  #socket; // of now, to lose it on purpose
  #parts = {};
  #members = new Map(); // by client id
  #version = 0; // of the list of members
  #listed; // the room that it is about
  #name;
  #entering; // the room that was asked for last
  #unanswered = []; // own messages whose answer has not come yet
  #times = []; // of answers that came before their message
  #countdown;
  #follows = true; // whether the end of the log is kept in sight

  constructor({ name, room, label }) {
    const template = document.getElementById("pane");

    this.room = room;
    this.#name = name;
    this.element = template.content.cloneNode(true).firstElementChild;
    this.element.setAttribute("aria-label", label);
    for (const part of this.element.querySelectorAll("[class]")) {
      this.#parts[part.classList[0]] = part;
    }
    this.#parts.place.elements.name.value = name;
    this.#parts.place.elements.room.value = room;
    this.#client = this.#connect();
    this.#listenToServer();
    this.#listenToUser();
  }

  #connect() {
    const remember = (socket) => (this.#socket = socket);

    return connect("live", {
      protocols: ["peal"],
      reconnect: { min: 400, max: 10_000 },
      timeout: 60_000,
      prepare: (first) => this.#begin(first),
      WebSocket: class extends WebSocket {
        constructor(...how) {
          super(...how);
          remember(this);
        }
      },
    });
  }

  #listenToServer() {
    const client = this.#client;

    client.watch("state", (state) => this.#showState(state));
    client.on("about", (about) => this.onAbout(about));
    client.on("members", (list, { room }) => this.#showMembers(list, room));
    client.on("said", (said) => this.#showSaid(said));
    client.on("image", (bytes) => this.#showSentImage(bytes));
    client.on("message", (data) => this.#showPublished(data));
  }

  #listenToUser() {
    const { place, say, pick, file, measure, drop } = this.#parts;

    place.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#enter(
        this.#client, place.elements.name.value, place.elements.room.value);
    });
    say.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say();
    });
    pick.addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      this.#sendImage(file.files[0]);
      file.value = "";
    });
    measure.addEventListener("click", () => this.#measure());
    drop.addEventListener("click", () => this.#socket.close(4000, "dropped"));
    this.#acceptDrops();
    this.#followLog();
  }

  // --- Asking the server

  // Asks and resolves to { data, took }, the answer and the ms it took. A
  // refusal is shown, and resolves to undefined.
  async #ask(send) {
    const { alert } = this.#parts;
    const start = performance.now();
    try {
      const data = await send();
      const took = performance.now() - start;
      alert.hidden = true;
      return { data, took };
    } catch (failure) {
      const code = failure.code ? ` (${failure.name}, ${failure.code})` : "";
      alert.textContent = `${failure.message}${code}`;
      alert.hidden = false;
      return undefined;
    }
  }

  // `whom` is the client, or what prepares a new connection.
  async #enter(whom, name, room) {
    this.#entering = room;
    if (await this.#ask(() => whom.request("enter", { name, room }))) {
      this.room = room;
      this.#name = name;
      this.onRoom(room);
      this.#note(`You are in ${room}`);
    }
  }

  async #say() {
    const input = this.#parts.say.elements.text;
    const text = input.value;

    input.value = "";
    if (this.#client.state.name !== "open") {
      this.#note("This is sent when the connection is back");
    }
    const answer = await this.#ask(() =>
      this.#client.request("say", { text }));
    if (answer) {
      this.#times.push(answer.took);
      this.#tieAnswers();
    } else {
      input.value ||= text;
    }
  }

  async #sendImage(file) {
    const answer = await this.#ask(() => this.#client.sendFile("image", file));

    if (answer) {
      const bytes = new Uint8Array(await file.arrayBuffer());
      this.#showImage(this.#name, bytes, "own").append(ackTime(answer.took));
    }
  }

  async #measure() {
    const answer = await this.#ask(() =>
      this.#client.request("time", undefined, { queue: false }));

    if (answer) {
      const time = new Date(answer.data.time_ms).toLocaleTimeString();
      const took = answer.took.toFixed(1);
      this.#parts.trip.textContent = `${time}, answered in ${took} ms`;
    }
  }

  // Comes back to where it was, also after a break, before what waits is sent.
  async #begin(first) {
    this.#version = 0;
    this.#listed = undefined;
    this.#members.clear();
    this.#unanswered = [];
    this.#times = [];
    await this.#enter(first, this.#name, this.room);
  }

  // --- Showing what it says

  #showState(state) {
    const texts = {
      connecting: "connecting",
      open: "connected",
      closed: "closed",
    };

    clearInterval(this.#countdown);
    this.element.dataset.state = state.name;
    if (state.name === "waiting") {
      this.#countDown(state.retryAt);
    } else {
      this.#parts["state-text"].textContent = texts[state.name];
    }
    if (state.name === "open") {
      this.#measure();
    } else if (state.name === "waiting" && this.#members.size > 0) {
      this.#members.clear();
      this.#listMembers(0);
      this.#note("The connection is lost");
    }
  }

  #countDown(untilMs) {
    const show = () => {
      const left = Math.max(0, untilMs - Date.now()) / 1000;
      this.#parts["state-text"].textContent = `again in ${left.toFixed(1)} s`;
    };

    show();
    this.#countdown = setInterval(show, 100);
  }

  #showMembers({ version, members, total }, room) {
    if (
      (room !== this.room && room !== this.#entering) ||
      version <= this.#version
    ) {
      return;
    }
    const before = this.#members;
    const isSameRoom = room === this.#listed;

    this.#version = version;
    this.#listed = room;
    this.#members = new Map(members.map((member) => [member.id, member]));
    this.#listMembers(total);
    if (isSameRoom) {
      this.#noteChanges(before);
    }
  }

  #noteChanges(before) {
    for (const [id, { name }] of this.#members) {
      if (!before.has(id)) {
        this.#note(`${name} joined`);
      } else if (before.get(id).name !== name) {
        this.#note(`${before.get(id).name} is now ${name}`);
      }
    }
    for (const [id, { name }] of before) {
      if (!this.#members.has(id)) {
        this.#note(`${name} left`);
      }
    }
  }

  #listMembers(total) {
    const items = [...this.#members.values()].map((member) => {
      const isSelf = member.id === this.#client.id;
      const name = make("span", "member-name", member.name);

      return make(
        "li",
        isSelf ? "self" : "",
        name,
        isSelf ? make("small", "", "you") : badge(member.via),
      );
    });

    if (total > items.length) {
      items.push(make("li", "", `and ${total - items.length} more`));
    }
    this.#parts.members.replaceChildren(...items);
    this.#parts.count.textContent = total;
  }

  #showSaid({ id, name, via, text, time_ms }) {
    const isOwn = id === this.#client.id;
    const time = new Date(time_ms).toLocaleTimeString([], {
      hour: "2-digit",
      minute: "2-digit",
    });
    const head = make("p", "said-head", make("b", "", name));

    if (via === "tcp") {
      head.append(badge(via));
    }
    head.append(make("small", "", time));
    const entry = make(
      "li",
      `said ${isOwn ? "own" : ""} ${via}`,
      head,
      make("p", "said-text", text),
    );
    this.#add(entry);
    if (isOwn) {
      this.#unanswered.push(head);
      this.#tieAnswers();
    }
  }

  // What a client has published by itself, such as `peal pub lobby hello`.
  #showPublished(data) {
    const text = typeof data === "string" ? data : JSON.stringify(data);

    this.#add(make("li", "said", make("p", "said-text", text ?? "")));
  }

  // Puts the times of answers beside the messages that they answer.
  #tieAnswers() {
    while (this.#unanswered.length > 0 && this.#times.length > 0) {
      this.#unanswered.shift().append(ackTime(this.#times.shift()));
    }
  }

  // u8 size of the sender's name | name | image
  #showSentImage(bytes) {
    const nameEnd = 1 + bytes[0];
    const name = new TextDecoder().decode(bytes.subarray(1, nameEnd));

    this.#showImage(name, bytes.subarray(nameEnd), "");
  }

  #showImage(name, bytes, className) {
    const image = make("img", "");
    const caption = `${sizeOf(bytes.length)} as bytes`;
    const head = make(
      "p",
      "said-head",
      make("b", "", name),
      make("small", "", caption),
    );

    image.alt = `Image from ${name}, ${caption}`;
    image.src = URL.createObjectURL(new Blob([bytes]));
    image.addEventListener("load", () => this.#scroll());
    image.addEventListener("error", () => {
      image.replaceWith(make("p", "said-text", "(not an image)"));
    });
    this.#add(make("li", `said picture ${className}`, head, image));
    return head;
  }

  #note(text) {
    this.#add(make("li", "note", text));
  }

  #add(entry) {
    const { log } = this.#parts;

    log.append(entry);
    while (log.childElementCount > ENTRIES_MAX) {
      const image = log.firstElementChild.querySelector("img");
      if (image) {
        URL.revokeObjectURL(image.src);
      }
      log.firstElementChild.remove();
    }
    this.#scroll();
  }

  // Whoever has scrolled up to read is left there.
  #followLog() {
    const { log } = this.#parts;

    log.addEventListener("scroll", () => {
      const below = log.scrollHeight - log.scrollTop - log.clientHeight;
      this.#follows = below < 40;
    });
    new ResizeObserver(() => this.#scroll()).observe(log);
  }

  #scroll() {
    if (this.#follows) {
      this.#parts.log.scrollTop = this.#parts.log.scrollHeight;
    }
  }

  #acceptDrops() {
    let depth = 0; // of nested elements that the pointer has entered
    const on = (type, action) => {
      this.element.addEventListener(type, (event) => {
        event.preventDefault();
        action(event);
        this.element.classList.toggle("dropping", depth > 0);
      });
    };

    on("dragenter", () => (depth += 1));
    on("dragleave", () => (depth -= 1));
    on("dragover", () => {});
    on("drop", (event) => {
      const [file] = event.dataTransfer.files;
      depth = 0;
      if (file) {
        this.#sendImage(file);
      }
    });
  }
}
