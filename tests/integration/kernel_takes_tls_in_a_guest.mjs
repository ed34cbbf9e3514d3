// The tests of TLS where the kernel can do it: all of them again, with the
// option on, on a kernel of Debian's that has it.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { noGuest, runInGuest } from "./support/guest.mjs";

const built = (name) => join(process.env.PEAL_BUILD, "integration", name);

// Small sockets are often full: records go out in parts, and ends have to wait.
const script = `
export PEAL_TEST_KTLS=1
tls_protects_both_transports; echo "first: $?"
echo "4096 16384 16384" > /proc/sys/net/ipv4/tcp_wmem
kernel_takes_tls; echo "second: $?"
cat /proc/net/tls_stat
`;

test("the kernel encrypts", { skip: noGuest }, async () => {
  const console = await runInGuest([built("tls_protects_both_transports"),
    built("kernel_takes_tls"), "/usr/bin/openssl"], script);
  const count = (name) => Number(new RegExp(`^${name}\\s+(\\d+)`, "m")
    .exec(console)?.[1]);

  assert.match(console, /^first: 0$/m, console);
  assert.match(console, /^second: 0$/m, console);
  assert.ok(count("TlsTxSw") > 100, console);
  assert.equal(count("TlsCurrTxSw"), 0, console);
  assert.equal(count("TlsDecryptError"), 0, console);
});
