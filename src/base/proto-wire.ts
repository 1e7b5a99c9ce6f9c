/** Protocol Buffers wire format (protobuf.dev, "Encoding"): a writer and a bounds-checked reader of fields. */
import { Fault } from './fault.ts'

export const varintType = 0
const fixed64Type = 1
export const bytesType = 2
const fixed32Type = 5

/** Collects the fields of one message. */
export class ProtoWriter {
  readonly #parts: Buffer[] = []
  #length = 0

  #push(part: Buffer): void {
    this.#parts.push(part)
    this.#length += part.length
  }

  #tag(number: number, type: number): void {
    this.#push(varintBytes(BigInt(number * 8 + type)))
  }

  /** Negative numbers take ten bytes, as int32 and int64 do. */
  varint(number: number, value: number | bigint): void {
    this.#tag(number, varintType)
    this.#push(varintBytes(BigInt.asUintN(64, BigInt(value))))
  }

  bytes(number: number, value: Buffer): void {
    this.#tag(number, bytesType)
    this.#push(varintBytes(BigInt(value.length)))
    this.#push(value)
  }

  string(number: number, value: string): void {
    this.bytes(number, Buffer.from(value, 'utf8'))
  }

  message(number: number, fill: (writer: ProtoWriter) => void): void {
    const inner = new ProtoWriter()
    fill(inner)
    this.bytes(number, inner.finish())
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts, this.#length)
  }
}

function varintBytes(value: bigint): Buffer {
  if (value < 0x80n) return Buffer.of(Number(value))
  const bytes: number[] = []
  let rest = value
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  bytes.push(Number(rest))
  return Buffer.from(bytes)
}

export interface ProtoField {
  readonly number: number
  readonly type: number
  /** For varints. */
  readonly value: bigint
  /** For length-delimited fields; a view, not a copy. */
  readonly bytes: Buffer
}

const nothing = Buffer.alloc(0)
const malformed = (what: string): Fault => new Fault('invalidArgument', `malformed protobuf: ${what}`)

/** The fields of a message in order. Throws `invalidArgument` for what is cut short or of an unknown wire type. */
export function* protoFields(message: Buffer): Generator<ProtoField> {
  let at = 0
  const readVarint = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[at++]
      if (byte === undefined) throw malformed('a number is cut short')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    throw malformed('a number is longer than ten bytes')
  }
  const take = (length: number): Buffer => {
    if (length > message.length - at) throw malformed(`a field of ${length} bytes is cut short`)
    at += length
    return message.subarray(at - length, at)
  }
  while (at < message.length) {
    const tag = Number(readVarint())
    const number = Math.floor(tag / 8)
    const type = tag % 8
    if (number === 0) throw malformed('field number 0')
    if (type === varintType) yield { number, type, value: readVarint(), bytes: nothing }
    else if (type === bytesType) yield { number, type, value: 0n, bytes: take(Number(readVarint())) }
    else if (type === fixed64Type) yield { number, type, value: 0n, bytes: take(8) }
    else if (type === fixed32Type) yield { number, type, value: 0n, bytes: take(4) }
    else throw malformed(`wire type ${type}`)
  }
}

/** Fields of one message that are looked at; no message of ours has nearly as many. */
const maxFields = 100_000

/** A message whose fields are asked for by number. What is absent is empty, as proto3 has it. */
export class ProtoMessage {
  readonly #fields = new Map<number, ProtoField[]>()

  constructor(message: Buffer) {
    let count = 0
    for (const field of protoFields(message)) {
      count += 1
      if (count > maxFields) throw malformed(`more than ${maxFields} fields`)
      const known = this.#fields.get(field.number)
      if (known === undefined) this.#fields.set(field.number, [field])
      else known.push(field)
    }
  }

  has(number: number): boolean {
    return this.#fields.has(number)
  }

  integer(number: number): bigint {
    return BigInt.asIntN(64, this.#fields.get(number)?.at(-1)?.value ?? 0n)
  }

  boolean(number: number): boolean {
    return this.integer(number) !== 0n
  }

  bytes(number: number): Buffer {
    return this.#fields.get(number)?.at(-1)?.bytes ?? nothing
  }

  string(number: number): string {
    return this.bytes(number).toString('utf8')
  }

  strings(number: number): readonly string[] {
    return (this.#fields.get(number) ?? []).map(({ bytes }) => bytes.toString('utf8'))
  }

  /** Of a repeated field; views, not copies. */
  blobs(number: number): readonly Buffer[] {
    return (this.#fields.get(number) ?? []).map(({ bytes }) => bytes)
  }

  message(number: number): ProtoMessage {
    return new ProtoMessage(this.bytes(number))
  }

  messages(number: number): readonly ProtoMessage[] {
    return (this.#fields.get(number) ?? []).map(({ bytes }) => new ProtoMessage(bytes))
  }

  /** `map<string, string>`. */
  stringMap(number: number): ReadonlyMap<string, string> {
    return new Map(this.messages(number).map((entry) => [entry.string(1), entry.string(2)]))
  }

  /** `map<string, M>`. */
  messageMap(number: number): ReadonlyMap<string, ProtoMessage> {
    return new Map(this.messages(number).map((entry) => [entry.string(1), entry.message(2)]))
  }
}
