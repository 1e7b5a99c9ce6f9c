/** `security.capability` (capabilities(7), "File capability extended attribute versioning"). Pure. */

const revisionMask = 0xff000000
const revision2 = 0x02000000
const revision3 = 0x03000000
const revision2Bytes = 20
const revision3Bytes = 24

/**
 * Without the user namespace's root that it is bound to: that id means nothing outside the machine on which it was written, and whoever
 * unpacks the archive gives the file to its own root.
 */
export function withoutRootId(value: Buffer): Buffer {
  if (value.length !== revision3Bytes) return value
  const head = value.readUInt32LE(0)
  if ((head & revisionMask) >>> 0 !== revision3) return value
  const plain = Buffer.from(value.subarray(0, revision2Bytes))
  plain.writeUInt32LE(((head & ~revisionMask) | revision2) >>> 0, 0)
  return plain
}

/** Bound to the root of a user namespace, whose id on this machine is `rootId`: elsewhere the kernel takes it for the machine's own root. */
export function withRootId(value: Buffer, rootId: number): Buffer {
  if (value.length !== revision2Bytes) return value
  const bound = Buffer.alloc(revision3Bytes)
  value.copy(bound)
  bound.writeUInt32LE(((value.readUInt32LE(0) & ~revisionMask) | revision3) >>> 0, 0)
  bound.writeUInt32LE(rootId, revision2Bytes)
  return bound
}
