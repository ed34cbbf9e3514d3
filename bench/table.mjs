// The report of run.mjs as markdown, and where it is written.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";

import { output, root } from "./servers.mjs";

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) {
    return NaN;
  }
  return sorted.length % 2 === 1
    ? sorted[middle]
    : (sorted[middle - 1] + sorted[middle]) / 2;
}

// Three figures that matter, and no more.
export function figure(value) {
  if (!Number.isFinite(value)) {
    return "-";
  }
  if (Math.abs(value) >= 1e6) {
    return `${(value / 1e6).toFixed(2)}M`;
  }
  if (Math.abs(value) >= 1e4) {
    return `${(value / 1e3).toFixed(1)}k`;
  }
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

// "5.1 (4.9-5.6)": the median and how far the rounds lay apart.
function spread(values) {
  if (values.length === 0) {
    return "-";
  }
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return `${figure(median(values))} (${figure(low)}-${figure(high)})`;
}

function row(fields) {
  return `| ${fields.join(" | ")} |`;
}

function heading(fields) {
  return [row(fields), row(fields.map(() => "---"))];
}

// `results` has one entry per cell and server: {cell, server, runs}.
function column(result, name) {
  return result.runs.filter((run) => name in run).map((run) => run[name]);
}

// Above 1 is better than the yardstick, whatever the column counts.
function ratio(results, result, name, more) {
  const other = results.find((entry) =>
    entry.cell === result.cell && entry.server === "Bun");
  if (other === undefined || other === result) {
    return "";
  }
  const ours = median(column(result, name));
  const theirs = median(column(other, name));
  const value = more ? ours / theirs : theirs / ours;
  return Number.isFinite(value) ? `${value.toFixed(2)}x` : "-";
}

function complaint(run) {
  if (run.failure !== undefined) {
    return run.failure;
  }
  const faults = ["lost", "mismatches", "closes", "refused"]
    .filter((name) => run[name] > 0)
    .map((name) => `${run[name]} ${name}`);
  if (run.tls_handshakes > 0 && faults.length === 0) {
    faults.push(`${run.tls_resumed} sessions resumed`);
  }
  if (run.close_code !== undefined) {
    faults.push(`close code ${run.close_code}`);
  }
  return faults.join(", ");
}

function notes(result) {
  const bad = result.runs.find((run) => !run.ok);
  const resumed = median(result.runs.filter((run) => run.tls_resumed > 0)
    .map((run) => 100 * run.tls_resumed / run.tls_handshakes));
  const late = Math.max(0, ...column(result, "late"));
  const notes = [];
  if (bad !== undefined) {
    notes.push(`**${complaint(bad)}**`);
  }
  if (Number.isFinite(resumed)) {
    notes.push(`${figure(resumed)} % resumed`);
  }
  if (late > 0) {
    notes.push(`${figure(late)} still under way 10 s after the end`);
  }
  if (column(result, "one_order").includes("no")) {
    notes.push("no one order");
  }
  return notes.join("; ");
}

function throughput(results) {
  const lines = heading(["case", "server", "per second", "server CPU us",
    "CPU against Bun", "rate against Bun", "server / client busy", ""]);
  for (const result of results) {
    lines.push(row([
      result.cell,
      result.server,
      spread(column(result, "rate")),
      spread(column(result, "server_us")),
      ratio(results, result, "server_us", false),
      ratio(results, result, "rate", true),
      `${figure(100 * median(column(result, "server_busy")))} / `
        + `${figure(100 * median(column(result, "client_busy")))} %`,
      notes(result),
    ]));
  }
  return lines;
}

function latency(results) {
  const lines = heading(["case", "server", "p50 ms", "p99 ms", "p99.9 ms",
    "max ms", "server CPU us", "CPU against Bun", "p99 against Bun", ""]);
  for (const result of results) {
    lines.push(row([
      result.cell,
      result.server,
      spread(column(result, "p50_ms")),
      spread(column(result, "p99_ms")),
      spread(column(result, "p999_ms")),
      spread(column(result, "max_ms")),
      spread(column(result, "server_us")),
      ratio(results, result, "server_us", false),
      ratio(results, result, "p99_ms", false),
      notes(result),
    ]));
  }
  return lines;
}

function memory(results) {
  const lines = heading(["case", "server", "RSS bytes per conn",
    "kernel slab bytes, both ends", "RSS in all, MB", "idle CPU %",
    "RSS against Bun", ""]);
  for (const result of results) {
    lines.push(row([
      result.cell,
      result.server,
      spread(column(result, "rss_per_conn")),
      spread(column(result, "slab_per_conn")),
      figure(median(column(result, "rss_bytes")) / 1e6),
      figure(100 * median(column(result, "server_cpu_share"))),
      ratio(results, result, "rss_per_conn", false),
      notes(result),
    ]));
  }
  return lines;
}

export function provenance(command) {
  const commit = output("git", ["-C", root, "rev-parse", "--short", "HEAD"]);
  const changed = output("git", ["-C", root, "status", "--porcelain",
    "--untracked-files=no"]);
  const dirty = changed === "" ? "" : " with changes";
  return [
    `Commit ${commit ?? "unknown"}${dirty}, `
      + `${new Date().toISOString().slice(0, 10)}, Linux ${release()}, `
      + `${cpus().length} cores of ${cpus()[0].model.trim()}.`,
    "",
    `    ${command}`,
    "",
  ];
}

export function report(results, about) {
  const part = (kind) => results.filter((result) => result.kind === kind);
  const lines = [...provenance(about.command), ...about.lines, ""];
  const add = (title, entries, table) => {
    if (entries.length > 0) {
      lines.push(`### ${title}`, "", ...table(entries), "");
    }
  };
  add("Throughput", part("rate"), throughput);
  add("Paced fan-out", part("paced"), latency);
  add("Idle connections", part("idle"), memory);
  return lines.join("\n");
}

// Replaces what is between the markers of that name, or adds them at the end.
export function write(path, name, text) {
  const begin = `<!-- ${name}:begin -->`;
  const end = `<!-- ${name}:end -->`;
  const old = existsSync(path) ? readFileSync(path, "utf8") : "";
  const from = old.indexOf(begin);
  const to = old.indexOf(end);
  const section = `${begin}\n\n${text.trim()}\n\n${end}`;
  if (from >= 0 && to > from) {
    writeFileSync(path, old.slice(0, from) + section
      + old.slice(to + end.length));
  } else {
    const before = old === "" ? "# Benchmarks" : old.trimEnd();
    writeFileSync(path, `${before}\n\n${section}\n`);
  }
}
