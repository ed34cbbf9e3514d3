// Certificates for tests, made by openssl.

import { execFileSync } from "node:child_process";
import { join } from "node:path";

// Makes NAME.crt, for localhost and 127.0.0.1, and NAME.key in a folder.
export function makeCertificate(folder, name, days = 30) {
  const certificate = join(folder, `${name}.crt`);
  const key = join(folder, `${name}.key`);

  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-nodes", "-days", String(days)],
      ...["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", `/CN=${name}`],
      ...["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
      ...["-keyout", key, "-out", certificate],
    ],
    { stdio: "ignore" },
  );
  return { certificate, key };
}
