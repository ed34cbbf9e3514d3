/**
 * How long to wait before the next attempt.
 */

export interface Backoff {
  /** Upper bound of the first wait, in milliseconds. Default 1000. */
  min: number;
  /** Upper bound of all waits, in milliseconds. Default 30,000. */
  max: number;
  /** Growth of the bound from one attempt to the next. Default 2. */
  factor: number;
}

export const defaultBackoff: Backoff = { min: 1000, max: 30_000, factor: 2 };

/**
 * Full jitter: anything from nothing to a bound that grows. A crowd that was
 * cut off at one moment comes back spread over the whole of it.
 */
export function backoffDelay(
  { min, max, factor }: Backoff, attempt: number,
  random: () => number = Math.random,
): number {
  const bound = Math.min(max, min * factor ** Math.min(attempt - 1, 64));
  return Math.floor(random() * bound);
}
