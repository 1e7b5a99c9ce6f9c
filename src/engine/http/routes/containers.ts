/** Containers: create, list, inspect, life cycle, update, prune, commit (Engine API, tag `Container`). */
import { Fault, isFault } from '#base/fault.ts'
import { sendEmpty, sendJson } from '#base/http.ts'
import type { Container, ContainerLink, ContainerMount, ContainerSpec, ContainerResources } from '../../contract/containers.ts'
import { inspectJson, summaryJson } from '../container-json.ts'
import { containerSpecOf, imageDefaultsOf, restartOf } from '../container-spec.ts'
import { isInheritedMode } from '../create/mounts.ts'
import { changeableLimitsFrom, pidsLimitFrom } from '../create/resources.ts'
import { jsonBody, param, type Exchange, type Handler } from '../exchange.ts'
import { anyOf, booleanFilter, labelsMatch, parseFilters, type Filters } from '../filters.ts'
import { JsonInput, queryBoolean, queryNumber } from '../json-input.ts'

async function create(exchange: Exchange): Promise<void> {
  const { backend, query, res, minorVersion } = exchange
  const { architecture, kernelVersion: kernelRelease, runtime } = backend.system
  const machine = { architecture, kernelRelease, runtimes: new Set(['runc', 'io.containerd.runc.v2', runtime.name]) }
  const { spec: wanted, volumesFrom, links, warnings: asked } = containerSpecOf({ body: await jsonBody(exchange), name: query.get('name') ?? undefined, platform: minorVersion >= 41 ? (query.get('platform') ?? undefined) : undefined, minorVersion, machine })
  const spec = await withDonor(exchange, await withLinks(exchange, wanted, links))
  const borrowed = await mountsOfOthers(exchange, volumesFrom, spec.mounts ?? [])
  try {
    const { id, warnings } = await backend.containers.create({ ...spec, mounts: [...(spec.mounts ?? []), ...borrowed] })
    sendJson(res, { Id: id, Warnings: [...warnings, ...asked] }, { status: 201 })
  } catch (error) {
    throw imageWords(error, spec.image)
  }
}

/** `db:database`, or `db` alone, as Docker's `--link` writes it. */
async function withLinks({ backend }: Exchange, spec: ContainerSpec, links: readonly string[]): Promise<ContainerSpec> {
  if (links.length === 0 || spec.network?.mode !== 'networks') return spec
  const found: ContainerLink[] = []
  for (const link of links) {
    const [ref = '', alias = ref.replace(/^\//, ''), ...rest] = link.split(':')
    if (ref === '' || alias === '' || rest.length > 0) throw new Fault('invalidArgument', `bad format for links: ${link}`)
    const container = await linkedContainer(backend, ref)
    if (container.spec.network?.mode === 'host') throw new Fault('invalidArgument', "conflicting options: host type networking can't be used with links. This would result in undefined behavior")
    found.push({ containerId: container.id, name: container.name, alias })
  }
  return { ...spec, network: { ...spec.network, links: found } }
}

/** Who shares another's network, processes or memory is shown the other's id, by whatever name it was given. */
async function withDonor({ backend }: Exchange, spec: ContainerSpec): Promise<ContainerSpec> {
  const network = spec.network?.mode === 'container' ? (await backend.containers.inspect(spec.network.ref)).id : undefined
  const [ipc, pid] = await Promise.all([spec.ipcMode, spec.pidMode].map(async (mode) => (typeof mode === 'object' && 'container' in mode ? (await donor(backend, mode.container)).id : undefined)))
  if (network === undefined && ipc === undefined && pid === undefined) return spec
  const docker = JsonInput.of(spec.extension?.['docker'], 'docker')
  const hostConfig = docker.object('hostConfig')
  const asked = Object.fromEntries(hostConfig.keys().map((key) => [key, hostConfig.raw(key) ?? null]))
  const shown = {
    ...asked,
    ...(network === undefined ? {} : { NetworkMode: `container:${network}` }),
    ...(ipc === undefined ? {} : { IpcMode: `container:${ipc}` }),
    ...(pid === undefined ? {} : { PidMode: `container:${pid}` }),
  }
  return {
    ...spec,
    ...(network === undefined ? {} : { network: { mode: 'container', ref: network } }),
    ...(ipc === undefined ? {} : { ipcMode: { container: ipc } }),
    ...(pid === undefined ? {} : { pidMode: { container: pid } }),
    extension: { docker: { config: docker.raw('config'), hostConfig: shown } },
  }
}

async function linkedContainer({ containers }: Exchange['backend'], ref: string): Promise<Container> {
  try {
    return await containers.inspect(ref)
  } catch (error) {
    if (!isFault(error, 'notFound')) throw error
    throw new Fault('invalidArgument', `could not get container for ${ref}: No such container: ${ref}`, { cause: error })
  }
}

/** The CLI pulls an image when it reads `No such image: NAME:TAG` in a 404, and also when the platform that was asked for is not here. */
function imageWords(error: unknown, image: string): unknown {
  return isFault(error, 'notFound') && /image/i.test(error.message) && !/^(No such image: |image with reference )/.test(error.message) ? new Fault('notFound', `No such image: ${withTag(image)}`, { cause: error }) : error
}

function withTag(image: string): string {
  return image.includes('@') || image.lastIndexOf(':') > image.lastIndexOf('/') ? image : `${image}:latest`
}

async function mountsOfOthers({ backend }: Exchange, volumesFrom: readonly string[], own: readonly ContainerMount[]): Promise<ContainerMount[]> {
  const taken = new Set(own.map(({ target }) => target))
  const mounts: ContainerMount[] = []
  for (const entry of volumesFrom) {
    const at = entry.indexOf(':')
    const [ref, mode] = at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)]
    if (entry === '') throw new Fault('invalidArgument', 'volumes-from specification cannot be an empty string')
    if (!isInheritedMode(mode)) throw new Fault('invalidArgument', `invalid mode: ${mode}`)
    const other = await donor(backend, ref)
    for (const mount of other.mounts) {
      if (taken.has(mount.target) || mount.type === 'tmpfs') continue
      taken.add(mount.target)
      const origin = (other.spec.mounts ?? []).find(({ target }) => target === mount.target)
      const subpath = origin?.type === 'volume' && origin.subpath ? { subpath: origin.subpath } : {}
      const readonly = mount.readonly || mode.split(',').includes('ro')
      if (mount.type === 'image') mounts.push({ type: 'image', source: mount.imageId ?? '', target: mount.target, ...(origin?.type === 'image' && origin.subpath ? { subpath: origin.subpath } : {}) })
      else mounts.push(mount.type === 'bind' ? { type: 'bind', source: mount.source, target: mount.target, readonly, propagation: mount.propagation } : { type: 'volume', name: mount.name ?? '', target: mount.target, readonly, mode: '', noCopy: true, ...subpath })
    }
  }
  return mounts
}

