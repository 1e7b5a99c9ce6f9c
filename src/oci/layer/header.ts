/** The 512-byte header block (POSIX ustar, with GNU's base-256 numbers): fields in, fields out, checksum verified. */
import { archiveFault } from './entry.ts'

export const blockBytes = 512

export interface RawHeader {
  readonly name: Buffer
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly modifiedSeconds: number
  /** One ASCII character; `'0'` also for the old NUL. */
  readonly typeFlag: string
  readonly linkName: Buffer
  readonly userName: Buffer
  readonly groupName: Buffer
  readonly major: number
  readonly minor: number
  readonly isGnu: boolean
}

const checksumAt = 148
const spaces = Buffer.from('        ')

export function parseHeader(block: Buffer): RawHeader {
  verifyChecksum(block)
  const magic = block.toString('latin1', 257, 263)
  const isUstar = magic.startsWith('ustar')
  const isGnu = magic === 'ustar '
  const plainName = textField(block, 0, 100)
  const prefix = isUstar && !isGnu ? textField(block, 345, 155) : nothing
  const flag = block[156] ?? 0
  return {
    name: prefix.length === 0 ? plainName : Buffer.concat([prefix, Buffer.from('/'), plainName]),
    mode: numberField(block, 100, 8),
    uid: numberField(block, 108, 8),
    gid: numberField(block, 116, 8),
    size: numberField(block, 124, 12),
    modifiedSeconds: numberField(block, 136, 12),
    typeFlag: flag === 0 ? '0' : String.fromCharCode(flag),
    linkName: textField(block, 157, 100),
    userName: isUstar ? textField(block, 265, 32) : nothing,
    groupName: isUstar ? textField(block, 297, 32) : nothing,
    major: isUstar ? numberField(block, 329, 8) : 0,
    minor: isUstar ? numberField(block, 337, 8) : 0,
    isGnu,
  }
}

function verifyChecksum(block: Buffer): void {
  const said = numberField(block, checksumAt, 8)
  let unsigned = 8 * 0x20
  for (let at = 0; at < blockBytes; at += 1) unsigned += block[at] ?? 0
  // The field itself counts as spaces.
  for (let at = checksumAt; at < checksumAt + 8; at += 1) unsigned -= block[at] ?? 0
  if (said !== unsigned && said !== signedSum(block)) throw archiveFault('a header has a wrong checksum: this is no tar archive, or it is damaged')
}

/** Some old writers added the bytes as signed ones. */
function signedSum(block: Buffer): number {
  const bytes = new Int8Array(block.buffer, block.byteOffset, blockBytes)
  return 8 * 0x20 + bytes.reduce((sum, byte) => sum + byte, 0) - bytes.subarray(checksumAt, checksumAt + 8).reduce((sum, byte) => sum + byte, 0)
}

const nothing = Buffer.alloc(0)

function textField(block: Buffer, at: number, length: number): Buffer {
  if (block[at] === nul) return nothing
  const field = block.subarray(at, at + length)
  const end = field.indexOf(nul)
  return Buffer.from(end < 0 ? field : field.subarray(0, end))
}

/** Octal text, or base-256 (two's complement) when the first bit is set. */
export function numberField(block: Buffer, at: number, length: number): number {
  const first = block[at] ?? 0
  if ((first & 0x80) !== 0) {
    let value = BigInt(first & 0x40 ? (first | ~0xff) : first & 0x7f)
    for (let index = at + 1; index < at + length; index += 1) value = value * 256n + BigInt(block[index] ?? 0)
    const number = Number(value)
    if (!Number.isSafeInteger(number)) throw archiveFault('a number in a header does not fit in 53 bits')
    return number
  }
  let value = 0
  let digits = 0
  for (let index = at; index < at + length; index += 1) {
    const digit = (block[index] ?? 0) - 0x30
    // Spaces and NULs before the digits and behind them are looked at by text.
    if (digit < 0 || digit > 7) return isFieldEnd(block, index) && digits > 0 ? value : numberText(block, at, length)
    value = value * 8 + digit
    digits += 1
  }
  return value
}

const nul = 0
const space = 0x20

/** A NUL ends the number whatever follows; a space does when a NUL or nothing follows it. */
function isFieldEnd(block: Buffer, at: number): boolean {
  return block[at] === nul || (block[at] === space && block[at + 1] === nul)
}

function numberText(block: Buffer, at: number, length: number): number {
  const text = block.subarray(at, at + length).toString('latin1').replace(/\0.*$/s, '').trim()
  if (text === '') return 0
  if (!/^[0-7]+$/.test(text)) throw archiveFault(`'${text}' in a header is no octal number`)
  return Number.parseInt(text, 8)
}

export interface HeaderFields {
  readonly name: Buffer
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly modifiedSeconds: number
  readonly typeFlag: string
  readonly linkName: Buffer
  readonly userName: string
  readonly groupName: string
  readonly major: number
  readonly minor: number
}

/** Largest value of an octal field of `length` bytes with its closing NUL. */
export function octalLimit(length: number): number {
  return 8 ** (length - 1) - 1
}

/** Writes a ustar header. Values must fit: the caller puts what does not into pax records and passes a stand-in here. */
export function formatHeader(fields: HeaderFields): Buffer {
  const block = Buffer.alloc(blockBytes)
  fields.name.copy(block, 0, 0, 100)
  octal(block, 100, 8, fields.mode)
  octal(block, 108, 8, fields.uid)
  octal(block, 116, 8, fields.gid)
  octal(block, 124, 12, fields.size)
  octal(block, 136, 12, fields.modifiedSeconds)
  spaces.copy(block, checksumAt)
  block.write(fields.typeFlag, 156, 'latin1')
  fields.linkName.copy(block, 157, 0, 100)
  block.write('ustar\x0000', 257, 'latin1')
  Buffer.from(fields.userName).copy(block, 265, 0, 31)
  Buffer.from(fields.groupName).copy(block, 297, 0, 31)
  octal(block, 329, 8, fields.major)
  octal(block, 337, 8, fields.minor)
  let sum = 0
  for (const byte of block) sum += byte
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, checksumAt, 'latin1')
  return block
}

function octal(block: Buffer, at: number, length: number, value: number): void {
  block.write(value.toString(8).padStart(length - 1, '0'), at, length - 1, 'latin1')
}
