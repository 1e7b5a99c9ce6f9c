/**
 * Objects as Kubernetes protobuf (`application/vnd.kubernetes.protobuf`; Kubernetes reference, "API concepts: protobuf
 * encoding"), which Go clients write by default. A body is the four bytes `k8s\0`, then a `runtime.Unknown` that names
 * apiVersion and kind and holds the object's message. Field numbers are facts of the kinds.
 */
import { Fault } from '#base/fault.ts'
import type { AnyField, ObjectShape, Shape } from './field.ts'
import type { Json, JsonObject, MutableJsonObject } from './json.ts'
import { emptyObject, isJsonArray, isJsonObject, textOf } from './json.ts'
import type { AnyKind } from './kind.ts'
import { bytesType, protoFields, ProtoWriter, varintType } from '#base/proto-wire.ts'
import type { ProtoField } from '#base/proto-wire.ts'
import { formatTime, parseTime } from './time-text.ts'

export const protobufMediaType = 'application/vnd.kubernetes.protobuf'
const magic = Buffer.from('k8s\0', 'latin1')

export interface Envelope {
  readonly apiVersion: string
  readonly kind: string
  /** The message of the object, without type information. */
  readonly raw: Buffer
}

export function encodeEnvelope({ apiVersion, kind, raw }: Envelope): Buffer {
  const unknown = new ProtoWriter()
  unknown.message(1, (typeMeta) => {
    typeMeta.string(1, apiVersion)
    typeMeta.string(2, kind)
  })
  unknown.bytes(2, raw)
  unknown.string(3, '')
  unknown.string(4, '')
  return Buffer.concat([magic, unknown.finish()])
}

/** Throws `invalidArgument` when the body is no Kubernetes protobuf. */
export function decodeEnvelope(body: Buffer): Envelope {
  if (!body.subarray(0, magic.length).equals(magic)) throw new Fault('invalidArgument', 'malformed protobuf: the body does not begin with the prefix of Kubernetes objects (k8s, NUL)')
  let [apiVersion, kind] = ['', '']
  let raw = Buffer.alloc(0)
  for (const field of protoFields(body.subarray(magic.length))) {
    if (field.number === 2) raw = Buffer.from(field.bytes)
    if (field.number !== 1) continue
    for (const inner of protoFields(field.bytes)) {
      if (inner.number === 1) apiVersion = utf8(inner.bytes)
      if (inner.number === 2) kind = utf8(inner.bytes)
    }
  }
  return { apiVersion, kind, raw }
}

/** An object of a kind with its envelope. */
export function encodeObject(kind: AnyKind, object: object): Buffer {
  return encodeEnvelope({ apiVersion: kind.apiVersion, kind: kind.kind, raw: encodeMessage(kind.schema, object) })
}

/** The submitted object in an envelope's message, with its apiVersion and kind. */
export function decodeObjectMessage(kind: AnyKind, raw: Buffer): JsonObject {
  return { apiVersion: kind.apiVersion, kind: kind.kind, ...decodeMessage(kind.schema, raw) }
}

/** A list of a kind with its envelope: `items` are messages that were encoded before, so that they can be shared. */
export function encodeList(kind: AnyKind, listMeta: AnyField, metadata: object, items: readonly Buffer[]): Buffer {
  const writer = new ProtoWriter()
  writer.bytes(1, encodeMessage(listMeta, metadata))
  for (const item of items) writer.bytes(2, item)
  return encodeEnvelope({ apiVersion: kind.apiVersion, kind: kind.listKind, raw: writer.finish() })
}

/** One frame of a watch: length, then a WatchEvent without an envelope of its own, whose object is an enveloped object. */
export function encodeWatchFrame(type: string, object: Buffer): Buffer {
  const event = new ProtoWriter()
  event.string(1, type)
  event.message(2, (rawExtension) => rawExtension.bytes(1, object))
  const message = event.finish()
  const frame = Buffer.alloc(4)
  frame.writeUInt32BE(message.length)
  return Buffer.concat([frame, message])
}

/** The message of an object field (Status, DeleteOptions, …), without an envelope. */
export function encodeMessage(field: AnyField, object: object): Buffer {
  const writer = new ProtoWriter()
  writeObject(writer, planOf(field.facts.shape), object as JsonObject)
  return writer.finish()
}

/** Unknown field numbers are skipped, as newer clients may send them. */
export function decodeMessage(field: AnyField, message: Buffer): JsonObject {
  return readObject(planOf(field.facts.shape), message)
}

