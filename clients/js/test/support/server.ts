/** Real servers as child processes; all end with the test that started them. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { onTestFinished } from "vitest";

export interface Server {
  ws: string;
  tcp: string;
  wsPort: string;
  tcpPort: string;
  lines: string[];
  /** Stops it in its tracks; it can still be ended. */
  pause(): void;
  /** Ends it with a signal and waits for that. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

export interface ServerOptions {
  program?: string;
  args?: string[];
  env?: Record<string, string>;
  /** End it by hand. */
  keep?: boolean;
}

export function exampleProgram(name: string): string {
  const path = join(process.env.PEAL_EXAMPLES!, name);
  return existsSync(path) ? path : "";
}

async function ready(child: ChildProcess, lines: string[]): Promise<string> {
  const reader = createInterface({ input: child.stdout! });
  return new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`It ended with ${code}`)));
    child.once("error", reject);
    reader.on("line", (line) => {
      if (line.startsWith("ready ")) {
        resolve(line);
      } else {
        lines.push(line);
      }
    });
  });
}

export async function startServer(
  { program, args, env, keep }: ServerOptions = {},
): Promise<Server> {
  const lines: string[] = [];
  const child = spawn(program ?? process.env.PEAL_JS_SERVER!,
    args ?? ["--port", "0", "--tcp-port", "0"],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } });
  const exited = once(child, "exit");
  exited.catch(() => {});
  const end = async (signal: NodeJS.Signals = "SIGTERM") => {
    child.kill(signal);
    await exited;
  };
  if (!keep) {
    onTestFinished(() => end("SIGKILL"));
  }
  const line = await ready(child, lines);
  const [, ws = "", tcp = ""] = /ws=(\S+)(?: tcp=(\S+))?/.exec(line)!;
  const port = (address: string) => address.replace(/^.*:/, "");
  return {
    ws: `ws://${ws}`, tcp: `tcp://${tcp}`, wsPort: port(ws),
    tcpPort: port(tcp), lines, end, pause: () => void child.kill("SIGSTOP"),
  };
}

/** One more at the place of an earlier one. */
export function startAgain(
  { wsPort, tcpPort }: Server, options: ServerOptions = {},
): Promise<Server> {
  return startServer(
    { ...options, args: ["--port", wsPort, "--tcp-port", tcpPort] });
}
