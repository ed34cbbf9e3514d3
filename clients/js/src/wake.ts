/**
 * The moments at which a page had better look after its connection: it came
 * back to the network, out of the browser's cache of pages, or into sight.
 */
interface Page {
  addEventListener?(type: string, listener: () => void): void;
  removeEventListener?(type: string, listener: () => void): void;
  navigator?: { onLine?: boolean };
  document?: Page & { visibilityState: string };
}

const page = globalThis as Page;

export function isHidden(): boolean {
  return page.document?.visibilityState === "hidden";
}

/** Only a no is sure: a page that is online may still reach nobody. */
export function isOffline(): boolean {
  return page.navigator?.onLine === false;
}

/** Calls `wake` at each; returns how to stop. Does nothing outside a page. */
export function onWake(wake: () => void): () => void {
  const visible = () => {
    if (!isHidden()) {
      wake();
    }
  };
  const places: [Page | undefined, string, () => void][] = [
    [page, "online", wake],
    [page, "offline", wake],
    [page, "pageshow", wake],
    [page.document, "visibilitychange", visible],
  ];
  for (const [target, type, listener] of places) {
    target?.addEventListener?.(type, listener);
  }
  return () => {
    for (const [target, type, listener] of places) {
      target?.removeEventListener?.(type, listener);
    }
  };
}
