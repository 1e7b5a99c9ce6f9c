/**
 * Writes tar archives: ustar where everything fits, a pax header before the entry where it does not (long or non-ASCII
 * names, large numbers, fractions of seconds, extended attributes). The same entries always give the same bytes.
 */
import { Buffer } from 'node:buffer'
import type { EntryType, TarEntry } from './entry.ts'
import { archiveFault } from './entry.ts'
import { blockBytes, formatHeader, octalLimit } from './header.ts'
import { formatPax, formatPaxTime } from './pax.ts'
import type { PaxRecords } from './pax.ts'

const typeFlags: Readonly<Record<EntryType, string>> = {
  file: '0', hardlink: '1', symlink: '2', charDevice: '3', blockDevice: '4', directory: '5', fifo: '6',
}

/** The header blocks of an entry. A file's content follows, then `tarPadding(sizeBytes)`. */
export function tarHeader(entry: TarEntry): Buffer {
  const name = entry.type === 'directory' ? Buffer.concat([entry.path, Buffer.from('/')]) : entry.path
  const records: PaxRecords = new Map()
  const seconds = entry.modifiedNs / 1_000_000_000n
  const wholeSeconds = entry.modifiedNs % 1_000_000_000n === 0n && seconds >= 0n && seconds <= BigInt(octalLimit(12))
  if (!fitsName(name)) records.set('path', name)
  if (!fitsName(entry.linkPath)) records.set('linkpath', entry.linkPath)
  if (!wholeSeconds) records.set('mtime', Buffer.from(formatPaxTime(entry.modifiedNs)))
  const uid = fit(entry.uid, 8, 'uid', records)
  const gid = fit(entry.gid, 8, 'gid', records)
  const size = fit(entry.sizeBytes, 12, 'size', records)
  if (!fitsText(entry.userName)) records.set('uname', Buffer.from(entry.userName))
  if (!fitsText(entry.groupName)) records.set('gname', Buffer.from(entry.groupName))
  for (const [key, value] of [...entry.xattrs].sort(([a], [b]) => (a < b ? -1 : 1))) records.set(`SCHILY.xattr.${key}`, value)
  const { major, minor } = entry.device ?? { major: 0, minor: 0 }
  if (major > octalLimit(8) || minor > octalLimit(8)) throw archiveFault(`device number ${major}:${minor} does not fit`, entry.path)
  const header = formatHeader({
    name: asAscii(name), linkName: asAscii(entry.linkPath),
    mode: entry.mode & 0o7777, uid, gid, size,
    modifiedSeconds: wholeSeconds ? Number(seconds) : 0,
    typeFlag: typeFlags[entry.type],
    userName: fitsText(entry.userName) ? entry.userName : '', groupName: fitsText(entry.groupName) ? entry.groupName : '',
    major, minor,
  })
  return records.size === 0 ? header : Buffer.concat([paxBlocks(entry, name, records), header])
}

function paxBlocks(entry: TarEntry, name: Buffer, records: PaxRecords): Buffer {
  const body = formatPax(records)
  const short = name.toString('latin1').replace(/\/+$/, '').split('/').at(-1) ?? ''
  const header = formatHeader({
    name: asAscii(Buffer.from(`PaxHeaders.0/${short}`)), linkName: Buffer.alloc(0), mode: entry.mode & 0o777, uid: 0, gid: 0, size: body.length,
    modifiedSeconds: 0, typeFlag: 'x', userName: '', groupName: '', major: 0, minor: 0,
  })
  return Buffer.concat([header, body, tarPadding(body.length)])
}

/** At most 100 bytes of printable ASCII stand in the header itself. */
function fitsName(name: Buffer): boolean {
  return name.length <= 100 && name.every((byte) => byte >= 0x20 && byte < 0x7f)
}

function fitsText(text: string): boolean {
  return text.length <= 31 && /^[\x20-\x7e]*$/.test(text)
}

function asAscii(name: Buffer): Buffer {
  return Buffer.from(name.subarray(0, 100).map((byte) => (byte >= 0x20 && byte < 0x7f ? byte : 0x5f)))
}

function fit(value: number, length: number, key: string, records: PaxRecords): number {
  if (value >= 0 && value <= octalLimit(length)) return value
  records.set(key, Buffer.from(String(value)))
  return 0
}

/** Zero bytes up to the next block. */
export function tarPadding(sizeBytes: number): Buffer {
  return zeros.subarray(0, (blockBytes - (sizeBytes % blockBytes)) % blockBytes)
}

/** Parts of it are everybody's. A buffer that is a memory's whole is handed over to workers where it is read by one alone, and gone then. */
const zeros = Buffer.alloc(3 * blockBytes)

/** The end mark. */
export const tarEnd: Buffer = zeros.subarray(0, 2 * blockBytes)
