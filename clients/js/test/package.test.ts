/** What is published: sizes, entries, and the program of the README. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync,
  writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { gzipSync } from "node:zlib";

import { describe, expect, it, onTestFinished } from "vitest";

import { exampleProgram, startServer } from "./support/server.js";

const root = join(import.meta.dirname, "..");
const read = (name: string) => readFileSync(join(root, name), "utf8");

/** A folder in which "peal" is installed. */
function project(): string {
  const folder = mkdtempSync(join(tmpdir(), "peal-user-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules/peal"));
  return folder;
}

it.each(["peal.min.js", "peal.esm.min.js"])(
  "%s is below 10 KB compressed and has nothing of Node", (name) => {
    const text = read(join("dist", name));
    expect(gzipSync(text, { level: 9 }).length).toBeLessThan(10_000);
    expect(text).not.toMatch(/require\(|node:/);
  });

it("is what the C library serves", () => {
  const built = read("dist/peal.min.js").replace(/^\/\/# source.*\n/m, "");
  const { version } = JSON.parse(read("package.json"));
  expect(read("bundle/peal.js") === built, "out of date: npm run bundle")
    .toBe(true);
  expect(built.split("\n")[0]).toBe(`/* peal ${version} */`);
  for (const part of ["MAJOR", "MINOR", "PATCH"].entries()) {
    expect(read("../../include/peal/peal.h")).toContain(
      `#define PEAL_VERSION_${part[1]} ${version.split(".")[part[0]]}\n`);
  }
});

it("needs nothing else", () => {
  const manifest = JSON.parse(read("package.json"));
  expect(manifest.dependencies).toBeUndefined();
  expect(manifest.private).toBeUndefined();
  expect(read("package-lock.json")).not.toContain('"resolved"');
});

describe.each([
  ["import", "mjs", (name: string) => `await import("${name}")`],
  ["require", "cjs", (name: string) => `require("${name}")`],
])("by %s", (_, extension, load) => {
  it("has its entries", () => {
    const folder = project();
    const program = join(folder, `program.${extension}`);
    writeFileSync(program, `
      const { connect, PealError } = ${load("peal")};
      const stelar = ${load("peal/stelar")};
      const { FakeServer } = ${load("peal/testing")};
      console.log(typeof connect, typeof PealError,
        typeof stelar.default, typeof stelar.StelarClient,
        typeof FakeServer);`);
    expect(execFileSync(process.execPath, [program], { encoding: "utf8" }))
      .toBe("function function function function function\n");
  });
});

it("has types for both", () => {
  const folder = project();
  const text = `import { connect, type State } from "peal";
    import StelarClient from "peal/stelar";
    import { FakeServer } from "peal/testing";
    const rt = connect<{ news: { text: string } }>("ws://h");
    rt.on("news", ({ text }) => text.length);
    export const state: State = rt.state;
    export const made = [new FakeServer(), new StelarClient(3000)];\n`;
  writeFileSync(join(folder, "a.mts"), text);
  writeFileSync(join(folder, "b.cts"), text.replace(
    'import StelarClient from', 'import { StelarClient } from'));
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({
    compilerOptions: { strict: true, module: "NodeNext", noEmit: true,
      target: "ES2022", lib: ["ES2022", "ESNext.Disposable", "DOM"],
      types: [] },
    files: ["a.mts", "b.cts"],
  }));
  execFileSync(process.execPath,
    [join(root, "node_modules/typescript/bin/tsc"), "-p", folder],
    { stdio: "inherit" });
});

describe("the README", () => {
  const readme = read("README.md");

  it("explains each error of this client", () => {
    const names = [...read("src/errors.ts").matchAll(
      /^  (\w+): \[(\d+), (true|false)\]/gm)];
    expect(names.length).toBeGreaterThan(15);
    for (const [, name, code, temporary] of names) {
      expect(readme).toContain(`| ${code} | <a id="error-${name}"></a>` +
        `\`${name}\` | ${temporary === "true" ? "yes" : "no"} |`);
    }
  });

  it("has a program that works as it stands", async () => {
    const [, program = ""] = /```js\n(.*?)```/s.exec(readme)!;
    expect(program.trim().split("\n").length).toBeLessThanOrEqual(22);
    const server = await startServer({ program: exampleProgram("chat") });
    const folder = project();
    writeFileSync(join(folder, "chat.mjs"), program);
    const start = async (url: string) => {
      const child = spawn(process.execPath, [join(folder, "chat.mjs"), url],
        { stdio: ["pipe", "pipe", "inherit"] });
      const lines = createInterface({ input: child.stdout })
        [Symbol.asyncIterator]();
      onTestFinished(() => void child.kill("SIGKILL"));
      const line = async () => (await lines.next()).value as string;
      expect(await line()).toBe("(open)");
      return { child, line };
    };
    const one = await start(server.ws);
    const two = await start(server.tcp);
    one.child.stdin.write("hello\n");
    expect(await two.line()).toBe("> hello");
    const exits = [once(one.child, "exit"), once(two.child, "exit")];
    two.child.stdin.end("bye\n");
    expect(await one.line()).toBe("> bye");
    one.child.stdin.end();
    expect(await Promise.all(exits)).toEqual([[0, null], [0, null]]);
  });
});
