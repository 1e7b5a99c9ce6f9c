/**
 * The few file operations that Node's `fs` lacks and that layers need: device nodes, extended attributes with binary
 * values (xattr(7)), times to the nanosecond, holes, syncfs(2). Synchronous: they are only called inside confined jobs, where
 * blocking harms nobody. None of them follows a symlink in the last component.
 *
 * Failures are errors with Node's `code` (`ENOTSUP`, `EPERM`, `ENOSPC`, …), as `fs` throws them.
 */

/** Bytes as the kernel has them; a string means its UTF-8. */
export type RawPath = string | Uint8Array

export interface RawNode {
  readonly type: 'charDevice' | 'blockDevice' | 'fifo' | 'socket'
  /** Permission bits; the umask does not apply. */
  readonly mode: number
  /** For devices. */
  readonly major?: number
  readonly minor?: number
}

export interface RawFiles {
  /** mknod(2). `EEXIST` when something stands there. */
  makeNode(path: RawPath, node: RawNode): void
  /** lsetxattr(2). */
  setXattr(path: RawPath, name: string, value: Uint8Array): void
  /** llistxattr(2) and lgetxattr(2): all that are there; empty where the file system has none. */
  xattrs(path: RawPath): ReadonlyMap<string, Buffer>
  /** utimensat(2); nanoseconds since the epoch, negative before it. */
  setTimes(path: RawPath, accessedNs: bigint, modifiedNs: bigint): void
  /** syncfs(2) of the file system that holds `path`. */
  syncFileSystem(path: RawPath): void
}
