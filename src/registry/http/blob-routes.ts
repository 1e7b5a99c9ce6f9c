/** Blobs over HTTP (distribution-spec "Pulling blobs", "Deleting Blobs"): streamed or by sendfile, never one in memory. */
import { pipeline } from 'node:stream/promises'
import { Fault } from '#base/fault.ts'
import { sendEmpty } from '#base/http.ts'
import type { Digest } from '#oci/digest.ts'
import { parseDigest } from '#oci/digest.ts'
import { ArrivingBlob } from './arriving-blob.ts'
import type { Call, Rooms, Routes } from './call.ts'
import { repositoryOf } from './call.ts'
import type { ByteRange } from './content-range.ts'
import { parseRange } from './content-range.ts'
import { sendFile } from './send-file.ts'

export function blobRoutes(rooms: Rooms): Routes {
  const path = '/v2/:name+/blobs/:digest'
  return [
    ['HEAD', path, (call) => head(rooms, call)],
    ['GET', path, (call) => get(rooms, call)],
    ['DELETE', path, (call) => remove(rooms, call)],
  ]
}

async function head(rooms: Rooms, call: Call): Promise<void> {
  const { repositories, auth } = rooms
  const repository = repositoryOf(rooms, call, 'pull')
  const digest = parseDigest(call.params['digest'], 'digest')
  // Who may push and asks whether it is here will build on the answer.
  if (auth.may(call.caller, 'push', repository)) await repositories.keepBlob(repository, digest)
  await rooms.mirror.bringBlob(repository, digest)
  const { range, sizeBytes } = await find(rooms, call, { repository, digest })
  call.res.writeHead(range === undefined ? 200 : 206, headersOf(digest, sizeBytes, range))
  call.res.end()
}

async function get(rooms: Rooms, call: Call): Promise<void> {
  const { content } = rooms
  const repository = repositoryOf(rooms, call, 'pull')
  const digest = parseDigest(call.params['digest'], 'digest')
  const happened = (sizeBytes: number): void => rooms.happened({ action: 'pull', repository, digest, sizeBytes, mediaType: 'application/octet-stream' }, call)
  const arriving = new ArrivingBlob(call.res, rooms.clock, (sizeBytes) => headersOf(digest, sizeBytes, undefined))
  await rooms.mirror.bringBlob(repository, digest, call.req.headers.range === undefined ? arriving : undefined)
  if (call.res.headersSent) {
    arriving.end()
    return happened(arriving.sizeBytes)
  }
  const { range, sizeBytes } = await find(rooms, call, { repository, digest })
  const status = range === undefined ? 200 : 206
  const path = content.path(digest)
  if (path !== undefined) {
    call.res.writeHead(status, headersOf(digest, sizeBytes, range))
    await sendFile({ path, ...(range ?? { start: 0, end: sizeBytes }) }, call.res, rooms.sendfile)
  } else {
    const body = await content.open(digest, range ?? {})
    call.res.writeHead(status, headersOf(digest, sizeBytes, range))
    await pipeline(body, call.res)
  }
  happened(sizeBytes)
}

async function find(rooms: Rooms, call: Call, { repository, digest }: { readonly repository: string; readonly digest: Digest }): Promise<{ readonly sizeBytes: number; readonly range: ByteRange | undefined }> {
  const stat = (await rooms.repositories.hasBlob(repository, digest)) ? await rooms.content.stat(digest) : undefined
  if (stat === undefined) throw await unknownBlob(rooms, repository, digest)
  return { sizeBytes: stat.sizeBytes, range: parseRange(call.req.headers.range, stat.sizeBytes) }
}

async function remove(rooms: Rooms, call: Call): Promise<void> {
  const repository = repositoryOf(rooms, call, 'delete')
  const digest = parseDigest(call.params['digest'], 'digest')
  if (!(await rooms.repositories.unlinkBlob(repository, digest))) throw await unknownBlob(rooms, repository, digest)
  rooms.quotas.forget(repository)
  sendEmpty(call.res, { status: 202 })
  rooms.happened({ action: 'delete', repository, digest }, call)
}

async function unknownBlob(rooms: Rooms, repository: string, digest: Digest): Promise<Fault> {
  if (!(await rooms.repositories.exists(repository))) return new Fault('notFound', `repository '${repository}' is unknown to this registry`, { details: { reason: 'NAME_UNKNOWN' } })
  return new Fault('notFound', `blob ${digest} is unknown to repository '${repository}'`, { details: { reason: 'BLOB_UNKNOWN' } })
}

function headersOf(digest: Digest, sizeBytes: number, range: ByteRange | undefined): Readonly<Record<string, string | number>> {
  return {
    'Content-Type': 'application/octet-stream', 'Docker-Content-Digest': digest, ETag: `"${digest}"`, 'Accept-Ranges': 'bytes', 'Cache-Control': 'max-age=31536000',
    'Content-Length': range === undefined ? sizeBytes : range.end - range.start,
    ...(range === undefined ? {} : { 'Content-Range': `bytes ${range.start}-${range.end - 1}/${sizeBytes}` }),
  }
}
