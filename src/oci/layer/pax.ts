/** Pax extended headers (POSIX.1-2017 pax, "pax Header Block"): `length key=value\n` records whose values may be binary. */
import { archiveFault } from './entry.ts'

export type PaxRecords = Map<string, Buffer>

const space = 0x20
const equals = 0x3d
const newline = 0x0a

export function parsePax(block: Buffer): PaxRecords {
  const records: PaxRecords = new Map()
  for (let at = 0; at < block.length; ) {
    const gap = block.indexOf(space, at)
    const lengthText = gap < 0 ? '' : block.subarray(at, gap).toString('latin1')
    if (!/^[0-9]{1,9}$/.test(lengthText)) {
      // Some writers pad the header with zero bytes.
      if (block.subarray(at).every((byte) => byte === 0)) break
      throw archiveFault('a pax record does not start with its length')
    }
    const end = at + Number(lengthText)
    const mark = block.indexOf(equals, gap)
    if (end > block.length || mark < 0 || mark >= end || block[end - 1] !== newline) throw archiveFault('a pax record is not "length key=value" and a newline')
    records.set(block.subarray(gap + 1, mark).toString('utf8'), block.subarray(mark + 1, end - 1))
    at = end
  }
  return records
}

export function formatPax(records: PaxRecords): Buffer {
  const parts: Buffer[] = []
  for (const [key, value] of records) {
    const body = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')])
    let length = body.length + 1
    while (String(length).length + body.length !== length) length = String(length).length + body.length
    parts.push(Buffer.from(String(length)), body)
  }
  return Buffer.concat(parts)
}

/** `seconds[.fraction]`, perhaps negative, to nanoseconds. */
export function parsePaxTime(value: Buffer): bigint {
  const match = /^(-?)([0-9]{1,12})(?:\.([0-9]*))?$/.exec(value.toString('latin1'))
  if (match === null) throw archiveFault(`'${value.toString('latin1').slice(0, 40)}' is no pax time`)
  const fraction = (match[3] ?? '').slice(0, 9).padEnd(9, '0')
  const nanoseconds = BigInt(match[2] ?? '0') * 1_000_000_000n + BigInt(fraction)
  return match[1] === '-' ? -nanoseconds : nanoseconds
}

export function formatPaxTime(ns: bigint): string {
  const magnitude = ns < 0n ? -ns : ns
  const fraction = String(magnitude % 1_000_000_000n).padStart(9, '0').replace(/0+$/, '')
  return `${ns < 0n ? '-' : ''}${magnitude / 1_000_000_000n}${fraction === '' ? '' : `.${fraction}`}`
}

/** A whole decimal number below 2^53. */
export function parsePaxNumber(value: Buffer, key: string): number {
  const text = value.toString('latin1')
  const number = Number(text)
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(number)) throw archiveFault(`pax record ${key}: '${text.slice(0, 40)}' is no whole number`)
  return number
}
