/**
 * The client contract over the API core of the same process: for the server's own controllers, the scheduler and the
 * simulator. What it returns is shared with the caches and frozen. It acts as `user`, without asking the authorizer.
 */
import { Fault } from '#base/fault.ts'
import type { Stored } from '#schema/kind.ts'
import type { UserInfo } from '../contract/authorizer.ts'
import type { Client, ClientKind, ObjectRef, WatchEvent, WriteOptions } from '../contract/client.ts'
import type { Api, Target } from './api.ts'
import type { WatchItem } from './cache.ts'
import type { Entry } from './entry.ts'
import type { WriteContext } from './submission.ts'

export interface LocalClientOptions {
  readonly api: Api
  /** Whom the writes are recorded as. */
  readonly user?: UserInfo
  /** Waited for between the pages of a list, so that the informers of this process do not hold the thread from the first to the last. */
  readonly pause?: () => Promise<void>
}

const controllers: UserInfo = { name: 'system:apiserver', groups: ['system:masters', 'system:authenticated'] }

export function localClient({ api, user = controllers, pause }: LocalClientOptions): Client {
  const target = (kind: ClientKind, ref: ObjectRef): Target => ({ resource: api.resources.need(kind), ref: { namespace: ref.namespace ?? '', name: ref.name } })
  const context = (options: WriteOptions = {}): WriteContext => ({
    user,
    dryRun: options.dryRun === true,
    fieldManager: options.fieldManager ?? user.name,
    tracked: false,
    fieldValidation: 'Strict',
    warn: () => undefined,
  })
  const objectRef = (object: { readonly metadata?: { readonly namespace?: string; readonly name?: string } }): ObjectRef => ({
    namespace: object.metadata?.namespace,
    name: object.metadata?.name ?? '',
  })
  return {
    async get(kind, ref, options) {
      return typed<typeof kind>(await api.get(target(kind, ref), options?.resourceVersion))
    },
    async list(kind, options = {}) {
      if (options.continue !== undefined && options.continue !== '') await pause?.()
      const list = await api.list(api.resources.need(kind), { ...options, namespace: options.namespace ?? '' })
      return { items: list.entries.map((entry) => typed<typeof kind>(entry)), resourceVersion: list.resourceVersion, continue: list.continue, remainingItemCount: list.remainingItemCount }
    },
    async *watch(kind, options) {
      const request = { ...options, namespace: options.namespace ?? '', allowWatchBookmarks: true, signal: options.signal ?? new AbortController().signal }
      for await (const items of await api.watch(api.resources.need(kind), request)) for (const item of items) yield watchEvent<typeof kind>(item)
    },
    async create(kind, object, options) {
      const { namespace } = objectRef(object)
      return typed<typeof kind>(await api.create(api.resources.need(kind), namespace ?? '', object, context(options)))
    },
    async createSubresource(kind, ref, subresource, body, options) {
      switch (`${kind.plural}/${subresource}`) {
        case 'pods/binding':
          await api.bindPod(target(kind, ref), body, context(options))
          return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 }
        case 'pods/eviction':
          await api.delete(target(kind, ref), {}, context(options))
          return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 }
        case 'serviceaccounts/token':
          return api.requestToken(target(kind, ref), body)
        default:
          throw new Fault('notFound', `${kind.plural} have no subresource ${subresource} that can be created`)
      }
    },
    async update(kind, object, options = {}) {
      return typed<typeof kind>(await api.update({ ...target(kind, objectRef(object)), subresource: options.subresource ?? '' }, object, context(options)))
    },
    async patch(kind, ref, patch, options) {
      const { type, subresource = '' } = options
      if (type === 'apply') {
        if (options.fieldManager === undefined) throw new Fault('invalidArgument', 'fieldManager: Required value: is required for apply patch')
        return typed<typeof kind>((await api.apply({ ...target(kind, ref), subresource, force: options.force === true }, patch, context(options))).entry)
      }
      return typed<typeof kind>(await api.patch({ ...target(kind, ref), subresource }, { type, body: patch }, context(options)))
    },
    async delete(kind, ref, options = {}) {
      await api.delete(target(kind, ref), options, context())
    },
  }
}

/** What the core stored has passed through the kind's schema, so it is of the kind's stored type. */
function typed<K extends ClientKind>(entry: Entry): Stored<K> {
  return entry.object as unknown as Stored<K>
}

function watchEvent<K extends ClientKind>(item: WatchItem): WatchEvent<Stored<K>> {
  if (item.type === 'BOOKMARK') return { type: 'BOOKMARK', resourceVersion: String(item.revision) }
  return { type: item.type, object: typed<K>(item.entry) }
}
