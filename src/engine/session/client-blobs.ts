/**
 * Blobs of an OCI layout on a client's machine, by its session (containerd `api/services/content/v1/content.proto`; moby/buildkit
 * `session/content`): caches that are imported from there, and exported to there.
 */
import { isFault } from '#base/fault.ts'
import type { CallOptions, GrpcCall } from '#base/grpc.ts'
import { ProtoMessage, ProtoWriter } from '#base/proto-wire.ts'
import { randomHex, systemRandom } from '#base/random.ts'
import type { LentBlobs } from '../contract/builds.ts'

/** `WriteAction`. */
const actions = { stat: 0, write: 1, commit: 2 } as const

/** Of one message. */
const chunkBytes = 1 << 20

/** `store`: as the client calls the layout. */
export function clientBlobs(open: (method: string, options: CallOptions) => GrpcCall, store: string): LentBlobs {
  const call = (method: 'Read' | 'Write', signal: AbortSignal): GrpcCall => open(`/containerd.services.content.v1.Content/${method}`, { metadata: { 'buildkit-attachable-store-id': store }, signal })
  return {
    async *read(digest, signal) {
      const reading = call('Read', signal)
      const request = new ProtoWriter()
      request.string(1, digest)
      await reading.send(request.finish())
      reading.end()
      for await (const answer of reading.receive()) yield new ProtoMessage(answer).bytes(2)
    },
    async write({ digest, sizeBytes }, content, signal) {
      const writing = new BlobWriting(call('Write', signal), { digest, sizeBytes })
      try {
        await writing.carry(content)
      } catch (error) {
        if (!isFault(error, 'alreadyExists')) throw error
      }
    },
  }
}

class BlobWriting {
  readonly #call: GrpcCall
  readonly #blob: { readonly digest: string; readonly sizeBytes: number }
  readonly #answers: AsyncGenerator<Buffer>
  /** Nobody else's unfinished writing is taken up. */
  readonly #ref = `berth-${randomHex(systemRandom, 24)}`
  #offset = 0

  constructor(call: GrpcCall, blob: { readonly digest: string; readonly sizeBytes: number }) {
    this.#call = call
    this.#blob = blob
    this.#answers = call.receive()
  }

  async carry(content: AsyncIterable<Buffer>): Promise<void> {
    try {
      await this.#step('stat')
      for await (const chunk of content) {
        for (let from = 0; from < chunk.length; from += chunkBytes) {
          const data = chunk.subarray(from, from + chunkBytes)
          await this.#step('write', data)
          this.#offset += data.length
        }
      }
      await this.#step('commit')
      this.#call.end()
    } finally {
      await this.#answers.return(undefined)
    }
  }

  /** Each is answered before the next. */
  async #step(action: keyof typeof actions, data?: Buffer): Promise<void> {
    const request = new ProtoWriter()
    if (actions[action] !== 0) request.varint(1, actions[action])
    request.string(2, this.#ref)
    request.varint(3, this.#blob.sizeBytes)
    request.string(4, this.#blob.digest)
    request.varint(5, this.#offset)
    if (data !== undefined) request.bytes(6, data)
    await this.#call.send(request.finish())
    // An end without an answer is a status, which is thrown.
    await this.#answers.next()
  }
}
