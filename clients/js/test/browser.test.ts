/**
 * The bundle in a real browser: Chromium at PEAL_CHROMIUM, by default
 * /usr/bin/chromium.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { chromium, type Browser, type BrowserContext, type Page }
  from "playwright-core";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";

import { startAgain, startServer } from "./support/server.js";

const bundle = readFileSync(
  join(import.meta.dirname, "../dist/peal.min.js"), "utf8");

const site = createServer((request, response) => {
  const isScript = request.url === "/peal.js";
  response.setHeader("Content-Type",
    isScript ? "text/javascript" : "text/html");
  response.end(isScript ? bundle
    : '<!doctype html><title>peal</title><script src="/peal.js"></script>');
});
let browser: Browser;
let origin = "";

beforeAll(async () => {
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  browser = await chromium.launch({
    executablePath: process.env.PEAL_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
      "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
}, 60_000);

afterAll(async () => {
  await browser?.close();
  site.close();
});

/** A page whose global `rt` is a client that is open. */
async function open(
  url: string, options: object = {},
): Promise<{ page: Page; context: BrowserContext }> {
  const context = await browser.newContext();
  const page = await context.newPage();
  onTestFinished(() => context.close());
  await page.goto(origin);
  await page.evaluate(async ([at, how]) => {
    const { peal } = globalThis as any;
    const rt = (globalThis as any).rt = peal.connect(at, how);
    (globalThis as any).states = [];
    rt.watch("state", ({ name }: any) => (globalThis as any).states.push(name));
    await rt.ready();
  }, [url, { reconnect: { min: 20, max: 100 }, ...options }] as const);
  return { page, context };
}

const stateIs = (page: Page, name: string) => page.waitForFunction(
  (wanted) => (globalThis as any).rt.state.name === wanted, name);

it("comes back after a restart of the server", async () => {
  const first = await startServer();
  const { page } = await open(first.ws);
  await page.evaluate(() =>
    (globalThis as any).rt.room("lobby").ready());
  await first.end("SIGKILL");
  await stateIs(page, "waiting");
  await page.evaluate(() => (globalThis as any).rt.emit("number",
    { client: 1, n: 1 }));
  const second = await startAgain(first);
  await stateIs(page, "open");
  expect(await page.evaluate(async () => {
    const { rt } = globalThis as any;
    await rt.flush();
    await rt.room("lobby").ready();
    return rt.request("sum", { a: 1, b: 2 });
  })).toEqual({ sum: 3 });
  expect(second.lines).toEqual(["number 1 1"]);
});

it("dials at once when the network is back", async () => {
  const first = await startServer();
  const { page, context } = await open(first.ws,
    { reconnect: { min: 1e6, max: 1e6 } });
  await context.setOffline(true);
  await first.end("SIGKILL");
  await stateIs(page, "waiting");
  await startAgain(first);
  await context.setOffline(false);
  await stateIs(page, "open");
  expect(await page.evaluate(() => (globalThis as any).rt.metrics.opened))
    .toBe(2);
});

it("looks when the page is back from the browser's cache", async () => {
  const first = await startServer();
  const { page } = await open(first.ws, { reconnect: { min: 1e6, max: 1e6 } });
  const show = () => page.evaluate(() => {
    const { rt } = globalThis as any;
    const before = rt.metrics.roundTripMs;
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    return before;
  });
  /* Open: it asks whether that is still true. */
  const before = await show();
  await page.waitForFunction((was) =>
    (globalThis as any).rt.metrics.roundTripMs !== was, before);
  await first.end("SIGKILL");
  await stateIs(page, "waiting");
  await startAgain(first);
  await show();
  await stateIs(page, "open");
});

it("notices while it is offline that the server has gone", async () => {
  const server = await startServer();
  const { page, context } = await open(server.ws,
    { heartbeat: { interval: 60_000, timeout: 200 } });
  await context.setOffline(true);
  /* The browser may cut the connection, or leave it: the probe tells. */
  await page.waitForFunction(() => {
    const { rt } = globalThis as any;
    return rt.state.name === "waiting" ||
      rt.metrics.roundTripMs !== undefined;
  });
  await context.setOffline(false);
  await stateIs(page, "open");
});

it("keeps still in a hidden tab, and looks when it is seen", async () => {
  const server = await startServer({ env: { PEAL_PING_MS: "150" } });
  const { page } = await open(server.ws);
  const show = (state: string) => page.evaluate((visibility) => {
    Object.defineProperty(document, "visibilityState",
      { configurable: true, get: () => visibility });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);
  await show("hidden");
  await page.evaluate(() => (globalThis as any).rt.ping());
  /*
   * Ten intervals of the heartbeat, through which the server's own pings keep
   * it. That nothing is sent cannot be waited for, but by the clock.
   */
  const sent = await page.evaluate(async () => {
    let count = 0;
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (data) {
      count++;
      send.call(this, data);
    };
    (globalThis as any).sends = () => count;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    return count;
  });
  expect(sent).toBe(0);
  await show("visible");
  await page.waitForFunction(() => (globalThis as any).sends() > 0);
  expect(await page.evaluate(() => (globalThis as any).states))
    .toEqual(["open"]);
});

it("carries a megabyte, and a file with progress", async () => {
  const server = await startServer();
  const { page } = await open(server.ws);
  expect(await page.evaluate(async () => {
    const { rt } = globalThis as any;
    const bytes = new Uint8Array(1024 * 1024).map((_, i) => i * 31);
    const back: Uint8Array = await rt.request("echo", bytes);
    const progress: number[] = [];
    const file = new File([bytes], "bytes.bin");
    const again: Uint8Array = await rt.sendFile("echo", file,
      { onProgress: (sent: number) => progress.push(sent) });
    const same = (other: Uint8Array) => other.length === bytes.length &&
      other.every((byte, i) => byte === bytes[i]);
    return [same(back), same(again), progress[0], progress.at(-1)];
  })).toEqual([true, true, 0, 1024 * 1024]);
});

it("hears 10,000 events in order", async () => {
  const server = await startServer();
  const { page } = await open(server.ws);
  expect(await page.evaluate(async () => {
    const { rt } = globalThis as any;
    let next = 0;
    let isOrdered = true;
    await new Promise<void>((resolve) => {
      rt.on("number", (n: number) => {
        isOrdered &&= n === next++;
        if (next === 10_000) {
          resolve();
        }
      });
      rt.emit("count", { n: 10_000 });
    });
    return isOrdered;
  })).toBe(true);
});

it("works in a worker", async () => {
  const server = await startServer();
  const { page } = await open(server.ws);
  expect(await page.evaluate(async ([url, script]) => {
    const source = `importScripts("${script}");
      peal.connect("${url}").request("sum", { a: 1, b: 2 }).then(postMessage);`;
    const worker = new Worker(URL.createObjectURL(new Blob([source])));
    return new Promise((resolve) => {
      worker.onmessage = ({ data }) => resolve(data);
    });
  }, [server.ws, `${origin}/peal.js`] as const)).toEqual({ sum: 3 });
});
