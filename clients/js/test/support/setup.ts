/** Builds the tests' own server against the library that CMake has built. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../../../..");

export default function setup(): () => void {
  const examples = resolve(
    process.env.PEAL_EXAMPLES ?? join(root, "build/release/examples"));
  const library = join(examples, "../libpeal.a");
  const directory = mkdtempSync(join(tmpdir(), "peal-js-"));
  const server = join(directory, "server");
  if (!existsSync(library)) {
    throw new Error(`There is no ${library}: build it, or set PEAL_EXAMPLES`);
  }
  const cache = readFileSync(join(examples, "../CMakeCache.txt"), "utf8");
  /* The headers that it was built with, which may be of another checkout. */
  const [, source = root] =
    /^CMAKE_HOME_DIRECTORY:\w+=(.*)$/m.exec(cache) ?? [];
  const ring = /^PEAL_HAS_LIBURING:\w+=1$/m.test(cache) ? ["-luring"] : [];
  execFileSync(process.env.CC ?? "cc", [
    "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror",
    "-I", join(source, "include"), "-o", server,
    join(import.meta.dirname, "server.c"), library,
    "-lssl", "-lcrypto", "-lz", ...ring, "-lpthread", "-lm",
  ], { stdio: "inherit" });
  process.env.PEAL_JS_SERVER = server;
  process.env.PEAL_EXAMPLES = examples;
  return () => rmSync(directory, { recursive: true, force: true });
}
