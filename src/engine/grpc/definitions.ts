/**
 * LLB definitions (moby/buildkit `solver/pb/ops.proto`). Builds here are made of Dockerfiles alone; a definition only ever stands for the
 * result of an earlier build, so that clients can hand it on as the context of another (`target:` of bake).
 */
import { createHash } from 'node:crypto'
import { Fault } from '#base/fault.ts'
import { ProtoMessage, ProtoWriter } from '#base/proto-wire.ts'

const scheme = 'berth-result://'

/** A source that nobody but this engine can read, and the operation that names it as what is wanted. */
export function definitionOf(resultId: string): Buffer {
  const source = new ProtoWriter()
  source.message(3, (op) => op.string(1, `${scheme}${resultId}`))
  const sourceBytes = source.finish()
  const wanted = new ProtoWriter()
  wanted.message(1, (input) => input.string(1, digestOf(sourceBytes)))
  const wantedBytes = wanted.finish()
  const definition = new ProtoWriter()
  definition.bytes(1, sourceBytes)
  definition.bytes(1, wantedBytes)
  for (const bytes of [sourceBytes, wantedBytes]) {
    definition.message(2, (entry) => {
      entry.string(1, digestOf(bytes))
      entry.bytes(2, Buffer.alloc(0))
    })
  }
  return definition.finish()
}

/** The result that a definition stands for. `unimplemented` for any other. */
export function resultIdOf(definition: ProtoMessage): string {
  for (const bytes of definition.blobs(1)) {
    const identifier = new ProtoMessage(bytes).message(3).string(1)
    if (identifier.startsWith(scheme)) return identifier.slice(scheme.length)
  }
  throw unsupported()
}

/**
 * The address that a definition fetches: what clients look into before they build from it. `unimplemented` for one that does anything else
 * than fetch, or unpack what it has fetched.
 */
export function sourceUrlOf(definition: ProtoMessage): string {
  const operations = definition.blobs(1).map((bytes) => new ProtoMessage(bytes))
  const sources = operations.filter((operation) => operation.has(3)).map((operation) => operation.message(3))
  const [source] = sources
  const isOther = operations.some((operation) => [2, 5, 6, 7, 8].some((field) => operation.has(field)))
  const identifier = source?.string(1) ?? ''
  if (sources.length === 1 && !isOther) {
    if (/^https?:\/\//.test(identifier)) return identifier
    if (identifier.startsWith('git://')) {
      const [remote = '', fragment] = identifier.split('#')
      const url = source?.stringMap(2).get('git.fullurl') ?? remote
      return fragment === undefined ? url : `${url}#${fragment}`
    }
  }
  throw unsupported()
}

function unsupported(): Fault {
  return new Fault('unimplemented', 'LLB definitions are not supported: this engine builds Dockerfiles (frontend dockerfile.v0)')
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
