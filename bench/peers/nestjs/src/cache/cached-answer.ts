// What the hand-tuned cache keeps: the answer's bytes with their ETag in front, so that a hit is one Redis
// GET, no parsing, no hashing, and no copy.

import { createHash } from 'node:crypto';

/** A quoted tag of 22 characters (128 bits in base64url). */
const TAG_BYTES = 24;

export class CachedAnswer {
  /** `"…"` */
  readonly etag: string;
  readonly body: Buffer;

  private constructor(
    readonly bytes: Buffer,
    /** Whether it was cached, as the `X-Cache` of Nest's own interceptor tells it. */
    readonly cache: 'HIT' | 'MISS',
  ) {
    this.etag = bytes.toString('latin1', 0, TAG_BYTES);
    this.body = bytes.subarray(TAG_BYTES);
  }

  /** Made just now. */
  static of(json: string): CachedAnswer {
    const tag = createHash('sha256').update(json).digest().subarray(0, 16).toString('base64url');
    return new CachedAnswer(Buffer.from(`"${tag}"${json}`), 'MISS');
  }

  /** Kept earlier. */
  static from(bytes: Buffer): CachedAnswer {
    return new CachedAnswer(bytes, 'HIT');
  }
}
