/**
 * A file as one message, with news of how much of it has left.
 */
import { localError } from "./errors.js";
import type { FileOptions } from "./types.js";

export interface FileOwner {
  limit(): number;
  bufferedBytes(): number;
  send(bytes: ArrayBuffer, onSent: (bytes: number) => void): Promise<unknown>;
}

const LOOK_MS = 20;

export async function sendFile(
  file: Blob, { onProgress }: FileOptions, owner: FileOwner,
): Promise<unknown> {
  const { size } = file;
  let timer: ReturnType<typeof setInterval> | undefined;
  let told = -1;
  const tell = (sent: number) => {
    if (sent > told) {
      told = sent;
      onProgress?.(sent, size);
    }
  };
  if (size > owner.limit()) {
    throw localError("too_large",
      `${size} bytes; the server takes ${owner.limit()}`);
  }
  const bytes = await file.arrayBuffer();
  try {
    /*
     * A socket sends in order: what is still buffered is, at most, the tail of
     * the file and whatever was sent after it.
     */
    const answer = await owner.send(bytes, () => {
      tell(0);
      timer = setInterval(() =>
        tell(Math.max(0, size - owner.bufferedBytes())), LOOK_MS);
    });
    tell(size);
    return answer;
  } finally {
    clearInterval(timer);
  }
}
