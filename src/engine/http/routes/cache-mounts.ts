/**
 * The folders behind `RUN --mount=type=cache`, which Docker's API does not reach: listed, and taken elsewhere and back as tars
 * (moby/buildkit#1474). Asked for by `berth builder cache-mounts`.
 */
import { Fault } from '#base/fault.ts'
import { sendEmpty, sendJson } from '#base/http.ts'
import type { BuildCacheMounts } from '../backend.ts'
import type { Exchange, Handler } from '../exchange.ts'
import { pipeline } from 'node:stream/promises'

function mountsOf({ backend }: Exchange): BuildCacheMounts {
  if (backend.builder === undefined) throw new Fault('unimplemented', 'this engine has no builder')
  return backend.builder.cacheMounts
}

function idOf({ query }: Exchange): string {
  const id = query.get('id') ?? ''
  if (id === '') throw new Fault('invalidArgument', "query parameter 'id' is missing: expected the id of a cache mount")
  return id
}

async function listMounts(exchange: Exchange): Promise<void> {
  sendJson(exchange.res, (await mountsOf(exchange).list()).map(({ id }) => ({ Id: id })))
}

async function exportMount(exchange: Exchange): Promise<void> {
  const tar = await mountsOf(exchange).export(idOf(exchange), exchange.signal)
  exchange.res.writeHead(200, { 'Content-Type': 'application/x-tar' })
  await pipeline(tar, exchange.res)
}

async function importMount(exchange: Exchange): Promise<void> {
  await mountsOf(exchange).import(idOf(exchange), exchange.req, exchange.signal)
  sendEmpty(exchange.res)
}

export const cacheMountRoutes: readonly (readonly [string, string, Handler])[] = [
  ['GET', '/build/cache-mounts', listMounts],
  ['GET', '/build/cache-mounts/archive', exportMount],
  ['PUT', '/build/cache-mounts/archive', importMount],
]
