/**
 * Bytes as they come from a socket, taken out in the sizes that a format wants.
 * Node only. Each byte is copied at most once, however small the chunks are.
 */
export class ByteQueue {
  #chunks: Buffer[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(chunk: Buffer): void {
    if (chunk.length > 0) {
      this.#chunks.push(chunk);
      this.#size += chunk.length;
    }
  }

  /** The first `count` bytes, which stay; null when they are not there yet. */
  peek(count: number): Buffer | null {
    if (this.#size < count) {
      return null;
    }
    let first = this.#chunks[0]!;
    if (first !== undefined && first.length < count) {
      first = this.#gather(count);
    }
    return count === 0 ? Buffer.alloc(0) : first.subarray(0, count);
  }

  /** The first `count` bytes; null when they are not there yet. */
  take(count: number): Buffer | null {
    const bytes = this.peek(count);
    if (bytes !== null && count > 0) {
      const first = this.#chunks[0]!;
      if (first.length === count) {
        this.#chunks.shift();
      } else {
        this.#chunks[0] = first.subarray(count);
      }
      this.#size -= count;
    }
    return bytes;
  }

  /** Joins as many chunks as it takes, and no more than these. */
  #gather(count: number): Buffer {
    let index = 0;
    let size = 0;
    while (size < count) {
      size += this.#chunks[index++]!.length;
    }
    const joined = Buffer.concat(this.#chunks.slice(0, index), size);
    this.#chunks.splice(0, index, joined);
    return joined;
  }
}
