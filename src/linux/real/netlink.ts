/** Route netlink (rtnetlink(7)): message codec and a blocking request socket. Used in kernel workers only. */
import { endianness } from 'node:os'
import { errnoFault } from '../contract/errno.ts'
import { check, errnoName, libc, O_CLOEXEC } from './libc.ts'

if (endianness() !== 'LE') throw new Error('berth: netlink is written for little-endian machines')

const AF_NETLINK = 16
const SOCK_RAW = 3
const headerBytes = 16

const NLM_F_REQUEST = 1
const NLM_F_ACK = 4
const NLM_F_DUMP = 0x300
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const NLA_F_NESTED = 0x8000
const NLA_TYPE_MASK = 0x3fff

/** An attribute to send: bytes, or nested attributes. */
export interface Attribute {
  readonly type: number
  readonly value: Uint8Array | readonly Attribute[]
}

export interface Message {
  readonly type: number
  readonly flags: number
  /** The family's fixed header (ifinfomsg, ifaddrmsg, rtmsg). */
  readonly header: Uint8Array
  readonly attributes: readonly Attribute[]
  /** For the fault, e.g. `add address 10.0.0.1/8 to eth0`. */
  readonly what: string
}

export interface Reply {
  readonly type: number
  readonly payload: Buffer
}

export function u8(value: number): Uint8Array {
  return Uint8Array.of(value)
}

export function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}

/** With the closing zero byte that the kernel expects of names. */
export function text(value: string): Uint8Array {
  return Buffer.from(`${value}\0`)
}

function encodeAttributes(attributes: readonly Attribute[]): Buffer {
  return Buffer.concat(
    attributes.map(({ type, value }) => {
      const nested = !(value instanceof Uint8Array)
      const body = nested ? encodeAttributes(value) : value
      const bytes = Buffer.alloc((4 + body.length + 3) & ~3)
      bytes.writeUInt16LE(4 + body.length, 0)
      bytes.writeUInt16LE(nested ? type | NLA_F_NESTED : type, 2)
      bytes.set(body, 4)
      return bytes
    }),
  )
}

/** Attributes by type, from a buffer that starts at the first of them. The last of a kind wins. */
export function decodeAttributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>()
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at)
    if (length < 4 || at + length > bytes.length) break
    found.set(bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK, bytes.subarray(at + 4, at + length))
    at += (length + 3) & ~3
  }
  return found
}

function encode(message: Message, sequence: number): Buffer {
  const body = Buffer.concat([message.header, Buffer.alloc((4 - (message.header.length & 3)) & 3), encodeAttributes(message.attributes)])
  const bytes = Buffer.alloc(headerBytes + body.length)
  bytes.writeUInt32LE(bytes.length, 0)
  bytes.writeUInt16LE(message.type, 4)
  bytes.writeUInt16LE(message.flags, 6)
  bytes.writeUInt32LE(sequence, 8)
  bytes.set(body, headerBytes)
  return bytes
}

/** A socket in the namespace its thread was in when it was opened. */
export class NetlinkSocket implements Disposable {
  readonly #fd: number
  readonly #receive = Buffer.alloc(256 * 1024)
  #sequence = 0

  constructor() {
    this.#fd = check(libc.socket(AF_NETLINK, SOCK_RAW | O_CLOEXEC, 0), 'open a netlink socket')
    // The kernel answers within the send; a lost answer must not hang the worker for ever.
    const timeout = Buffer.alloc(16)
    timeout.writeBigInt64LE(5n, 0)
    check(libc.setsockopt(this.#fd, 1, 20, timeout, 16), 'set a netlink time-out')
  }

  /** Sends a change and waits for the kernel's acknowledgement. */
  change(message: Message): void {
    for (const reply of this.#exchange({ ...message, flags: message.flags | NLM_F_REQUEST | NLM_F_ACK })) failOnError(reply, message.what)
  }

  /** Asks for one object. */
  get(message: Message): Buffer {
    for (const reply of this.#exchange({ ...message, flags: message.flags | NLM_F_REQUEST })) {
      failOnError(reply, message.what)
      return reply.payload
    }
    throw errnoFault('ENOENT', message.what)
  }

  /** Asks for all objects. */
  dump(message: Message): Buffer[] {
    const found: Buffer[] = []
    for (const reply of this.#exchange({ ...message, flags: message.flags | NLM_F_REQUEST | NLM_F_DUMP })) {
      failOnError(reply, message.what)
      if (reply.type !== NLMSG_DONE) found.push(reply.payload)
    }
    return found
  }

  #exchange(message: Message): Reply[] {
    this.#sequence += 1
    const bytes = encode(message, this.#sequence)
    check(libc.send(this.#fd, bytes, bytes.length, 0), message.what)
    const dump = (message.flags & NLM_F_DUMP) === NLM_F_DUMP
    const replies: Reply[] = []
    for (;;) {
      const length = check(libc.recv(this.#fd, this.#receive, this.#receive.length, 0), message.what)
      const batch = decode(this.#receive.subarray(0, length), this.#sequence)
      replies.push(...batch)
      const last = batch.at(-1)
      if (last !== undefined && (!dump || last.type === NLMSG_DONE || last.type === NLMSG_ERROR)) return replies
    }
  }

  [Symbol.dispose](): void {
    libc.close(this.#fd)
  }
}

function decode(bytes: Buffer, sequence: number): Reply[] {
  const replies: Reply[] = []
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const length = bytes.readUInt32LE(at)
    if (length < headerBytes) break
    // A copy: the receive buffer is used again.
    if (bytes.readUInt32LE(at + 8) === sequence) replies.push({ type: bytes.readUInt16LE(at + 4), payload: Buffer.from(bytes.subarray(at + headerBytes, at + length)) })
    at += (length + 3) & ~3
  }
  return replies
}

function failOnError(reply: Reply, what: string): void {
  if (reply.type !== NLMSG_ERROR) return
  const code = reply.payload.readInt32LE(0)
  if (code !== 0) throw errnoFault(errnoName(-code), what)
}
