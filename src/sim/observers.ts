/**
 * Observers of the API server, compared with the history: long watches that must tell every change once and in order,
 * replays from past revisions, and reads that must be at least as new as asked. They sit beside the server, with no network
 * in between, so that what is wrong is the server's doing.
 */
import { isFault } from '#base/fault.ts'
import type { AnyKind, StoredObject } from '#schema/kind.ts'
import { ConfigMap } from '#cluster/api/core/v1/config-map.ts'
import { Deployment } from '#cluster/api/apps/v1/deployment.ts'
import { ReplicaSet } from '#cluster/api/apps/v1/replica-set.ts'
import { Node } from '#cluster/api/core/v1/node.ts'
import { Pod } from '#cluster/api/core/v1/pod.ts'
import { EndpointSlice } from '#cluster/api/discovery/v1/endpoint-slice.ts'
import type { Client, WatchEvent } from '#cluster/contract/client.ts'
import type { HistoryEntry } from './history.ts'
import type { World } from './world.ts'

export const observedKinds: readonly AnyKind[] = [Pod, ReplicaSet, Deployment, EndpointSlice, ConfigMap, Node]

type Report = (violation: string) => void

const revisionOf = (object: StoredObject): bigint => BigInt(object.metadata.resourceVersion)
const nameOf = ({ metadata: { namespace, name } }: StoredObject): string => (namespace === undefined ? name : `${namespace}/${name}`)

function sameEvent<T extends StoredObject>(event: Exclude<WatchEvent<T>, { type: 'BOOKMARK' }>, entry: HistoryEntry): boolean {
  const type = entry.object === undefined ? 'DELETED' : entry.previous === undefined ? 'ADDED' : 'MODIFIED'
  return event.type === type && nameOf(event.object) === entry.name && revisionOf(event.object) === entry.revision
}

const show = (entry: HistoryEntry | undefined): string => (entry === undefined ? 'nothing' : `${entry.object === undefined ? 'the deletion' : 'the change'} of ${entry.name} at ${entry.revision}`)

/** Follows one kind from the beginning to the end of the world, across restarts of the server. */
export class WatchObserver {
  readonly #world: World
  readonly #kind: AnyKind
  readonly #report: Report
  readonly #seen: Exclude<WatchEvent<StoredObject>, { type: 'BOOKMARK' }>[] = []
  #from = 0n
  /** Seen events up to here agree with the history. */
  #checkedUpTo = 0n
  #client: Client | undefined
  #stop: AbortController | undefined

  constructor(world: World, kind: AnyKind, report: Report) {
    this.#world = world
    this.#kind = kind
    this.#report = report
    this.#from = world.history.store.revision()
    this.#checkedUpTo = this.#from
  }