/** What stands under each field number of a message: a field, or the message of fields that JSON has inline. */
interface Plan {
  readonly entries: ReadonlyMap<number, PlanEntry>
}
type PlanEntry = { readonly name: string; readonly shape: Shape } | { readonly inline: Plan }

const plans = new WeakMap<ObjectShape, Plan>()

function planOf(shape: Shape): Plan {
  if (shape.type !== 'object') throw new TypeError(`expected an object, got ${shape.type}`)
  const known = plans.get(shape)
  if (known !== undefined) return known
  const fields = shape.entries.map(([name, { facts }]): Placed => ({ name, shape: facts.shape, path: facts.proto }))
  const plan = planFrom(fields)
  plans.set(shape, plan)
  return plan
}

interface Placed {
  readonly name: string
  readonly shape: Shape
  readonly path: readonly number[]
}

function planFrom(fields: readonly Placed[]): Plan {
  const entries = new Map<number, PlanEntry>()
  const inline = new Map<number, Placed[]>()
  for (const { name, shape, path } of fields) {
    const [head, ...rest] = path
    if (head === undefined) continue
    if (rest.length === 0) entries.set(head, { name, shape })
    else inline.set(head, [...(inline.get(head) ?? []), { name, shape, path: rest }])
  }
  for (const [number, members] of inline) entries.set(number, { inline: planFrom(members) })
  return { entries: new Map([...entries].sort(([a], [b]) => a - b)) }
}

function writeObject(writer: ProtoWriter, plan: Plan, object: JsonObject): void {
  for (const [number, entry] of plan.entries) {
    if ('inline' in entry) {
      const inner = new ProtoWriter()
      writeObject(inner, entry.inline, object)
      const bytes = inner.finish()
      if (bytes.length > 0) writer.bytes(number, bytes)
      continue
    }
    const value = object[entry.name]
    if (value !== undefined && value !== null) writeValue(writer, number, entry.shape, value)
  }
}

function writeValue(writer: ProtoWriter, number: number, shape: Shape, value: Json): void {
  switch (shape.type) {
    case 'string':
      return writer.string(number, textOf(value))
    case 'integer':
      return writer.varint(number, BigInt(Number(value)))
    case 'boolean':
      return writer.varint(number, value === true ? 1 : 0)
    case 'bytes':
      return writer.bytes(number, Buffer.from(textOf(value), 'base64'))
    case 'quantity':
      return writer.message(number, (inner) => inner.string(1, textOf(value)))
    case 'intOrString':
      return writer.message(number, (inner) => {
        inner.varint(1, typeof value === 'string' ? 1 : 0)
        if (typeof value === 'string') inner.string(3, value)
        else inner.varint(2, Number(value))
      })
    case 'time':
      return writer.message(number, (inner) => writeTime(inner, textOf(value)))
    case 'raw':
      return writer.message(number, (inner) => inner.bytes(1, Buffer.from(JSON.stringify(value), 'utf8')))
    case 'object':
      return writer.message(number, (inner) => writeObject(inner, planOf(shape), isJsonObject(value) ? value : {}))
    case 'list':
      for (const item of isJsonArray(value) ? value : []) writeValue(writer, number, shape.of.facts.shape, item)
      return
    case 'map':
      for (const [key, item] of Object.entries(isJsonObject(value) ? value : {})) {
        writer.message(number, (entry) => {
          entry.string(1, key)
          if (item !== undefined) writeValue(entry, 2, shape.of.facts.shape, item)
        })
      }
  }
}

function writeTime(writer: ProtoWriter, text: string): void {
  const parsed = parseTime(text)
  if (parsed === undefined) return
  writer.varint(1, parsed.seconds)
  writer.varint(2, parsed.nanos)
}

function readObject(plan: Plan, message: Buffer): MutableJsonObject {
  const object: MutableJsonObject = {}
  readInto(object, plan, message)
  return object
}

function readInto(object: MutableJsonObject, plan: Plan, message: Buffer): void {
  for (const field of protoFields(message)) {
    const entry = plan.entries.get(field.number)
    if (entry === undefined) continue
    if ('inline' in entry) readInto(object, entry.inline, lengthDelimited(field, 'an inlined message'))
    else readField(object, entry.name, entry.shape, field)
  }
}

function lengthDelimited(field: ProtoField, what: string): Buffer {
  if (field.type !== bytesType) throw new Fault('invalidArgument', `malformed protobuf: field ${field.number} (${what}) has wire type ${field.type}`)
  return field.bytes
}

