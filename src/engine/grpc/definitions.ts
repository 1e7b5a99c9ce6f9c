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
  throw new Fault('unimplemented', 'LLB definitions are not supported: this engine builds Dockerfiles (frontend dockerfile.v0)')
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