  /** Begins, or goes on where the last server ended. */
  attach(): void {
    const client = this.#world.server?.client
    if (client === undefined || client === this.#client) return
    this.#stop?.abort()
    this.#stop = new AbortController()
    this.#client = client
    void this.#follow(client, this.#stop.signal)
  }

  detach(): void {
    this.#stop?.abort()
    this.#client = undefined
  }

  async #follow(client: Client, signal: AbortSignal): Promise<void> {
    try {
      for await (const event of client.watch(this.#kind, { resourceVersion: String(this.#from), signal })) {
        if (event.type === 'BOOKMARK') {
          const at = BigInt(event.resourceVersion)
          if (at > this.#from) this.#from = at
          continue
        }
        this.#from = revisionOf(event.object)
        this.#seen.push(event)
      }
    } catch (error) {
      const allowed = isFault(error, 'expired') && this.#from < (this.#world.server?.loadedFrom ?? 0n)
      if (!allowed && !signal.aborted) this.#report(`the watch of ${this.#kind.plural} from ${this.#from} broke: ${String(error)}`)
      // Nothing to compare between here and now.
      this.#from = this.#world.history.store.revision()
      this.#checkedUpTo = this.#from
      this.#seen.length = 0
    }
    // Ended by the server (its own time limit, or it stopped): `attach` goes on with whoever is up then.
    if (this.#client === client) this.#client = undefined
  }

  /** What was told so far must be what happened; `complete`: all that happened must have been told. */
  check(complete: boolean): void {
    const upTo = this.#world.history.store.revision()
    const expected = this.#world.history.between(this.#kind.kind, this.#checkedUpTo, upTo)
    for (const [index, event] of this.#seen.entries()) {
      const entry = expected[index]
      if (entry !== undefined && sameEvent(event, entry)) continue
      this.#report(`the watch of ${this.#kind.plural} told ${event.type} ${nameOf(event.object)} at ${event.object.metadata.resourceVersion}; next should have come ${show(entry)}`)
      break
    }
    if (complete && this.#seen.length < expected.length) this.#report(`the watch of ${this.#kind.plural} never told ${show(expected[this.#seen.length])}`)
    const last = this.#seen.at(-1)
    if (last !== undefined) this.#checkedUpTo = revisionOf(last.object)
    this.#seen.length = 0
  }
}

/** A new watch from a random past revision must tell everything since, or refuse because that is compacted. */
export async function checkReplay(world: World, kind: AnyKind, report: Report): Promise<void> {
  const { server, history, clock } = world
  if (server === undefined) return
  const upTo = history.store.revision()
  // Version 0 has a meaning of its own: any state, as changes.
  const from = BigInt(world.random.between(1, Number(upTo)))
  const seen: Exclude<WatchEvent<StoredObject>, { type: 'BOOKMARK' }>[] = []
  const stop = new AbortController()
  let refused: unknown
  const follow = async (): Promise<void> => {
    try {
      for await (const event of server.client.watch(kind, { resourceVersion: String(from), signal: stop.signal })) if (event.type !== 'BOOKMARK') seen.push(event)
    } catch (error) {
      refused = error
    }
  }
  let ended = false
  void follow().finally(() => (ended = true))
  await clock.settle()
  // The server may first have to catch up with where the watch begins.
  await clock.runUntil(() => ended || server.api.revision() >= from, 5000)
  stop.abort()
  await clock.runUntil(() => ended, 10_000)
  if (refused !== undefined) {
    if (!isFault(refused, 'expired') || from >= server.loadedFrom) report(`a watch of ${kind.plural} from ${from} was refused at ${upTo}: ${refused instanceof Error ? refused.message : 'with no error'}`)
    return
  }
  const expected = history.between(kind.kind, from, server.api.revision())
  const wrong = expected.findIndex((entry, index) => seen[index] === undefined || !sameEvent(seen[index], entry))
  if (wrong >= 0) report(`a watch of ${kind.plural} from ${from} told ${seen[wrong] === undefined ? 'nothing' : `${seen[wrong].type} ${nameOf(seen[wrong].object)} at ${seen[wrong].object.metadata.resourceVersion}`} where ${show(expected[wrong])} belongs`)
}

/** A list without a resourceVersion shows a state of the store not older than the call, whole. */
export async function checkList(world: World, kind: AnyKind, report: Report): Promise<void> {
  const { server, history, clock } = world
  if (server === undefined) return
  const asked = history.store.revision()
  let settled = false
  const listing = server.client.list(kind).finally(() => (settled = true))
  await clock.runUntil(() => settled, 10_000)
  const { items, resourceVersion } = await listing
  const at = BigInt(resourceVersion)
  if (at < asked) report(`a list of ${kind.plural} asked at ${asked} shows the older state ${at}`)
  await clock.settle()
  const state = history.stateAt(kind.kind, at)
  for (const item of items) {
    const entry = state.get(nameOf(item))
    if (entry?.revision !== revisionOf(item)) report(`a list of ${kind.plural} at ${at} has ${nameOf(item)} at ${item.metadata.resourceVersion}; the store has ${show(entry)}`)
    state.delete(nameOf(item))
  }
  for (const missing of state.values()) report(`a list of ${kind.plural} at ${at} misses ${missing.name}`)
}

/** A get shows the object as it was at the call or later. */
export async function checkGet(world: World, kind: AnyKind, report: Report): Promise<void> {
  const { server, history, clock, random } = world
  if (server === undefined) return
  const asked = history.store.revision()
  const names = [...history.stateAt(kind.kind, asked).values()]
  if (names.length === 0) return
  const { name: key, revision } = random.pick(names)
  const slash = key.indexOf('/')
  const ref = slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) }
  let settled = false
  const getting = server.client.get(kind, ref).finally(() => (settled = true))
  // A refusal is looked at below; until then it must not count as unhandled.
  getting.catch((error: unknown) => error)
  await clock.runUntil(() => settled, 10_000)
  try {
    const object: StoredObject = await getting
    if (revisionOf(object) < revision) report(`a get of ${kind.kind} ${key} asked at ${asked} shows version ${object.metadata.resourceVersion}, older than ${revision}`)
  } catch (error) {
    const since = history.between(kind.kind, asked, history.store.revision())
    if (!isFault(error, 'notFound') || !since.some(({ name, object }) => name === key && object === undefined)) report(`a get of ${kind.kind} ${key} at ${asked} failed: ${String(error)}`)
  }
}

/**
 * Reads while a write is on its way: as soon as the store has it, a list and a get must show it, however far behind the
 * server's caches are.
 */
export async function checkFreshness(world: World, report: Report): Promise<void> {
  const { server, history, clock } = world
  if (server === undefined) return
  const before = history.store.revision()
  const metadata = { namespace: 'default', name: 'probe' }
  const data = { at: String(before) }
  const writing = server.client.update(ConfigMap, { metadata, data }).catch((error: unknown) => {
    if (!isFault(error, 'notFound')) throw error
    return server.client.create(ConfigMap, { metadata, data })
  })
  await clock.runUntil(() => history.store.revision() > before, 2000)
  await checkList(world, ConfigMap, report)
  let written = false
  void writing.then(() => (written = true))
  if (!(await clock.runUntil(() => written, 10_000))) report('a write of the ConfigMap probe was not answered within 10 s')
}

/** At rest, what controllers and scheduler believe is what the store has. */
export function checkCaches(world: World, report: Report): void {
  const { history, informers } = world
  for (const kind of observedKinds) {
    const state = history.stateAt(kind.kind, history.store.revision())
    for (const informer of informers.map((each) => each.of(kind)).filter(({ synced }) => synced)) {
      const believed = new Map(informer.list().map((object: StoredObject) => [nameOf(object), object]))
      for (const [name, object] of believed) if (state.get(name)?.revision !== revisionOf(object)) report(`a cache of ${kind.plural} has ${name} at ${object.metadata.resourceVersion}; the store has ${show(state.get(name))}`)
      for (const name of state.keys()) if (!believed.has(name)) report(`a cache of ${kind.plural} lacks ${name}`)
    }
  }
}
