/** Uploads over HTTP (distribution-spec "Pushing blobs"): monolithic, in chunks, streamed, mounted from another repository. */
import { asFault, Fault, isFault } from '#base/fault.ts'
import { sendEmpty, signalOf } from '#base/http.ts'
import type { Digest, DigestAlgorithm } from '#oci/digest.ts'
import { digestAlgorithm, parseDigest } from '#oci/digest.ts'
import { isRepository } from '#oci/reference.ts'
import type { Chunk, UploadKey } from '../uploads.ts'
import type { Call, Rooms, Routes } from './call.ts'
import { repositoryOf } from './call.ts'
import { parseContentRange } from './content-range.ts'

/** Repositories that are searched for a blob when a client does not say where it is. */
const maxSearched = 100

export function uploadRoutes(rooms: Rooms): Routes {
  const path = '/v2/:name+/blobs/uploads/:id'
  return [
    ['POST', '/v2/:name+/blobs/uploads/', (call) => begin(rooms, call)],
    ['POST', '/v2/:name+/blobs/uploads', (call) => begin(rooms, call)],
    ['GET', path, (call) => status(rooms, call)],
    ['PATCH', path, (call) => append(rooms, call)],
    ['PUT', path, (call) => finish(rooms, call)],
    ['DELETE', path, (call) => cancel(rooms, call)],
  ]
}

async function begin(rooms: Rooms, call: Call): Promise<void> {
  const repository = repositoryOf(rooms, call, 'push')
  const mount = call.query.get('mount')
  if (mount !== null && (await mounted(rooms, call, { repository, digest: parseDigest(mount, 'mount') }))) return
  await rooms.quotas.room(repository)
  const asked = call.query.get('digest')
  const digest = asked === null ? undefined : parseDigest(asked, 'the query parameter digest')
  const id = await rooms.uploads.begin(repository, digest === undefined ? algorithmOf(call.query.get('digest-algorithm')) : digestAlgorithm(digest))
  if (digest !== undefined) return await commit(rooms, call, { repository, id, digest })
  sendEmpty(call.res, { status: 202, headers: uploadHeaders({ repository, id }, 0) })
}

function algorithmOf(text: string | null): DigestAlgorithm {
  if (text === null || text === 'sha256' || text === 'sha512') return text ?? 'sha256'
  throw new Fault('invalidArgument', `digest-algorithm='${text.slice(0, 100)}' is unknown here: expected sha256 or sha512`, { details: { reason: 'DIGEST_INVALID' } })
}

/**
 * Cross-repository mount: only of what the caller could pull somewhere, be it that the client does not say where. The engine may mount
 * whatever is stored.
 */
async function mounted(rooms: Rooms, call: Call, { repository, digest }: { readonly repository: string; readonly digest: Digest }): Promise<boolean> {
  const { repositories, content } = rooms
  const isVisible = call.caller.isEngine || (await repositories.hasBlob(repository, digest)) || (await isVisibleFrom(rooms, call, digest))
  if (!isVisible || !(await content.keep(digest))) return false
  await rooms.quotas.room(repository)
  await repositories.linkBlob(repository, digest)
  const sizeBytes = (await content.stat(digest))?.sizeBytes ?? 0
  rooms.quotas.add(repository, sizeBytes)
  sendEmpty(call.res, { status: 201, headers: blobHeaders(repository, digest) })
  rooms.happened({ action: 'mount', repository, digest, sizeBytes, mediaType: 'application/octet-stream' }, call)
  return true
}

async function isVisibleFrom({ auth, repositories }: Rooms, call: Call, digest: Digest): Promise<boolean> {
  const from = call.query.get('from')
  const holds = async (name: string): Promise<boolean> => auth.may(call.caller, 'pull', name) && (await repositories.hasBlob(name, digest))
  if (from !== null) return isRepository(from) && (await holds(from))
  let left = maxSearched
  for await (const name of repositories.walk()) {
    if (left-- === 0) return false
    if (await holds(name)) return true
  }
  return false
}

function keyOf(rooms: Rooms, call: Call): UploadKey {
  return { repository: repositoryOf(rooms, call, 'push'), id: call.params['id'] ?? '' }
}

async function status(rooms: Rooms, call: Call): Promise<void> {
  const key = keyOf(rooms, call)
  sendEmpty(call.res, { status: 204, headers: uploadHeaders(key, await rooms.uploads.offset(key)) })
}

