// Commands that take part from a terminal, as a service would.

const TCP_PORT = 8081; // the program's default

const encoder = new TextEncoder();

// One word for a shell.
function quote(word) {
  return /^[\w./:-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

export function sendCommand({ program, tcp_port }, room) {
  const port = tcp_port === TCP_PORT ? "" : ` --tcp-port ${tcp_port}`;

  return `${quote(program)} --send ${quote(room)} 'Hello over TCP'${port}`;
}

// u32 total length | u8 type 4, a request | u16 event length | event | payload,
// as printf reads it: numbers as octal bytes, the rest as text.
function frame(event, payload) {
  const json = JSON.stringify(payload);
  const total = 7 + event.length + encoder.encode(json).length;
  const bytes = [0, total >> 16, (total >> 8) & 255, total & 255];
  const octal = [...bytes, 4, 0, event.length].map((b) => `\\${b.toString(8)}`);
  const text = json.replaceAll("\\", "\\\\").replaceAll("%", "%%");

  return octal.join("") + event + text;
}

// bash opens the socket; it has to stay open until the answers are there.
export function frameCommand({ tcp_port }, room) {
  const frames =
    frame("enter", { id: 1, data: { room, name: "bash" } }) +
    frame("say", { id: 2, data: { text: "Hello by hand" } });
  const word = `'${frames.replaceAll("'", "'\\''")}'`;

  return `(printf ${word}; sleep 1) >/dev/tcp/127.0.0.1/${tcp_port}`;
}