/** A name in the body that means nothing is a fault of the request, not of its address. */
async function donor({ containers }: Exchange['backend'], ref: string): Promise<Container> {
  try {
    return await containers.inspect(ref)
  } catch (error) {
    throw isFault(error, 'notFound') ? new Fault('invalidArgument', error.message, { cause: error }) : error
  }
}

async function inspect(exchange: Exchange): Promise<void> {
  const { backend, query, res, minorVersion } = exchange
  const container = await backend.containers.inspect(param(exchange, 'id'))
  const sizes = queryBoolean(query, 'size') ? { sizes: await backend.containers.sizes(container.id) } : {}
  const folders = await backend.snapshots.folders(container.id)
  sendJson(res, inspectJson(container, { minorVersion, folders, networkIds: await networkIdsOf(backend), rootDir: backend.system.rootDir, imageVolumes: await imageVolumes(backend, container), ...sizes }))
}

/** What the image declares; an image that is gone declares nothing any more. */
async function imageVolumes({ images }: Exchange['backend'], { imageId }: Container): Promise<readonly string[]> {
  try {
    return Object.keys((await images.resolve(imageId)).config.config?.Volumes ?? {})
  } catch (error) {
    if (isFault(error, 'notFound')) return []
    throw error
  }
}

const listFilters = ['ancestor', 'before', 'exited', 'expose', 'health', 'id', 'is-task', 'isolation', 'label', 'name', 'network', 'publish', 'since', 'status', 'volume', 'namespace']

async function list({ backend, query, res, minorVersion }: Exchange): Promise<void> {
  const filters = parseFilters(query, listFilters)
  const limit = queryNumber(query, 'limit') ?? 0
  const all = queryBoolean(query, 'all') || limit > 0 || ['status', 'exited', 'before', 'since'].some((key) => filters.has(key))
  requireMeaning(filters, backend.containers.list())
  const namespace = filters.get('namespace')?.[0]
  const everything = backend.containers.list({ namespace: namespace === 'k8s' || namespace === 'all' ? namespace : 'docker' })
  const ancestors = await ancestorIds(backend, filters)
  const shown = everything.filter((container) => (all || isUp(container)) && passes(container, { filters, ancestors, everything }))
  const nowNs = backend.clock.nowNs()
  const networkIds = await networkIdsOf(backend)
  const linkNames = linkNamesOf(everything)
  const rows = await Promise.all(
    (limit > 0 ? shown.slice(0, limit) : shown).map(async (container) =>
      summaryJson(container, { nowNs, minorVersion, networkIds, imageName: container.spec.image, linkNames: linkNames.get(container.id) ?? [], ...(queryBoolean(query, 'size') ? { sizes: await backend.containers.sizes(container.id) } : {}) }),
    ),
  )
  sendJson(res, rows)
}

