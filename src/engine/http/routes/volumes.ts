/** Volumes (Engine API, tag `Volume`). */
import { rfc3339Seconds } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import { sendEmpty, sendJson } from '#base/http.ts'
import type { Volume } from '../../contract/volumes.ts'
import { anonymousLabel } from '../../volumes/volumes.ts'
import { jsonBody, param, type Exchange, type Handler } from '../exchange.ts'
import { anyOf, booleanFilter, labelsMatch, parseFilters } from '../filters.ts'
import { JsonInput, queryBoolean } from '../json-input.ts'

/** Before 1.42 clients were not shown how an anonymous volume is marked. */
export function volumeJson({ name, driver, mountpoint, createdAtMs, labels: all, options, named = [] }: Volume, minorVersion: number): object {
  const labels = minorVersion < 42 ? Object.fromEntries(Object.entries(all).filter(([label]) => label !== anonymousLabel)) : all
  return {
    CreatedAt: rfc3339Seconds(createdAtMs),
    Driver: driver,
    Labels: Object.keys(labels).length === 0 && !named.includes('labels') ? null : labels,
    Mountpoint: mountpoint,
    Name: name,
    Options: Object.keys(options).length === 0 && !named.includes('options') ? null : options,
    Scope: 'local',
  }
}

async function list({ backend, query, res, minorVersion }: Exchange): Promise<void> {
  const filters = parseFilters(query, ['dangling', 'driver', 'label', 'name'])
  const dangling = booleanFilter(filters, 'dangling')
  const volumes = (await backend.volumes.list()).filter(
    (volume) =>
      labelsMatch(filters, volume.labels) &&
      anyOf(filters, 'driver', (driver) => volume.driver === driver) &&
      anyOf(filters, 'name', (name) => volume.name.includes(name)) &&
      (dangling === undefined || dangling === (backend.volumes.users(volume.name).length === 0)),
  )
  sendJson(res, { Volumes: volumes.map((volume) => volumeJson(volume, minorVersion)), Warnings: null })
}

async function create(exchange: Exchange): Promise<void> {
  const { backend, res } = exchange
  const input = JsonInput.of(await jsonBody(exchange), '')
  const name = input.string('Name')
  try {
    const [labels, options] = [input.stringMap('Labels'), input.stringMap('DriverOpts')]
    const volume = await backend.volumes.create({ ...(name ? { name } : {}), driver: input.string('Driver') || 'local', ...(labels === undefined ? {} : { labels }), ...(options === undefined ? {} : { options }) })
    sendJson(res, volumeJson(volume, exchange.minorVersion), { status: 201 })
  } catch (error) {
    throw name && isFault(error, 'invalidArgument') && /^invalid option: /.test(error.message) ? new Fault('invalidArgument', `create ${name}: ${error.message}`, { cause: error }) : error
  }
}

async function inspect(exchange: Exchange): Promise<void> {
  sendJson(exchange.res, volumeJson(await exchange.backend.volumes.get(param(exchange, 'name')), exchange.minorVersion))
}

async function remove(exchange: Exchange): Promise<void> {
  const { backend, query, res } = exchange
  const name = param(exchange, 'name')
  try {
    await backend.volumes.remove(name, { force: queryBoolean(query, 'force') })
  } catch (error) {
    if (!queryBoolean(query, 'force') || !isFault(error, 'notFound')) throw error
  }
  sendEmpty(res, { status: 204 })
}

/** Since 1.42 only anonymous volumes go, unless `all` is asked for. */
async function prune({ backend, query, res, minorVersion }: Exchange): Promise<void> {
  const filters = parseFilters(query, ['all', 'label', 'label!'])
  const all = minorVersion < 42 || booleanFilter(filters, 'all') === true
  const deleted: string[] = []
  let reclaimed = 0
  for (const volume of await backend.volumes.list()) {
    if ((!all && !volume.anonymous) || backend.volumes.users(volume.name).length > 0 || !labelsMatch(filters, volume.labels)) continue
    if (filters.has('label!') && labelsMatch(filters, volume.labels, 'label!')) continue
    const { sizeBytes } = await backend.volumes.usage(volume.name)
    try {
      await backend.volumes.remove(volume.name)
      deleted.push(volume.name)
      reclaimed += sizeBytes
    } catch (error) {
      // A container took it meanwhile.
      if (!isFault(error, 'conflict')) throw error
    }
  }
  backend.events.publish({ type: 'volume', action: 'prune', actor: { id: '', attributes: { reclaimed: String(reclaimed) } } })
  sendJson(res, { VolumesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimed })
}

/** Only cluster volumes can be changed, and they need a swarm. */
async function update(): Promise<void> {
  throw new Fault('unavailable', 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.')
}

export const volumeRoutes: readonly (readonly [string, string, Handler])[] = [
  ['GET', '/volumes', list],
  ['POST', '/volumes/create', create],
  ['POST', '/volumes/prune', prune],
  ['GET', '/volumes/:name', inspect],
  ['PUT', '/volumes/:name', update],
  ['DELETE', '/volumes/:name', remove],
]
