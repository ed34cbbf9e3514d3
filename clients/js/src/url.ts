/**
 * From what the application says to what is dialled.
 */
import { localError, PealError } from "./errors.js";
import type { Options, TokenRequest } from "./types.js";

/** Or a function that says it anew before each dial. */
export type Address =
  string | URL | (() => string | URL | Promise<string | URL>);

/** `http` becomes `ws`; in a page, a path is that of the page's server. */
export async function makeUrl(address: Address): Promise<string> {
  const said = typeof address === "function" ? await address() : address;
  const text = String(said);
  if (text.startsWith("unix:")) {
    return text;
  }
  const base = (globalThis as { location?: { href: string } }).location?.href;
  let url: URL;
  try {
    url = new URL(text, base);
  } catch (cause) {
    throw localError("bad_option", `Not a URL: ${text}`, cause);
  }
  /* A page may not dial with a fragment. */
  url.hash = "";
  return url.href.replace(/^http/, "ws");
}

export async function withToken(
  url: string, options: Options, request: TokenRequest,
): Promise<string> {
  const { token, tokenParameter = "token" } = options;
  if (token === undefined) {
    return url;
  }
  if (!url.startsWith("ws")) {
    throw localError("bad_option", "A token goes over WebSocket only; use prepare");
  }
  let value;
  try {
    value = typeof token === "function" ? await token(request) : token;
  } catch (cause) {
    if (cause instanceof PealError) {
      throw cause;
    }
    throw localError("token_failed", "There was no token to be had", cause);
  }
  if (value === null || value === undefined) {
    return url;
  }
  const signed = new URL(url);
  signed.searchParams.set(tokenParameter, value);
  return signed.href;
}