/** Name of each network → its id. */
export async function networkIdsOf({ networks }: Exchange['backend']): Promise<ReadonlyMap<string, string>> {
  return new Map((await networks.list()).map(({ name, id }) => [name, id]))
}

/** The names that containers have by the links of others, by id. */
function linkNamesOf(containers: readonly Container[]): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>()
  for (const { name, spec } of containers) {
    if (spec.network?.mode !== 'networks') continue
    for (const { containerId, alias } of spec.network.links ?? []) names.set(containerId, [...(names.get(containerId) ?? []), `/${name}/${alias}`])
  }
  return names
}

function isUp({ state }: Container): boolean {
  return state.status === 'running' || state.status === 'paused' || state.status === 'restarting'
}

async function ancestorIds({ images }: Exchange['backend'], filters: Filters): Promise<ReadonlySet<string>> {
  const ids = new Set<string>()
  for (const name of filters.get('ancestor') ?? []) {
    try {
      ids.add((await images.resolve(name)).id)
    } catch (error) {
      if (!isFault(error, 'notFound') && !isFault(error, 'invalidArgument')) throw error
    }
  }
  return ids
}

const statuses = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead']

/** Values that can mean nothing are refused, whatever containers there are. */
function requireMeaning(filters: Filters, everything: readonly Container[]): void {
  const wrong = (key: string, holds: (value: string) => boolean): string | undefined => filters.get(key)?.find((value) => !holds(value))
  const status = wrong('status', (value) => statuses.includes(value))
  if (status !== undefined) throw new Fault('invalidArgument', `invalid filter 'status=${status}'`)
  const exited = wrong('exited', (value) => /^-?\d+$/.test(value))
  if (exited !== undefined) throw new Fault('invalidArgument', `strconv.Atoi: parsing ${JSON.stringify(exited)}: invalid syntax`)
  const health = wrong('health', (value) => ['none', 'starting', 'healthy', 'unhealthy'].includes(value))
  if (health !== undefined) throw new Fault('invalidArgument', `unrecognized filter value for health: ${health}`)
  for (const key of ['publish', 'expose']) {
    const port = wrong(key, (value) => /^\d{1,5}(-\d{1,5})?(\/(tcp|udp|sctp))?$/.test(value))
    if (port !== undefined) throw new Fault('invalidArgument', `error while looking up for ${key} ${port}: expected a port or a range of ports, such as 80, 8000-8010/tcp`)
  }
  for (const key of ['before', 'since']) {
    const name = wrong(key, (value) => everything.some((other) => refersTo(other, value)))
    if (name !== undefined) throw new Fault('notFound', `No such container: ${name}`)
  }
}

function refersTo({ id, name }: Container, ref: string): boolean {
  return name === ref.replace(/^\//, '') || id.startsWith(ref)
}

function passes(container: Container, { filters, ancestors, everything }: { readonly filters: Filters; readonly ancestors: ReadonlySet<string>; readonly everything: readonly Container[] }): boolean {
  const { id, name, state, effective, imageId } = container
  const find = (ref: string): Container | undefined => everything.find((other) => refersTo(other, ref))
  return (
    // Nothing here is a swarm's task.
    booleanFilter(filters, 'is-task') !== true &&
    labelsMatch(filters, effective.labels) &&
    anyOf(filters, 'status', (status) => state.status === status) &&
    anyOf(filters, 'exited', (code) => state.status === 'exited' && state.exitCode === Number(code)) &&
    anyOf(filters, 'id', (prefix) => id.startsWith(prefix)) &&
    anyOf(filters, 'name', (pattern) => matchesName(name, pattern)) &&
    anyOf(filters, 'health', (health) => (state.health?.status ?? 'none') === health) &&
    (!filters.has('ancestor') || ancestors.has(imageId)) &&
    anyOf(filters, 'network', (network) => networksOf(container).some((name_) => name_ === network || (network.length >= 12 && name_.startsWith(network)))) &&
    anyOf(filters, 'volume', (volume) => container.mounts.some(({ name: mounted, target, source }) => mounted === volume || target === volume || source === volume)) &&
    anyOf(filters, 'publish', (port) => container.endpoints.some(({ ports }) => ports.some((binding) => portMatches(port, binding.hostPort, binding.protocol)))) &&
    anyOf(filters, 'expose', (port) => isUp(container) && (container.spec.network?.mode ?? 'networks') === 'networks' && effective.exposedPorts.some((exposed) => portMatches(port, Number.parseInt(exposed, 10), exposed.split('/')[1] ?? 'tcp'))) &&
    anyOf(filters, 'before', (ref) => container.createdAtNs < (find(ref)?.createdAtNs ?? 0n)) &&
    anyOf(filters, 'since', (ref) => container.createdAtNs > (find(ref)?.createdAtNs ?? container.createdAtNs))
  )
}

/** A name filter is a regular expression on the name with or without its slash; a faulty one is taken literally. */
function matchesName(name: string, pattern: string): boolean {
  if (pattern.length > 200 || /[+*}]\)?[+*{]/.test(pattern)) return name.includes(pattern)
  try {
    const expression = new RegExp(pattern)
    return expression.test(name) || expression.test(`/${name}`)
  } catch (error) {
    if (error instanceof SyntaxError) return name.includes(pattern)
    throw error
  }
}

