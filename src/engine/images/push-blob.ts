/** One blob of a push: the cheapest way into the repository, and what is told of it. */
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import type { Gate } from '#base/task.ts'
import type { RegistryClient, UploadOutcome } from '#oci/client/registry-client.ts'
import type { Digest } from '#oci/digest.ts'
import { familiarName } from '#oci/reference.ts'
import type { Reference } from '#oci/reference.ts'
import type { TransferProgress } from '../contract/images.ts'
import type { ImageStore } from './image-store.ts'

export interface PushParts {
  readonly store: ImageStore
  readonly client: RegistryClient
  readonly gate: Gate
  /** The registry shares our blobs: nothing needs compressing. */
  readonly isLocal: boolean
}

export interface PushWork {
  /** With a tag. */
  readonly reference: Reference
  readonly onProgress: (progress: TransferProgress) => void
  readonly signal: AbortSignal
}

export interface PushedBlob {
  readonly digest: Digest
  /** What its progress is told under; nothing is told without it. */
  readonly id?: string
  /** A repository of the same registry that holds it. */
  readonly from?: string | undefined
}

export async function pushBlob(parts: PushParts, work: PushWork, { digest, id, from }: PushedBlob): Promise<void> {
  const { blobs } = parts.store.parts
  const { reference, onProgress, signal } = work
  const stat = await blobs.stat(digest)
  if (stat === undefined) throw new Fault('dataLoss', `blob ${digest} is missing: pull or load the image again`)
  const outcome = await parts.client.upload(reference.repository, {
    digest, sizeBytes: stat.sizeBytes, signal,
    ...(from === undefined ? {} : { from }),
    open: async () => {
      const source = await blobs.open(digest)
      return id === undefined ? source : counted(source, stat.sizeBytes, (currentBytes) => onProgress({ id, status: 'Pushing', currentBytes, totalBytes: stat.sizeBytes }))
    },
  })
  if (id !== undefined) onProgress({ id, status: outcomeWords(outcome, from === undefined ? reference : { ...reference, repository: from }) })
}

/** Another repository of the registry that has been seen to hold a layer: a name with a digest says so of all that belongs to its image. */
export function mountSource({ parts: { records } }: ImageStore, { registry, repository }: Reference, digest: Digest): string | undefined {
  const held = records.names.inRegistry(registry).filter((named) => named.repository !== repository)
  return held.find(({ id }) => {
    const { layers = [], compressed = [] } = records.get(id)?.record ?? {}
    return [...layers, ...compressed].some((layer) => layer.digest === digest)
  })?.repository
}

export function outcomeWords(outcome: UploadOutcome, source: Reference): string {
  switch (outcome) {
    case 'exists':
      return 'Layer already exists'
    case 'mounted':
      return `Mounted from ${familiarName(source)}`
    case 'uploaded':
      return 'Pushed'
    default:
      throw new Fault('internal', `unknown outcome ${String(outcome)}`)
  }
}

function counted(source: Readable, sizeBytes: number, onSent: (bytes: number) => void): Readable {
  const step = Math.max(256 * 1024, sizeBytes / 100)
  return Readable.from(
    (async function* () {
      let sent = 0
      let told = 0
      for await (const chunk of source) {
        const bytes: Buffer = chunk
        yield bytes
        sent += bytes.length
        if (sent - told < step) continue
        told = sent
        onSent(sent)
      }
    })(),
    { objectMode: false },
  )
}
