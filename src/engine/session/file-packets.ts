/** The messages of `FileSync/DiffCopy`: packets of github.com/tonistiigi/fsutil (`types/wire.proto`, `types/stat.proto`). */
import { protoFields, ProtoWriter } from '#base/proto-wire.ts'
import type { TarEntry } from '#oci/layer/entry.ts'

export type FilePacket =
  /** A file that the sender has; the packet without one ends the list. Files are asked for by their place in it. */
  | { readonly kind: 'stat'; readonly stat: FileStat | undefined }
  | { readonly kind: 'request'; readonly id: number }
  /** Empty at the end of a file. */
  | { readonly kind: 'data'; readonly id: number; readonly data: Buffer }
  | { readonly kind: 'finish' }
  | { readonly kind: 'error'; readonly message: string }

export interface FileStat {
  readonly path: string
  readonly type: Exclude<TarEntry['type'], 'hardlink'> | 'socket'
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly sizeBytes: number
  readonly modifiedNs: bigint
  /** Of a symlink its target; of a file with another name earlier in the list that name. */
  readonly linkName: string
  readonly major: number
  readonly minor: number
  readonly xattrs: readonly (readonly [string, Buffer])[]
}

const numbers = { stat: 0, request: 1, data: 2, finish: 3, error: 4 } as const

/** Go's `os.FileMode`: kinds and special bits, each with what it is here. */
const kindBits: readonly (readonly [bits: number, type: FileStat['type']])[] = [
  [0x80000000, 'directory'], [0x08000000, 'symlink'], [0x04200000, 'charDevice'], [0x04000000, 'blockDevice'], [0x02000000, 'fifo'], [0x01000000, 'socket'],
]
const specialBits: readonly (readonly [goBit: number, unixBit: number])[] = [[0x00800000, 0o4000], [0x00400000, 0o2000], [0x00100000, 0o1000]]

const holds = (mode: number, bits: number): boolean => ((mode & bits) >>> 0) === bits

export function encodePacket(packet: FilePacket): Buffer {
  const writer = new ProtoWriter()
  if (numbers[packet.kind] !== 0) writer.varint(1, numbers[packet.kind])
  switch (packet.kind) {
    case 'stat':
      if (packet.stat !== undefined) writer.bytes(2, encodeStat(packet.stat))
      break
    case 'request':
      if (packet.id !== 0) writer.varint(3, packet.id)
      break
    case 'data':
      if (packet.id !== 0) writer.varint(3, packet.id)
      if (packet.data.length > 0) writer.bytes(4, packet.data)
      break
    case 'error':
      writer.string(4, packet.message)
      break
    case 'finish':
      break
  }
  return writer.finish()
}

/** Undefined: a kind of packet that later versions of the protocol may have. */
export function decodePacket(message: Buffer): FilePacket | undefined {
  let kind = 0
  let id = 0
  let stat: FileStat | undefined
  let data: Buffer = Buffer.alloc(0)
  for (const field of protoFields(message)) {
    if (field.number === 1) kind = Number(field.value)
    else if (field.number === 2) stat = decodeStat(field.bytes)
    else if (field.number === 3) id = Number(field.value)
    else if (field.number === 4) data = field.bytes
  }
  switch (kind) {
    case numbers.stat:
      return { kind: 'stat', stat }
    case numbers.request:
      return { kind: 'request', id }
    case numbers.data:
      return { kind: 'data', id, data }
    case numbers.finish:
      return { kind: 'finish' }
    case numbers.error:
      return { kind: 'error', message: data.toString('utf8') }
    default:
      return undefined
  }
}

/** `fsutil.types.Stat`. */
export function encodeStat(stat: FileStat): Buffer {
  const writer = new ProtoWriter()
  let mode = stat.mode & 0o777
  mode = (mode | (kindBits.find(([, type]) => type === stat.type)?.[0] ?? 0)) >>> 0
  for (const [goBit, unixBit] of specialBits) if ((stat.mode & unixBit) !== 0) mode = (mode | goBit) >>> 0
  writer.string(1, stat.path)
  writer.varint(2, mode)
  writer.varint(3, stat.uid)
  writer.varint(4, stat.gid)
  writer.varint(5, stat.sizeBytes)
  writer.varint(6, stat.modifiedNs)
  if (stat.linkName !== '') writer.string(7, stat.linkName)
  if (stat.major !== 0) writer.varint(8, stat.major)
  if (stat.minor !== 0) writer.varint(9, stat.minor)
  for (const [name, value] of stat.xattrs) {
    writer.message(10, (entry) => {
      entry.string(1, name)
      entry.bytes(2, value)
    })
  }
  return writer.finish()
}

function decodeStat(message: Buffer): FileStat {
  const found = new Map<number, bigint>()
  const text = new Map<number, string>()
  const xattrs: [string, Buffer][] = []
  for (const field of protoFields(message)) {
    if (field.number === 10) xattrs.push(decodeXattr(field.bytes))
    else if (field.number === 1 || field.number === 7) text.set(field.number, field.bytes.toString('utf8'))
    else found.set(field.number, field.value)
  }
  const number = (field: number): number => Number(found.get(field) ?? 0n)
  const goMode = number(2)
  const special = specialBits.reduce((bits, [goBit, unixBit]) => bits | (holds(goMode, goBit) ? unixBit : 0), 0)
  return {
    path: text.get(1) ?? '',
    type: kindBits.find(([bits]) => holds(goMode, bits))?.[1] ?? 'file',
    mode: (goMode & 0o777) | special,
    uid: number(3),
    gid: number(4),
    sizeBytes: number(5),
    modifiedNs: BigInt.asIntN(64, found.get(6) ?? 0n),
    linkName: text.get(7) ?? '',
    major: number(8),
    minor: number(9),
    xattrs,
  }
}

function decodeXattr(message: Buffer): [string, Buffer] {
  let name = ''
  let value: Buffer = Buffer.alloc(0)
  for (const field of protoFields(message)) {
    if (field.number === 1) name = field.bytes.toString('utf8')
    else if (field.number === 2) value = field.bytes
  }
  return [name, value]
}
