/**
 * Content addresses (OCI image-spec `descriptor.md#digests`): `algorithm:hex`, sha256 for everything Berth makes, sha512
 * accepted. A `Digest` has been checked: its text is safe as part of a file name or a URL.
 */
import { createHash } from 'node:crypto'
import { Fault } from '#base/fault.ts'

declare const digestBrand: unique symbol
export type Digest = string & { readonly [digestBrand]: true }

export type DigestAlgorithm = 'sha256' | 'sha512'

const hexLength: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 }
const shape = /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/

export function isDigest(text: string): text is Digest {
  return shape.test(text)
}

/** Parses a digest; `where` names its place in the fault (`invalidArgument`, details `{ reason: 'DIGEST_INVALID' }`). */
export function parseDigest(text: unknown, where = 'digest'): Digest {
  if (typeof text === 'string' && isDigest(text)) return text
  throw new Fault('invalidArgument', `${where}: ${JSON.stringify(text)?.slice(0, 160)} is no digest: expected sha256: and ${hexLength.sha256} lower-case hex digits`, {
    details: { reason: 'DIGEST_INVALID' },
  })
}

/** The digest of bytes that are at hand. Streams are hashed by the blob store as they pass. */
export function digestOf(bytes: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return digestFromHex(createHash(algorithm).update(bytes).digest('hex'), algorithm)
}

/** Puts an algorithm before hex that a hash has just made. */
export function digestFromHex(hex: string, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return parseDigest(`${algorithm}:${hex}`)
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256'
}

/** The hex part: the 64 digits that Docker shows as an image id. */
export function digestHex(digest: Digest): string {
  return digest.slice(7)
}

/** Twelve hex digits, as Docker prints ids in tables. */
export function shortDigest(digest: Digest): string {
  return digestHex(digest).slice(0, 12)
}
