/**
 * The API server without a transport: everything between an authenticated, authorised request and the store. The HTTP
 * front (`http/`) and the in-process client (`local-client.ts`) are thin layers over it, and the simulator runs exactly this.
 *
 * ```ts
 * const api = await createApi({ store, kinds: allKinds, clock, random, log, ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30000, 32767] } })
 * const pods = api.resources.need({ group: '', version: 'v1', plural: 'pods' })
 * const created = await api.create(pods, 'default', body, context)   // an Entry: frozen object, its bytes, its revision
 * ```
 */
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { randomInt, type Random } from '#base/random.ts'
import { KeyedSerial, TaskGroup } from '#base/task.ts'
import type { JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'
import type { Store } from '../contract/store.ts'
import type { WatchItem } from './cache.ts'
import type { Entry } from './entry.ts'
import { expireEvents, expiryIntervalMs } from './events/expiry.ts'
import { every } from './every.ts'
import { applyPatch, type PatchType } from './patch.ts'
import { podsByNode } from './pods-by-node.ts'
import type { EscalationPorts } from './rbac/escalation.ts'
import { getEntry, listEntries, openWatch, type EntryList, type ListRequest, type WatchRequest } from './read.ts'
import { Resources, type Ref, type Resource } from './resources.ts'
import { openState, type Sealer, type State } from './state.ts'
import { strategies } from './strategies/index.ts'
import type { ServiceRanges } from './strategies/services.ts'
import type { Surroundings } from './strategy.ts'
import type { WriteContext } from './submission.ts'
import { bindPod, requestToken, scaleOf, updateScale, type TokenIssuer } from './subresources.ts'
import { withViews } from './views.ts'
import { applyEntry, createEntry, deleteEntry, updateEntry, type Deletion, type DeletionOptions, type WritePorts } from './write.ts'

export interface ApiOptions {
  readonly store: Store
  /** Kinds to serve (`cluster/api/index.ts`); those without `get` among their verbs are not stored. */
  readonly kinds: readonly AnyKind[]
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly ranges: ServiceRanges
  /** Absent: Secrets lie in the store as they are (tests, simulation). */
  readonly sealer?: Sealer
  /** What keeps people from granting more than they hold (`rbac/escalation.ts`). Asked late: it needs this Api. */
  readonly escalation?: () => EscalationPorts | undefined
  /** Absent: `serviceaccounts/token` answers `unavailable`. */
  readonly tokens?: TokenIssuer
}

export interface Target {
  readonly resource: Resource
  readonly ref: Ref
}

export interface ResourceStatistics {
  readonly group: string
  readonly resource: string
  readonly objects: number
  readonly watchers: number
}

export interface Api {
  readonly resources: Resources
  readonly clock: Clock
  readonly random: Random
  /** The revision that reads show at least. */
  revision(): bigint
  get(target: Target, resourceVersion?: string): Promise<Entry>
  list(resource: Resource, request: ListRequest): Promise<EntryList>
  /** Resolves when the watch stands; refuses with `expired` what is too old to watch. */
  watch(resource: Resource, request: WatchRequest): Promise<AsyncIterable<readonly WatchItem[]>>
  create(resource: Resource, namespace: string, body: unknown, context: WriteContext): Promise<Entry>
  /** `subresource`: '', 'status', 'finalize', 'ephemeralcontainers', 'resize'. */
  update(target: Target & { readonly subresource: string }, body: unknown, context: WriteContext): Promise<Entry>
  patch(target: Target & { readonly subresource: string }, patch: { readonly type: PatchType; readonly body: unknown }, context: WriteContext): Promise<Entry>
  /** Server-side apply as `context.fieldManager`. */
  apply(target: Target & { readonly subresource: string; readonly force: boolean }, body: unknown, context: WriteContext): Promise<{ readonly entry: Entry; readonly created: boolean }>
  delete(target: Target, options: DeletionOptions, context: WriteContext): Promise<Deletion>
  /** Deletes what the request selects, and answers what it began to delete. */
  deleteCollection(resource: Resource, request: ListRequest, options: DeletionOptions, context: WriteContext): Promise<readonly Entry[]>
  getScale(target: Target): Promise<JsonObject>
  /** `change` is a Scale, or a patch of it. */
  writeScale(target: Target, change: { readonly body: unknown; readonly patch?: PatchType }, context: WriteContext): Promise<JsonObject>
  bindPod(target: Target, body: unknown, context: WriteContext): Promise<void>
  requestToken(target: Target, body: unknown): Promise<JsonObject>
  /** Current objects of a resource by group and plural, whatever the version. */
  readonly surroundings: Surroundings
  /** Calls `listener` after each change of a resource, before anybody else hears of it. */
  listen(resource: Resource, listener: () => void): void
  /** Sizes of the watch caches, for metrics. */
  statistics(): readonly ResourceStatistics[]
  /** False once the caches no longer follow the store: the process should be started anew. */
  healthy(): boolean
  close(): Promise<void>
}

export async function createApi(options: ApiOptions): Promise<Api> {
  const { clock, random } = options
  const stored = options.kinds.filter(({ verbs }) => verbs.includes('get'))
  const resources = new Resources(stored, strategies(options.ranges, options.escalation ?? (() => undefined)))
  const state = await openState({ store: options.store, resources, clock, log: options.log, sealer: options.sealer })
  const surroundings = surroundingsOf(state, options)
  const ports: WritePorts = { state, clock, random, surroundings, serial: new KeyedSerial() }
  const jitter = (): number => randomInt(random, 1000) / 1000
  const tasks = new TaskGroup((error) => options.log.error({ err: error }, 'a background task of the API server ended'))
  const events = resources.find({ group: '', version: 'v1', plural: 'events' })
  if (events !== undefined) {
    const expire = (): void => tasks.spawn(() => expireEvents(state, events, clock))
    tasks.spawn((signal) => every(clock, expiryIntervalMs, signal, expire))
  }
  return withViews({
    resources,
    clock,
    random,
    surroundings,
    revision: () => state.revision,
    get: ({ resource, ref }, resourceVersion) => getEntry(state, resource, ref, resourceVersion),
    list: (resource, request) => listEntries(state, resource, request),
    watch: (resource, request) => openWatch(state, resource, request, jitter),
    create: (resource, namespace, body, context) => createEntry(ports, { resource, namespace }, body, context),
    update: (target, body, context) => updateEntry(ports, target, () => body, context),
    patch: (target, { type, body }, context) => updateEntry(ports, target, (current) => applyPatch(target.resource.kind, current, body, type), context),
    apply: (target, body, context) => applyEntry(ports, target, body, context),
    delete: (target, deletion, context) => deleteEntry(ports, target, deletion, context),
    deleteCollection: (resource, request, deletion, context) => deleteSelected(ports, { resource, request }, deletion, context),
    getScale: async ({ resource, ref }) => scaleOf(resource, (await getEntry(state, resource, ref)).object),
    writeScale: async (target, { body, patch }, context) => {
      const change = (current: JsonObject): unknown => (patch === undefined ? body : applyPatch(target.resource.kind, current, body, patch === 'strategic' ? 'merge' : patch))
      return scaleOf(target.resource, (await updateScale(ports, target, change, context)).object)
    },
    bindPod: (target, body, context) => bindPod(ports, target, body, context),
    requestToken: (target, body) => {
      if (options.tokens === undefined) throw new Fault('unavailable', 'this API server issues no service account tokens')
      return requestToken(ports, options.tokens, target, body)
    },
    listen: (resource, listener) => state.listen(resource, listener),
    statistics: () =>
      resources.stored.map((resource) => {
        const { size, watchers } = state.cache(resource)
        return { group: resource.kind.group, resource: resource.kind.plural, objects: size, watchers }
      }),
    healthy: () => state.healthy,
    async close() {
      await tasks.close()
      await state.close()
    },
  })
}

async function deleteSelected(ports: WritePorts, from: { readonly resource: Resource; readonly request: ListRequest }, deletion: DeletionOptions, context: WriteContext): Promise<readonly Entry[]> {
  const { resource, request } = from
  const { entries } = await listEntries(ports.state, resource, request)
  const deleted: Entry[] = []
  for (const { meta } of entries) {
    const ref = { namespace: meta.namespace ?? '', name: meta.name }
    try {
      deleted.push((await deleteEntry(ports, { resource, ref }, { ...deletion, preconditions: { uid: meta.uid } }, context)).entry)
    } catch (error) {
      // Somebody else deleted it, or put another in its place, while we went through the list.
      if (!(error instanceof Fault) || (error.code !== 'notFound' && error.code !== 'conflict')) throw error
    }
  }
  return deleted
}

function surroundingsOf(state: State, { clock, random }: ApiOptions): Surroundings {
  const byName = new Map(state.resources.stored.map((resource) => [`${resource.kind.plural}.${resource.kind.group}`, resource]))
  const find = ({ group, plural }: { readonly group: string; readonly plural: string }): Resource | undefined => byName.get(`${plural}.${group}`)
  const pods = find({ group: '', plural: 'pods' })
  return {
    clock,
    random,
    object(id, ref) {
      const resource = find(id)
      return resource === undefined ? undefined : state.entry(resource, ref)?.object
    },
    *objects(id) {
      const resource = find(id)
      if (resource !== undefined) for (const { object } of state.cache(resource).scan()) yield object
    },
    podsOn: pods === undefined ? () => [] : podsByNode(state, pods),
  }
}