async function append(rooms: Rooms, call: Call): Promise<void> {
  const key = keyOf(rooms, call)
  const offset = await inOrder(key, async () => rooms.uploads.append(key, await chunkOf(rooms, call, key)))
  sendEmpty(call.res, { status: 202, headers: uploadHeaders(key, offset) })
}

async function finish(rooms: Rooms, call: Call): Promise<void> {
  const key = keyOf(rooms, call)
  const digest = parseDigest(call.query.get('digest') ?? undefined, 'the query parameter digest')
  await commit(rooms, call, { ...key, digest })
}

async function commit(rooms: Rooms, call: Call, upload: UploadKey & { readonly digest: Digest }): Promise<void> {
  const { repository, digest } = upload
  let sizeBytes = 0
  await inOrder(upload, async () => {
    const chunk = call.req.headers['content-length'] === '0' ? undefined : await chunkOf(rooms, call, upload)
    await rooms.uploads.finish(upload, chunk, {
      expect: digest,
      link: async (blob) => {
        sizeBytes = blob.sizeBytes
        await rooms.repositories.linkBlob(repository, digest)
      },
    })
  })
  rooms.quotas.add(repository, sizeBytes)
  sendEmpty(call.res, { status: 201, headers: blobHeaders(repository, digest) })
  rooms.happened({ action: 'push', repository, digest, sizeBytes, mediaType: 'application/octet-stream' }, call)
}

async function cancel(rooms: Rooms, call: Call): Promise<void> {
  await rooms.uploads.cancel(keyOf(rooms, call))
  sendEmpty(call.res, { status: 204 })
}

/** The request's body with the place that its range says. */
async function chunkOf(rooms: Rooms, call: Call, key: UploadKey): Promise<Chunk> {
  const range = await rangeOf(rooms, call, key)
  const maxBytes = await rooms.quotas.room(key.repository)
  const length = Number(call.req.headers['content-length'] ?? 0)
  if (maxBytes !== undefined && length > maxBytes) throw new Fault('tooLarge', `${length} bytes are sent, and there is room for ${maxBytes}`)
  // A body that is not read to its end leaves its connection for the answer.
  return { source: call.req.iterator({ destroyOnReturn: false }), isGiven: true, signal: signalOf(call.res), ...(range === undefined ? {} : { start: range }), ...(maxBytes === undefined ? {} : { maxBytes }) }
}

async function rangeOf(rooms: Rooms, call: Call, key: UploadKey): Promise<number | undefined> {
  const refuse = async (message: string): Promise<Fault> => new Fault('rangeNotSatisfiable', message, { details: { offset: await rooms.uploads.offset(key) } })
  try {
    const range = parseContentRange(call.req.headers['content-range'])
    const length = call.req.headers['content-length']
    if (range !== undefined && length !== undefined && Number(length) !== range.end - range.start) throw await refuse(`the chunk is ${length} bytes long, but its range says ${range.end - range.start}`)
    return range?.start
  } catch (error) {
    throw isFault(error, 'rangeNotSatisfiable') && error.details['offset'] === undefined ? await refuse(asFault(error).message) : error
  }
}

/** Tells a client whose chunk is out of order where the upload stands. */
async function inOrder<T>(key: UploadKey, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    // Nothing but a quota bounds an upload.
    if (isFault(error, 'tooLarge')) throw new Fault('permissionDenied', `quota exceeded: ${error.message}`, { cause: error, details: { reason: 'DENIED' } })
    const offset = isFault(error, 'rangeNotSatisfiable') ? error.details['offset'] : undefined
    if (typeof offset !== 'number') throw error
    const headers = uploadHeaders(key, offset)
    throw new Fault('rangeNotSatisfiable', asFault(error).message, { cause: error, details: { range: headers['Range'], location: headers['Location'] } })
  }
}

function blobHeaders(repository: string, digest: Digest): Readonly<Record<string, string>> {
  return { Location: `/v2/${repository}/blobs/${digest}`, 'Docker-Content-Digest': digest }
}

/** `Range` is inclusive; an empty upload says 0-0 as well, since there is no way to write none. */
function uploadHeaders({ repository, id }: UploadKey, offset: number): Readonly<Record<string, string>> {
  return { Location: `/v2/${repository}/blobs/uploads/${id}`, Range: `0-${Math.max(0, offset - 1)}`, 'Docker-Upload-UUID': id }
}