function portMatches(wanted: string, port: number, protocol: string): boolean {
  const [range = '', wantedProtocol = 'tcp'] = wanted.split('/')
  const [first, last] = range.split('-').map(Number)
  return protocol === wantedProtocol && first !== undefined && port >= first && port <= (last ?? first)
}

function networksOf({ spec, endpoints }: Container): string[] {
  const mode = spec.network?.mode ?? 'networks'
  if (mode === 'host' || mode === 'none') return [mode]
  const configured = spec.network?.mode === 'networks' ? spec.network.endpoints.map(({ network }) => network) : []
  return [...configured, ...endpoints.flatMap(({ networkName, networkId }) => [networkName, networkId])]
}

async function start(exchange: Exchange): Promise<void> {
  const outcome = await exchange.backend.containers.start(param(exchange, 'id'))
  sendEmpty(exchange.res, { status: outcome === 'already' ? 304 : 204 })
}

function haltOptions(query: URLSearchParams): { readonly signal?: string; readonly graceSeconds?: number } {
  const grace = queryNumber(query, 't')
  const signal = query.get('signal')
  return { ...(grace === undefined ? {} : { graceSeconds: grace }), ...(signal ? { signal } : {}) }
}

async function stop(exchange: Exchange): Promise<void> {
  const outcome = await exchange.backend.containers.stop(param(exchange, 'id'), haltOptions(exchange.query))
  sendEmpty(exchange.res, { status: outcome === 'already' ? 304 : 204 })
}

async function restart(exchange: Exchange): Promise<void> {
  await exchange.backend.containers.restart(param(exchange, 'id'), haltOptions(exchange.query))
  sendEmpty(exchange.res, { status: 204 })
}

async function kill(exchange: Exchange): Promise<void> {
  await exchange.backend.containers.kill(param(exchange, 'id'), exchange.query.get('signal') ?? '')
  sendEmpty(exchange.res, { status: 204 })
}

async function pause(exchange: Exchange): Promise<void> {
  await exchange.backend.containers.pause(param(exchange, 'id'))
  sendEmpty(exchange.res, { status: 204 })
}

async function unpause(exchange: Exchange): Promise<void> {
  await exchange.backend.containers.unpause(param(exchange, 'id'))
  sendEmpty(exchange.res, { status: 204 })
}

async function rename(exchange: Exchange): Promise<void> {
  const name = exchange.query.get('name') ?? ''
  if (name === '') throw new Fault('invalidArgument', 'Neither old nor new names may be empty')
  await exchange.backend.containers.rename(param(exchange, 'id'), name)
  sendEmpty(exchange.res, { status: 204 })
}

async function remove(exchange: Exchange): Promise<void> {
  const { query, backend, res } = exchange
  if (queryBoolean(query, 'link')) await backend.containers.unlink(param(exchange, 'id'))
  else await backend.containers.remove(param(exchange, 'id'), { force: queryBoolean(query, 'force'), volumes: queryBoolean(query, 'v') })
  sendEmpty(res, { status: 204 })
}

async function update(exchange: Exchange): Promise<void> {
  const input = JsonInput.of(await jsonBody(exchange), '')
  const resources: ContainerResources = { ...changeableLimitsFrom(input), ...(exchange.minorVersion >= 40 ? pidsLimitFrom(input, { update: true }) : {}) }
  const policy = input.object('RestartPolicy')
  const { warnings } = await exchange.backend.containers.update(param(exchange, 'id'), {
    ...(Object.keys(resources).length > 0 ? { resources } : {}),
    ...(policy.string('Name') ? { restart: restartOf(policy) } : {}),
  })
  sendJson(exchange.res, { Warnings: warnings })
}

