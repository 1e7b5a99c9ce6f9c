/** `RawFiles` through the C library; used inside confined workers. Paths are bytes, errors look as those of `node:fs`. */
import { closeSync, openSync } from 'node:fs'
import koffi from 'koffi'
import type { RawFiles, RawNode, RawPath } from '../contract/raw-files.ts'
import { lastErrno } from './libc.ts'

const library = koffi.load('libc.so.6')

type Calls = Readonly<Record<'mknod' | 'umask' | 'lsetxattr' | 'llistxattr' | 'lgetxattr' | 'utimensat' | 'syncfs', (...args: unknown[]) => number>>

const calls: Calls = {
  mknod: library.func('int mknod(const uint8_t *path, unsigned int mode, unsigned long dev)'),
  umask: library.func('unsigned int umask(unsigned int mask)'),
  lsetxattr: library.func('int lsetxattr(const uint8_t *path, const char *name, const uint8_t *value, size_t size, int flags)'),
  llistxattr: library.func('long llistxattr(const uint8_t *path, uint8_t *list, size_t size)'),
  lgetxattr: library.func('long lgetxattr(const uint8_t *path, const char *name, uint8_t *value, size_t size)'),
  utimensat: library.func('int utimensat(int dirfd, const uint8_t *path, const uint8_t *times, int flags)'),
  syncfs: library.func('int syncfs(int fd)'),
}

const typeBits = { fifo: 0o010000, charDevice: 0o020000, blockDevice: 0o060000, socket: 0o140000 } as const
const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const nsPerSecond = 1_000_000_000n
/** XATTR_LIST_MAX and XATTR_SIZE_MAX: room for one answer, used by one call after another. */
const xattrRoom = Buffer.allocUnsafeSlow(64 * 1024)

function zeroEnded(path: RawPath): Buffer {
  const given = typeof path === 'string' ? Buffer.from(path) : path
  const bytes = Buffer.allocUnsafe(given.length + 1)
  bytes.set(given)
  bytes[given.length] = 0
  if (bytes.indexOf(0) < given.length) throw Object.assign(new Error(`EINVAL: a path cannot hold a zero byte: ${JSON.stringify(Buffer.from(given).toString())}`), { code: 'EINVAL' })
  return bytes
}

function check(result: number, syscall: string, path: RawPath): number {
  if (result >= 0) return result
  const code = lastErrno()
  throw Object.assign(new Error(`${code}: ${syscall} '${Buffer.from(path).toString()}'`), { code, syscall })
}

function isCode(error: unknown, codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code)
}

function device(node: RawNode): number {
  const major = node.major ?? 0
  const minor = node.minor ?? 0
  // glibc's makedev for numbers below 2^32: the low 8 bits of minor, 12 of major, then the rest of minor.
  return ((minor & 0xff) | ((major & 0xfff) << 8)) + (minor & 0xfff00) * 0x1000
}

function timespec(target: Buffer, offset: number, ns: bigint): void {
  const rest = ((ns % nsPerSecond) + nsPerSecond) % nsPerSecond
  target.writeBigInt64LE((ns - rest) / nsPerSecond, offset)
  target.writeBigInt64LE(rest, offset + 8)
}

export const rawFiles: RawFiles = {
  makeNode(path, node) {
    const mask = calls.umask(0)
    try {
      check(calls.mknod(zeroEnded(path), typeBits[node.type] | node.mode, device(node)), 'mknod', path)
    } finally {
      calls.umask(mask)
    }
  },
  setXattr(path, name, value) {
    check(calls.lsetxattr(zeroEnded(path), name, value, value.length, 0), `lsetxattr ${name}`, path)
  },
  xattrs(path) {
    const found = new Map<string, Buffer>()
    const name = zeroEnded(path)
    let length: number
    try {
      length = check(calls.llistxattr(name, xattrRoom, xattrRoom.length), 'llistxattr', path)
    } catch (error) {
      if (isCode(error, ['ENOTSUP', 'EOPNOTSUPP'])) return found
      throw error
    }
    if (length === 0) return found
    for (const key of xattrRoom.toString('utf8', 0, length - 1).split('\0')) {
      const size = calls.lgetxattr(name, key, xattrRoom, xattrRoom.length)
      // One that vanished since it was listed is not there; one that may not be read is an error.
      if (size < 0 && lastErrno() === 'ENODATA') continue
      check(size, `lgetxattr ${key}`, path)
      found.set(key, Buffer.from(xattrRoom.subarray(0, size)))
    }
    return found
  },
  setTimes(path, accessedNs, modifiedNs) {
    const times = Buffer.alloc(32)
    timespec(times, 0, accessedNs)
    timespec(times, 16, modifiedNs)
    check(calls.utimensat(AT_FDCWD, zeroEnded(path), times, AT_SYMLINK_NOFOLLOW), 'utimensat', path)
  },
  syncFileSystem(path) {
    const fd = openSync(Buffer.from(path), 'r')
    try {
      check(calls.syncfs(fd), 'syncfs', path)
    } finally {
      closeSync(fd)
    }
  },
}
