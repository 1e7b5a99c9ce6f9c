/** What registries are asked without fetching an image: `GET /images/search` and `GET /distribution/{name}/json`. */
import { Fault } from '#base/fault.ts'
import { sendJson } from '#base/http.ts'
import { param, type Exchange } from '../exchange.ts'
import { booleanFilter, parseFilters } from '../filters.ts'
import { queryNumber } from '../json-input.ts'
import { authHeader } from '../registry-auth.ts'

const defaultHits = 25
const mostHits = 100

export async function search({ res, req, query, backend, signal }: Exchange): Promise<void> {
  const term = query.get('term') ?? ''
  const filters = parseFilters(query, ['is-automated', 'is-official', 'stars'])
  const limit = queryNumber(query, 'limit') ?? defaultHits
  if (term === '') throw new Fault('invalidArgument', "no search term was given: expected 'term'")
  if (limit < 1 || limit > mostHits) throw new Fault('invalidArgument', `limit ${limit} is outside the range of [1, ${mostHits}]`)
  const automated = booleanFilter(filters, 'is-automated')
  const official = booleanFilter(filters, 'is-official')
  const stars = (filters.get('stars') ?? []).map(Number)
  if (stars.some((count) => !Number.isInteger(count))) throw new Fault('invalidArgument', `invalid filter 'stars=[${filters.get('stars')?.join(' ')}]'`)
  const auth = authHeader(req.headers['x-registry-auth'])
  const hits = await backend.images.search(term, { limit, signal, ...(auth === undefined ? {} : { auth }) })
  // Registries no longer say what was built automatically: nothing is.
  const shown = automated === true ? [] : hits.filter((hit) => (official === undefined || hit.official === official) && stars.every((count) => hit.stars >= count))
  sendJson(res, shown.map((hit) => ({ star_count: hit.stars, is_official: hit.official, name: hit.name, is_automated: false, description: hit.description })))
}

export async function distribution(exchange: Exchange): Promise<void> {
  const { backend, req, res, signal } = exchange
  const auth = authHeader(req.headers['x-registry-auth'])
  const { mediaType, digest, sizeBytes, platforms } = await backend.images.lookup(param(exchange, 'name'), { signal, ...(auth === undefined ? {} : { auth }) })
  const shown = platforms.map(({ architecture, os, osVersion, osFeatures, variant }) => ({ architecture, os, ...(osVersion === undefined ? {} : { 'os.version': osVersion }), ...(osFeatures === undefined ? {} : { 'os.features': osFeatures }), ...(variant === undefined ? {} : { variant }) }))
  sendJson(res, { Descriptor: { mediaType, digest, size: sizeBytes }, Platforms: shown })
}