async function prune({ backend, query, res }: Exchange): Promise<void> {
  const filters = parseFilters(query, ['until', 'label', 'label!'])
  const until = filters.get('until')?.[0]
  const beforeNs = until === undefined ? undefined : untilNs(until, backend.clock.nowNs())
  const deleted: string[] = []
  let reclaimed = 0
  for (const container of backend.containers.list()) {
    if (!['created', 'exited', 'dead'].includes(container.state.status)) continue
    if (beforeNs !== undefined && container.createdAtNs > beforeNs) continue
    if (!labelsMatch(filters, container.effective.labels) || (filters.has('label!') && labelsMatch(filters, container.effective.labels, 'label!'))) continue
    const { writableBytes } = await backend.containers.sizes(container.id)
    try {
      await backend.containers.remove(container.id)
      deleted.push(container.id)
      reclaimed += writableBytes
    } catch (error) {
      // Somebody started or removed it meanwhile.
      if (!isFault(error, 'conflict') && !isFault(error, 'notFound')) throw error
    }
  }
  backend.events.publish({ type: 'container', action: 'prune', actor: { id: '', attributes: { reclaimed: String(reclaimed) } } })
  sendJson(res, { ContainersDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimed })
}

/** `24h`, `10m30s`, seconds since 1970, or RFC 3339. */
export function untilNs(text: string, nowNs: bigint): bigint {
  const duration = [...text.matchAll(/(\d+(?:\.\d+)?)(h|m|s|ms)/g)]
  if (duration.length > 0 && duration.map(([whole]) => whole).join('') === text) {
    const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }
    const ms = duration.reduce((sum, [, amount = '0', unit = 's']) => sum + Number(amount) * (unitMs[unit] ?? 0), 0)
    return nowNs - BigInt(Math.round(ms)) * 1_000_000n
  }
  if (/^\d+$/.test(text)) return BigInt(text) * 1_000_000_000n
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw new Fault('invalidArgument', `invalid filter 'until=${text}': expected a duration (24h), a time (RFC 3339) or seconds since 1970`)
  return BigInt(ms) * 1_000_000n
}

async function changes(exchange: Exchange): Promise<void> {
  const kinds = { modified: 0, added: 1, deleted: 2 }
  const found = await exchange.backend.containers.changes(param(exchange, 'id'))
  sendJson(exchange.res, found.length === 0 ? null : found.map(({ path, kind }) => ({ Path: path, Kind: kinds[kind] })))
}

async function top(exchange: Exchange): Promise<void> {
  const { titles, processes } = await exchange.backend.containers.top(param(exchange, 'id'), exchange.query.get('ps_args') ?? '-ef')
  sendJson(exchange.res, { Processes: processes, Titles: titles })
}

async function commit(exchange: Exchange): Promise<void> {
  const { backend, query, res } = exchange
  if (backend.committer === undefined) throw new Fault('unimplemented', 'this engine cannot commit containers')
  const repo = query.get('repo')
  const tag = query.get('tag')
  const { imageId } = await backend.committer.commit({
    container: query.get('container') ?? '',
    name: repo ? (tag ? `${repo}:${tag}` : repo) : undefined,
    comment: query.get('comment') ?? '',
    author: query.get('author') ?? '',
    pause: queryBoolean(query, 'pause', true),
    changes: query.getAll('changes').flatMap((text) => text.split('\n')).filter((line) => line.trim() !== ''),
    config: imageDefaultsOf(JsonInput.of(await jsonBody(exchange), '')),
  })
  sendJson(res, { Id: imageId }, { status: 201 })
}

export const containerRoutes: readonly (readonly [string, string, Handler])[] = [
  ['POST', '/containers/create', create],
  ['GET', '/containers/json', list],
  ['POST', '/containers/prune', prune],
  ['GET', '/containers/:id+/json', inspect],
  ['GET', '/containers/:id/top', top],
  ['GET', '/containers/:id/changes', changes],
  ['POST', '/containers/:id/start', start],
  ['POST', '/containers/:id/stop', stop],
  ['POST', '/containers/:id/restart', restart],
  ['POST', '/containers/:id/kill', kill],
  ['POST', '/containers/:id/pause', pause],
  ['POST', '/containers/:id/unpause', unpause],
  ['POST', '/containers/:id/rename', rename],
  ['POST', '/containers/:id/update', update],
  ['DELETE', '/containers/:id+', remove],
  ['POST', '/commit', commit],
]
