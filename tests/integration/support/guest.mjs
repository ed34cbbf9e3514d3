// A machine of our own: Debian's kernel under qemu, without a disk or network,
// which runs built programs of this machine. scripts/setup fetches what it
// needs into build/tools/guest: vmlinuz, modules/, busybox.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync,
  writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";

const folder = process.env.PEAL_GUEST;
const qemu = process.env.PEAL_QEMU;

// Why there is none; false when there is one.
export const noGuest = !qemu || !folder
  ? "qemu-system-x86_64, or a kernel of Debian's, is not there: scripts/setup"
  : !existsSync(join(folder, "vmlinuz")) && `no kernel in ${folder}`;

// An archive of cpio's, "newc", as the kernel unpacks it at its start.
class Archive {
  #parts = [];
  #folders = new Set(["/"]);
  #count = 0;

  #pad() {
    const size = this.#parts.reduce((sum, part) => sum + part.length, 0);
    this.#parts = [Buffer.concat([...this.#parts, Buffer.alloc(-size & 3)])];
  }

  #entry(name, mode, data) {
    const numbers = [++this.#count, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0,
      name.length + 1, 0];
    const head = numbers.map((each) => each.toString(16).padStart(8, "0"));

    this.#parts.push(Buffer.from(`070701${head.join("")}${name}\0`));
    this.#pad();
    this.#parts.push(data);
    this.#pad();
  }

  folder(path) {
    if (!this.#folders.has(path)) {
      this.folder(dirname(path));
      this.#folders.add(path);
      this.#entry(path.slice(1), 0o40755, Buffer.alloc(0));
    }
  }

  file(path, data) {
    this.folder(dirname(path));
    this.#entry(path.slice(1), 0o100755, Buffer.from(data));
  }

  end() {
    this.#entry("TRAILER!!!", 0, Buffer.alloc(0));
    return this.#parts[0];
  }
}

// Programs, and the libraries that they are linked with, once each.
function addPrograms(archive, programs) {
  const libraries = new Set();

  for (const [path, from] of programs) {
    archive.file(path, readFileSync(from));
    const listed = execFileSync("ldd", [from], { encoding: "utf8" });
    for (const [, library] of listed.matchAll(/(\/\S+) \(0x/g)) {
      libraries.add(library);
    }
  }
  for (const library of libraries) {
    archive.file(library, readFileSync(library));
  }
}

function addModules(archive) {
  const modules = join(folder, "modules");

  for (const name of readdirSync(modules, { recursive: true })) {
    if (/\.ko(\.xz)?$/.test(name)) {
      archive.file(join("/lib/modules", relative("/", join("/", name))),
        readFileSync(join(modules, name)));
    }
  }
}

const start = (script) => `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/programs:/bin HOME=/
mkdir -p /proc /sys /dev /tmp /sbin
ln -s /bin/busybox /sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ifconfig lo 127.0.0.1 up
depmod
for module in aesni_intel ghash_clmulni_intel tls; do modprobe $module; done
${script}
poweroff -f
`;

// Runs a script for /bin/sh there. `programs` are files of this machine, which
// it finds in /programs; options.files are others, by their path there. Resolves
// to what was written to the console.
export async function runInGuest(programs, script, options = {}) {
  const work = mkdtempSync(join(tmpdir(), "peal-guest-"));
  const archive = new Archive();
  const image = join(work, "image");

  archive.file("/bin/busybox", readFileSync(join(folder, "busybox")));
  archive.file("/init", start(script));
  archive.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n");
  addPrograms(archive, programs.map((from) =>
    [join("/programs", basename(from)), from]));
  for (const [path, from] of Object.entries(options.files ?? {})) {
    archive.file(path, readFileSync(from));
  }
  addModules(archive);
  writeFileSync(image, archive.end());
  // Plain emulation: it is there on every machine, and fast enough.
  const child = spawn(qemu, ["-accel", "tcg", "-machine", "q35",
    "-cpu", options.processor ?? "max", "-smp", options.processors ?? "2",
    "-m", options.memory ?? "1024", "-nodefaults", "-no-user-config",
    "-no-reboot", "-display", "none", "-serial", "stdio",
    ...(options.more ?? []),
    "-kernel", join(folder, "vmlinuz"), "-initrd", image,
    "-append", "console=ttyS0 quiet panic=-1 norandmaps no_timer_check"],
  { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";

  try {
    for await (const part of child.stdout.setEncoding("utf8")) {
      text += part;
      options.onText?.(part);
    }
    return text.replaceAll("\r", "");
  } finally {
    child.kill("SIGKILL");
    rmSync(work, { recursive: true });
  }
}
