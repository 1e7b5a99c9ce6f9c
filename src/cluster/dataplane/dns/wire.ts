/**
 * DNS messages on the wire (RFC 1035, EDNS RFC 6891, SRV RFC 2782). Queries are decoded by dns-packet; answers are written
 * here, with name compression, which that library lacks.
 */
import dnsPacket from 'dns-packet'
import type { DnsRecord } from './zone.ts'

export interface Query {
  readonly id: number
  readonly recursionDesired: boolean
  /** As asked, case kept: some resolvers check that it comes back so. */
  readonly name: string
  readonly type: string
  readonly typeCode: number
  readonly classCode: number
  /** Payload the asker can take over UDP; undefined without EDNS. */
  readonly udpBytes?: number
}

export type ReplyCode = 'NOERROR' | 'FORMERR' | 'SERVFAIL' | 'NXDOMAIN' | 'NOTIMP' | 'REFUSED'

export interface Reply {
  readonly code: ReplyCode
  readonly authoritative: boolean
  readonly answers: readonly DnsRecord[]
  readonly authorities: readonly DnsRecord[]
  readonly additionals: readonly DnsRecord[]
  readonly ttlSeconds: number
}

const codes: Record<ReplyCode, number> = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 }
const typeNumbers = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, TXT: 16, AAAA: 28, SRV: 33 } as const
const headerBytes = 12

/** A standard query with one question; otherwise the code to refuse it with, or undefined for what deserves no answer. */
export function decodeQuery(message: Buffer): Query | { readonly id: number; readonly refuse: ReplyCode } | undefined {
  if (message.length < headerBytes) return undefined
  const id = message.readUInt16BE(0)
  const flags = message.readUInt16BE(2)
  if ((flags & 0x8000) !== 0) return undefined
  if ((flags & 0x7800) !== 0) return { id, refuse: 'NOTIMP' }
  if (message.readUInt16BE(4) !== 1) return { id, refuse: 'FORMERR' }
  try {
    const packet = dnsPacket.decode(message)
    const [question] = packet.questions ?? []
    if (question === undefined) return { id, refuse: 'FORMERR' }
    const end = questionEnd(message)
    const options = (packet.additionals ?? []).find((record) => record.type === 'OPT')
    return {
      id,
      recursionDesired: (flags & 0x0100) !== 0,
      name: question.name,
      type: question.type,
      typeCode: message.readUInt16BE(end - 4),
      classCode: message.readUInt16BE(end - 2),
      ...(options !== undefined && 'udpPayloadSize' in options ? { udpBytes: options.udpPayloadSize } : {}),
    }
  } catch (error) {
    if (error instanceof Error) return { id, refuse: 'FORMERR' }
    throw error
  }
}

function questionEnd(message: Buffer): number {
  let at = headerBytes
  for (let length = message[at] ?? 0; length !== 0; length = message[at] ?? 0) {
    if ((length & 0xc0) !== 0) throw new RangeError('a question’s name is not compressed')
    at += length + 1
  }
  return at + 5
}

/** A refusal without a question, for queries that could not be read. */
export function encodeRefusal(id: number, code: ReplyCode): Buffer {
  const header = Buffer.alloc(headerBytes)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(0x8000 | codes[code], 2)
  return header
}

/** The reply; with more than `maxBytes` the answers are left out and the truncation bit asks for TCP. */
export function encodeReply(query: Query, reply: Reply, maxBytes: number): Buffer {
  const whole = encode(query, reply, false)
  if (whole.length <= maxBytes) return whole
  const bare = encode(query, { ...reply, additionals: [] }, false)
  if (bare.length <= maxBytes) return bare
  return encode(query, { ...reply, answers: [], authorities: [], additionals: [] }, true)
}

class Writer {
  readonly #chunks: number[] = []
  /** Where a name's tail stands already. */
  readonly #names = new Map<string, number>()

  get length(): number {
    return this.#chunks.length
  }

  bytes(...values: readonly number[]): void {
    this.#chunks.push(...values)
  }

  u16(value: number): void {
    this.bytes((value >> 8) & 0xff, value & 0xff)
  }

  u32(value: number): void {
    this.u16((value >>> 16) & 0xffff)
    this.u16(value & 0xffff)
  }

  name(name: string): void {
    const labels = name === '' ? [] : name.split('.')
    for (let at = 0; at < labels.length; at += 1) {
      const tail = labels.slice(at).join('.').toLowerCase()
      const known = this.#names.get(tail)
      if (known !== undefined) return this.u16(0xc000 | known)
      if (this.length < 0x3fff) this.#names.set(tail, this.length)
      const label = Buffer.from(labels[at] ?? '', 'utf8').subarray(0, 63)
      this.bytes(label.length, ...label)
    }
    this.bytes(0)
  }

  /** Two bytes of length before what `body` writes. */
  sized(body: () => void): void {
    const at = this.length
    this.u16(0)
    body()
    const size = this.length - at - 2
    this.#chunks[at] = (size >> 8) & 0xff
    this.#chunks[at + 1] = size & 0xff
  }

  toBuffer(): Buffer {
    return Buffer.from(this.#chunks)
  }
}

function encode(query: Query, reply: Reply, truncated: boolean): Buffer {
  const writer = new Writer()
  const { answers, authorities, additionals, ttlSeconds } = reply
  const withOptions = query.udpBytes !== undefined
  writer.u16(query.id)
  writer.u16(0x8000 | (reply.authoritative ? 0x0400 : 0) | (truncated ? 0x0200 : 0) | (query.recursionDesired ? 0x0100 : 0) | 0x0080 | codes[reply.code])
  for (const count of [1, answers.length, authorities.length, additionals.length + (withOptions ? 1 : 0)]) writer.u16(count)
  writer.name(query.name)
  writer.u16(query.typeCode)
  writer.u16(query.classCode)
  for (const record of [...answers, ...authorities, ...additionals]) writeRecord(writer, record, ttlSeconds)
  // The root, type OPT, our own payload size, no extended code or options.
  if (withOptions) writer.bytes(0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0)
  return writer.toBuffer()
}

function writeRecord(writer: Writer, record: DnsRecord, ttlSeconds: number): void {
  writer.name(record.name)
  writer.u16(typeNumbers[record.type])
  writer.u16(1)
  writer.u32(ttlSeconds)
  writer.sized(() => writeData(writer, record))
}

function writeData(writer: Writer, record: DnsRecord): void {
  switch (record.type) {
    case 'A':
      return writer.bytes(...record.address.split('.').map(Number))
    case 'AAAA':
      return writer.bytes(...ipv6Bytes(record.address))
    case 'CNAME':
    case 'PTR':
    case 'NS':
      return writer.name(record.target)
    case 'SRV':
      writer.u16(0)
      writer.u16(record.weight)
      writer.u16(record.port)
      // RFC 2782: the target is not compressed. A fresh writer knows no names.
      return writer.bytes(...uncompressed(record.target))
    case 'TXT': {
      const text = Buffer.from(record.text, 'utf8').subarray(0, 255)
      return writer.bytes(text.length, ...text)
    }
    case 'SOA':
      writer.name(record.primary)
      writer.name(record.mailbox)
      for (const value of [record.serial, 7200, 1800, 86_400, 5]) writer.u32(value)
      return
  }
}

function uncompressed(name: string): Buffer {
  const writer = new Writer()
  writer.name(name)
  return writer.toBuffer()
}

function ipv6Bytes(address: string): number[] {
  const [head = '', tail] = address.split('::')
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)))
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  const all = [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back]
  return all.flatMap((group) => [(group >> 8) & 0xff, group & 0xff])
}