function readField(object: MutableJsonObject, name: string, shape: Shape, field: ProtoField): void {
  if (shape.type === 'list') {
    const known = object[name]
    object[name] = [...(isJsonArray(known) ? known : []), ...readItems(shape.of.facts.shape, field)]
  } else if (shape.type === 'map') {
    const known = object[name]
    const map = isJsonObject(known) ? known : emptyObject()
    object[name] = Object.assign(map, readEntry(shape.of.facts.shape, lengthDelimited(field, name)))
  } else {
    const value = readValue(shape, field)
    if (value !== undefined) object[name] = value
  }
}

/** One item, or several when numbers come packed. */
function readItems(shape: Shape, field: ProtoField): Json[] {
  const packed = (shape.type === 'integer' || shape.type === 'boolean') && field.type === bytesType
  if (!packed) return [readValue(shape, field) ?? null]
  const items: Json[] = []
  let value = 0n
  let shift = 0n
  for (const byte of field.bytes) {
    value |= BigInt(byte & 0x7f) << shift
    shift += 7n
    if (byte >= 0x80) continue
    items.push(readValue(shape, { number: field.number, type: varintType, value, bytes: field.bytes }) ?? null)
    value = 0n
    shift = 0n
  }
  return items
}

function readEntry(shape: Shape, message: Buffer): JsonObject {
  const entry = emptyObject()
  let key = ''
  let value: Json | undefined = shape.type === 'quantity' ? '0' : ''
  for (const field of protoFields(message)) {
    if (field.number === 1) key = utf8(lengthDelimited(field, 'a map key'))
    if (field.number === 2) value = readValue(shape, field)
  }
  entry[key] = value
  return entry
}

function readValue(shape: Shape, field: ProtoField): Json | undefined {
  switch (shape.type) {
    case 'string':
      return utf8(lengthDelimited(field, 'a string'))
    case 'integer':
      return safeInteger(BigInt.asIntN(shape.bits, field.value))
    case 'boolean':
      return field.value !== 0n
    case 'bytes':
      return lengthDelimited(field, 'bytes').toString('base64')
    case 'quantity':
      return readQuantity(lengthDelimited(field, 'a quantity'))
    case 'intOrString':
      return readIntOrString(lengthDelimited(field, 'a number or string'))
    case 'time':
      return readTime(lengthDelimited(field, 'a time'), shape.precision)
    case 'raw':
      return readRaw(lengthDelimited(field, 'raw JSON'))
    case 'object':
      return readObject(planOf(shape), lengthDelimited(field, shape.name))
    case 'list':
    case 'map':
      throw new TypeError('protobuf knows no list of lists')
  }
}

function utf8(bytes: Buffer): string {
  return bytes.toString('utf8')
}

function safeInteger(value: bigint): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new Fault('invalidArgument', `the integer ${value} is beyond what these fields hold (2^53)`)
  return number
}

function readQuantity(message: Buffer): Json {
  for (const field of protoFields(message)) if (field.number === 1) return utf8(field.bytes)
  return '0'
}

function readIntOrString(message: Buffer): Json {
  let [type, int, text] = [0n, 0n, '']
  for (const field of protoFields(message)) {
    if (field.number === 1) type = field.value
    if (field.number === 2) int = field.value
    if (field.number === 3) text = utf8(field.bytes)
  }
  return type === 0n ? safeInteger(BigInt.asIntN(32, int)) : text
}

/** 9999-12-31, the last year that RFC 3339 can write. */
const latestSeconds = 253_402_300_799

/** An empty message is no time at all. */
function readTime(message: Buffer, precision: 'seconds' | 'micros'): Json | undefined {
  if (message.length === 0) return undefined
  let [seconds, nanos] = [0n, 0n]
  for (const field of protoFields(message)) {
    if (field.number === 1) seconds = BigInt.asIntN(64, field.value)
    if (field.number === 2) nanos = BigInt.asIntN(32, field.value)
  }
  if (!(Math.abs(Number(seconds)) <= latestSeconds)) throw new Fault('invalidArgument', `malformed protobuf: ${seconds} is no time`)
  return formatTime({ seconds: Number(seconds), nanos: Math.max(0, Number(nanos)) }, precision)
}

function readRaw(message: Buffer): Json | undefined {
  for (const field of protoFields(message)) {
    if (field.number === 1) return parseRaw(utf8(field.bytes))
  }
  return undefined
}

function parseRaw(text: string): Json {
  try {
    const value: Json = JSON.parse(text)
    return value
  } catch (cause) {
    throw new Fault('invalidArgument', 'malformed protobuf: a raw field does not hold JSON', { cause })
  }
}
