/** Manifests over HTTP (distribution-spec "Pulling manifests", "Pushing Manifests", "Deleting tags", "Deleting Manifests"). */
import { readBody, sendBytes, sendEmpty } from '#base/http.ts'
import { isDigest } from '#oci/digest.ts'
import { maxManifestBytes } from '#oci/manifest.ts'
import type { Call, Rooms, Routes } from './call.ts'
import { repositoryOf } from './call.ts'

export function manifestRoutes(rooms: Rooms): Routes {
  const path = '/v2/:name+/manifests/:reference'
  return [
    ['GET', path, (call) => get(rooms, call)],
    ['PUT', path, (call) => put(rooms, call)],
    ['DELETE', path, (call) => remove(rooms, call)],
  ]
}

async function get(rooms: Rooms, call: Call): Promise<void> {
  const repository = repositoryOf(rooms, call, 'pull')
  const reference = call.params['reference'] ?? ''
  await rooms.mirror.bringManifest(repository, reference)
  const { digest, mediaType, bytes } = await rooms.manifests.get(repository, reference)
  // Who may push and asks whether it is here will build on the answer.
  if (call.req.method === 'HEAD' && rooms.auth.may(call.caller, 'push', repository)) await rooms.repositories.keepManifest(repository, digest)
  const headers = { 'Docker-Content-Digest': digest, ETag: `"${digest}"` }
  const known = call.req.headers['if-none-match']
  if (known !== undefined && known.includes(digest)) return sendEmpty(call.res, { status: 304, headers })
  sendBytes(call.res, bytes, { contentType: mediaType, headers })
  if (call.req.method === 'GET') rooms.happened({ action: 'pull', repository, digest, mediaType, sizeBytes: bytes.length, ...tagOf(call) }, call)
}

async function put(rooms: Rooms, call: Call): Promise<void> {
  const repository = repositoryOf(rooms, call, 'push')
  const bytes = await readBody(call.req, { maxBytes: maxManifestBytes, what: 'manifest' })
  const reference = call.params['reference'] ?? ''
  const tags = call.query.getAll('tag')
  await rooms.quotas.room(repository)
  const { digest, mediaType, subject } = await rooms.manifests.put(repository, { reference, bytes, contentType: call.req.headers['content-type'], tags })
  sendEmpty(call.res, {
    status: 201,
    headers: {
      Location: `/v2/${repository}/manifests/${digest}`,
      'Docker-Content-Digest': digest,
      ...(subject === undefined ? {} : { 'OCI-Subject': subject }),
      ...(tags.length === 0 ? {} : { 'OCI-Tag': tags }),
    },
  })
  rooms.happened({ action: 'push', repository, digest, mediaType, sizeBytes: bytes.length, ...tagOf(call) }, call)
}

async function remove(rooms: Rooms, call: Call): Promise<void> {
  const repository = repositoryOf(rooms, call, 'delete')
  const reference = call.params['reference'] ?? ''
  await rooms.manifests.delete(repository, reference)
  rooms.quotas.forget(repository)
  sendEmpty(call.res, { status: 202 })
  rooms.happened({ action: 'delete', repository, ...(isDigest(reference) ? { digest: reference } : { tag: reference }) }, call)
}

function tagOf(call: Call): { readonly tag?: string } {
  const reference = call.params['reference'] ?? ''
  return isDigest(reference) ? {} : { tag: reference }
}
