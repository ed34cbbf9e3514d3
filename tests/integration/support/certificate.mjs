// Certificates for tests, made by openssl.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
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

// The same, but expired, or for another host: NAME.crt and NAME.key.
export function makeBadCertificate(folder, name, { from, to, names }) {
  const file = (suffix) => join(folder, `${name}.${suffix}`);

  writeFileSync(file("txt"), "");
  writeFileSync(
    file("cnf"),
    [
      ...["[ca]", "default_ca=own", "[own]", "rand_serial=yes"],
      ...[`database=${file("txt")}`, `new_certs_dir=${folder}`],
      ...["default_md=sha256", "policy=any", "x509_extensions=names"],
      ...["[any]", "commonName=supplied"],
      ...["[names]", `subjectAltName=${names}`, ""],
    ].join("\n"),
  );
  const openssl = (...parameters) =>
    execFileSync("openssl", parameters, { stdio: "ignore" });
  openssl(
    ...["req", "-new", "-newkey", "ec", "-nodes", "-subj", `/CN=${name}`],
    ...["-pkeyopt", "ec_paramgen_curve:P-256"],
    ...["-keyout", file("key"), "-out", file("csr")],
  );
  openssl(
    ...["ca", "-batch", "-selfsign", "-notext", "-config", file("cnf")],
    ...["-keyfile", file("key"), "-in", file("csr"), "-out", file("crt")],
    ...["-startdate", from, "-enddate", to],
  );
}
