/** TLS with its checks, and unix sockets: by a relay to the real server. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as dial, createServer, type AddressInfo, type Server,
  type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";

import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";

import { connect, reached } from "./support/client.js";
import { startServer } from "./support/server.js";

let folder = "";
let cert = "";
let key = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "peal-tls-"));
  const [keyFile, certFile] = [join(folder, "key"), join(folder, "cert")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", keyFile, "-out",
    certFile, "-subj", "/CN=localhost", "-addext",
    "subjectAltName=DNS:localhost"], { stdio: "ignore" });
  key = readFileSync(keyFile, "utf8");
  cert = readFileSync(certFile, "utf8");
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Bytes that came out of TLS, and where to dial. */
async function relay(
  make: (each: (socket: Socket) => void) => Server, to: string,
  where: object = { port: 0, host: "127.0.0.1" },
): Promise<{ server: Server; received: () => number }> {
  const sockets = new Set<Socket>();
  let received = 0;
  const server = make((socket) => {
    const inner = dial({ port: Number(to), host: "127.0.0.1" });
    sockets.add(socket).add(inner);
    socket.on("data", (bytes) => { received += bytes.length; });
    socket.on("error", () => inner.destroy());
    inner.on("error", () => socket.destroy());
    socket.pipe(inner).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(where, resolve));
  onTestFinished(() => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  });
  return { server, received: () => received };
}

const portOf = (server: Server) => (server.address() as AddressInfo).port;

it.each([["wss", "wsPort"], ["tls", "tcpPort"]] as const)(
  "%s works with the authority it was given, and only then",
  async (scheme, port) => {
    const real = await startServer();
    const { server, received } = await relay(
      (each) => createTlsServer({ key, cert }, each), real[port]);
    const url = `${scheme}://localhost:${portOf(server)}`;
    const stranger = connect(url, { reconnect: false });
    stranger.emit("echo", "secret");
    expect(await reached(stranger, "closed")).toMatchObject({
      why: { name: "dial_failed",
        message: expect.stringContaining("self-signed") },
    });
    const misnamed = connect(url.replace("localhost", "127.0.0.1"),
      { reconnect: false, tls: { ca: cert } });
    expect(await reached(misnamed, "closed"))
      .toMatchObject({ why: { name: "dial_failed" } });
    expect(received()).toBe(0);
    const friend = connect(url, { tls: { ca: cert } });
    expect(await friend.request("sum", { a: 1, b: 2 })).toEqual({ sum: 3 });
  });

it("unix works", async () => {
  const real = await startServer();
  const path = join(folder, "socket");
  await relay(createServer, real.tcpPort, { path });
  const rt = connect(`unix:${path}`);
  expect(await rt.request("sum", { a: 1, b: 2 })).toEqual({ sum: 3 });
});
