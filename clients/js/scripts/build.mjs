// Builds dist/: the modules as ESM and CommonJS with their types, and the
// browser's bundles, one to import and one that sets the global `peal`.
//
// With --bundle the latter becomes bundle/peal.js, too, which is kept in the
// repository, because the C library is built with it and without Node.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync }
  from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const tsc = join(dirname(createRequire(import.meta.url)
  .resolve("typescript/package.json")), "bin", "tsc");

rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json")],
  { stdio: "inherit" });

const esm = join(dist, "esm");
const cjs = join(dist, "cjs");
await build({
  entryPoints: readdirSync(join(root, "src")).map((name) =>
    join(root, "src", name)),
  outdir: cjs, format: "cjs", platform: "node", target: "node20",
});
cpSync(esm, cjs, {
  recursive: true, filter: (path) => !/\.js(\.map)?$/.test(path),
});
cpSync(join(root, "../../LICENSE"), join(dist, "LICENSE"));
writeFileSync(join(cjs, "package.json"), '{ "type": "commonjs" }\n');

const { version } = JSON.parse(readFileSync(join(root, "package.json")));
const bundle = {
  banner: { js: `/* peal ${version} */` },
  entryPoints: [join(root, "src", "index.ts")],
  bundle: true, minify: true, platform: "browser", target: "es2022",
  sourcemap: true, legalComments: "none",
};
await build({
  ...bundle, format: "iife", globalName: "peal",
  outfile: join(dist, "peal.min.js"),
});
await build({
  ...bundle, format: "esm", outfile: join(dist, "peal.esm.min.js"),
});

const integrity = {};
for (const name of ["peal.min.js", "peal.esm.min.js"]) {
  const bytes = readFileSync(join(dist, name));
  const hash = createHash("sha384").update(bytes).digest("base64");
  integrity[name] = `sha384-${hash}`;
  console.log(`${name}: ${bytes.length} bytes, ` +
    `${gzipSync(bytes, { level: 9 }).length} compressed`);
}
writeFileSync(join(dist, "integrity.json"),
  `${JSON.stringify(integrity, null, 2)}\n`);

if (process.argv.includes("--bundle")) {
  mkdirSync(join(root, "bundle"), { recursive: true });
  writeFileSync(join(root, "bundle", "peal.js"),
    readFileSync(join(dist, "peal.min.js"), "utf8")
      .replace(/^\/\/# sourceMappingURL=.*\n/m, ""));
}
