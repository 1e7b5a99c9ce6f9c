/** Lists (distribution-spec "Content Discovery"): the catalog, tags and referrers, in pages. */
import { Fault } from '#base/fault.ts'
import { sendJson } from '#base/http.ts'
import { mediaTypes } from '#oci/descriptor.ts'
import { parseDigest } from '#oci/digest.ts'
import type { Call, Rooms, Routes } from './call.ts'
import { repositoryOf } from './call.ts'

export function listRoutes(rooms: Rooms): Routes {
  return [
    ['GET', '/v2/_catalog', (call) => catalog(rooms, call)],
    ['GET', '/v2/:name+/tags/list', (call) => tags(rooms, call)],
    ['GET', '/v2/:name+/referrers/:digest', (call) => referrers(rooms, call)],
  ]
}

async function catalog(rooms: Rooms, { res, query, caller }: Call): Promise<void> {
  const all = (await rooms.repositories.list()).filter((repository) => rooms.auth.may(caller, 'pull', repository))
  const page = pageOf(all, query)
  sendJson(res, { repositories: page.items }, { headers: nextLink('/v2/_catalog', page, query) })
}

async function tags(rooms: Rooms, call: Call): Promise<void> {
  const repository = repositoryOf(rooms, call, 'pull')
  const page = pageOf(await rooms.manifests.tags(repository), call.query)
  sendJson(call.res, { name: repository, tags: page.items }, { headers: nextLink(`/v2/${repository}/tags/list`, page, call.query) })
}

async function referrers(rooms: Rooms, call: Call): Promise<void> {
  const repository = repositoryOf(rooms, call, 'pull')
  const subject = parseDigest(call.params['digest'], 'digest')
  const artifactType = call.query.get('artifactType') ?? undefined
  const index = await rooms.manifests.referrers(repository, subject, artifactType)
  sendJson(call.res, index, { contentType: mediaTypes.ociIndex, headers: artifactType === undefined ? {} : { 'OCI-Filters-Applied': 'artifactType' } })
}

interface Page {
  readonly items: readonly string[]
  readonly more: boolean
}

/** `n` items after `last` of a sorted list. */
function pageOf(all: readonly string[], query: URLSearchParams): Page {
  const last = query.get('last')
  const limitText = query.get('n')
  if (limitText !== null && !/^[0-9]{1,9}$/.test(limitText)) throw new Fault('invalidArgument', `n='${limitText}': expected a whole number`, { details: { reason: 'PAGINATION_NUMBER_INVALID' } })
  const rest = last === null ? all : all.filter((item) => item > last)
  const limit = limitText === null ? rest.length : Number(limitText)
  return { items: rest.slice(0, limit), more: limit > 0 && rest.length > limit }
}

function nextLink(path: string, page: Page, query: URLSearchParams): Readonly<Record<string, string>> {
  const last = page.items.at(-1)
  if (!page.more || last === undefined) return {}
  return { Link: `<${path}?n=${query.get('n') ?? ''}&last=${encodeURIComponent(last)}>; rel="next"` }
}
