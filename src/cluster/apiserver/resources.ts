/** Which resources the server knows, and under which store keys their objects live. Pure data; nothing here holds state. */
import { Fault } from '#base/fault.ts'
import type { AnyKind } from '#schema/kind.ts'
import type { Strategy } from './strategy.ts'

/** One stored resource: a kind and what the server does for it beyond what every kind gets. */
export interface Resource {
  readonly kind: AnyKind
  readonly strategy: Strategy
  /** Store keys of its objects begin with it: `/registry/pods/`, `/registry/deployments.apps/`. */
  readonly prefix: string
}

/** Names one object; `namespace` is '' for cluster-scoped kinds. */
export interface Ref {
  readonly namespace: string
  readonly name: string
}

export interface ResourceId {
  readonly group: string
  readonly version: string
  readonly plural: string
}

export const registryPrefix = '/registry/'

export class Resources {
  readonly all: readonly Resource[]
  /** Those with objects of their own: all but the views (`views.ts`). */
  readonly stored: readonly Resource[]
  readonly #byId = new Map<string, Resource>()
  readonly #byPrefix = new Map<string, Resource>()

  /** Kinds that are stored nowhere by themselves (reviews, Binding, Scale) do not belong in here. */
  constructor(kinds: readonly AnyKind[], strategyOf: (kind: AnyKind) => Strategy) {
    this.all = kinds.map((kind) => ({ kind, strategy: strategyOf(kind), prefix: prefixOf(kind) }))
    this.stored = this.all.filter(({ kind }) => kind.viewOf === undefined)
    for (const resource of this.all) this.#byId.set(idText(resource.kind), resource)
    for (const resource of this.stored) this.#byPrefix.set(resource.prefix, resource)
  }

  find(id: ResourceId): Resource | undefined {
    return this.#byId.get(idText(id))
  }

  /** Throws `notFound`: what kubectl shows as "the server could not find the requested resource". */
  need(id: ResourceId): Resource {
    const found = this.find(id)
    if (found === undefined) throw new Fault('notFound', 'the server could not find the requested resource', { details: { group: id.group, kind: id.plural } })
    return found
  }

  /** The resource whose objects live under a store key. */
  ofKey(key: string): Resource | undefined {
    const end = key.indexOf('/', registryPrefix.length)
    return end < 0 ? undefined : this.#byPrefix.get(key.slice(0, end + 1))
  }
}

function idText({ group, version, plural }: ResourceId): string {
  return `${group}/${version}/${plural}`
}

function prefixOf({ group, plural }: AnyKind): string {
  return group === '' ? `${registryPrefix}${plural}/` : `${registryPrefix}${plural}.${group}/`
}

/** Everything of the resource in one namespace; all of it when `namespace` is ''. */
export function scopePrefix(resource: Resource, namespace: string): string {
  return resource.kind.namespaced && namespace !== '' ? `${resource.prefix}${namespace}/` : resource.prefix
}

export function keyOf(resource: Resource, ref: Ref): string {
  return scopePrefix(resource, ref.namespace) + ref.name
}
