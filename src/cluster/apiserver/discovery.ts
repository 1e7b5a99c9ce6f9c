/**
 * What the server serves, for clients that do not know it: the legacy documents (`/api`, `/apis`, `/apis/<group>/<version>`) and
 * the aggregated one (apidiscovery.k8s.io/v2) that kubectl asks for first. Pure functions of the kinds.
 * https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
 */
import { createHash } from 'node:crypto'
import type { AnyKind } from '#schema/kind.ts'

export interface DiscoveryOptions {
  readonly kinds: readonly AnyKind[]
  /** Groups in order of preference. */
  readonly groupOrder: readonly string[]
}

interface GroupVersionKind {
  readonly group: string
  readonly version: string
  readonly kind: string
}

interface Subresource {
  readonly name: string
  readonly speaks: GroupVersionKind
  readonly verbs: readonly string[]
}

interface Discovered {
  readonly plural: string
  readonly singular: string
  readonly namespaced: boolean
  readonly verbs: readonly string[]
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly speaks: GroupVersionKind
  readonly stored: boolean
  readonly subresources: readonly Subresource[]
}

interface GroupVersion {
  readonly group: string
  readonly version: string
  readonly resources: readonly Discovered[]
}

const partVerbs = ['get', 'patch', 'update'] as const

function discovered(kind: AnyKind): Discovered {
  const speaks = { group: kind.group, version: kind.version, kind: kind.kind }
  const { status, scale, others = {} } = kind.subresources
  const subresources: Subresource[] = Object.entries(others).map(([name, { group, version, kind: spoken, verbs }]) => ({ name, speaks: { group, version, kind: spoken }, verbs }))
  if (scale !== undefined) subresources.push({ name: 'scale', speaks: { group: 'autoscaling', version: 'v1', kind: 'Scale' }, verbs: partVerbs })
  if (status === true) subresources.push({ name: 'status', speaks, verbs: partVerbs })
  return { plural: kind.plural, singular: kind.singular, namespaced: kind.namespaced, verbs: kind.verbs, shortNames: kind.shortNames, categories: kind.categories, speaks, stored: kind.verbs.includes('get'), subresources }
}

/** Groups in order of preference, resources in order of name. */
function groupVersions({ kinds, groupOrder }: DiscoveryOptions): GroupVersion[] {
  const found = new Map<string, Discovered[]>()
  for (const resource of kinds.map(discovered)) {
    const id = `${resource.speaks.group}/${resource.speaks.version}`
    found.set(id, [...(found.get(id) ?? []), resource])
  }
  const rank = (group: string): number => (groupOrder.includes(group) ? groupOrder.indexOf(group) : groupOrder.length)
  return [...found.values()]
    .map((resources) => ({ group: resources[0]?.speaks.group ?? '', version: resources[0]?.speaks.version ?? '', resources: resources.toSorted((a, b) => (a.plural < b.plural ? -1 : 1)) }))
    .sort((a, b) => rank(a.group) - rank(b.group) || (a.group < b.group ? -1 : 1))
}

const apiVersionOf = ({ group, version }: { readonly group: string; readonly version: string }): string => (group === '' ? version : `${group}/${version}`)

/** Only has to differ between resources: clients use it as a key of caches. */
function storageHash({ speaks }: Discovered): string {
  return createHash('sha256').update(`${speaks.group}/${speaks.version}/${speaks.kind}`).digest('base64').slice(0, 12)
}

function resourceList(own: GroupVersion): object {
  const resources = own.resources.flatMap((resource) => [
    {
      name: resource.plural,
      singularName: resource.singular,
      namespaced: resource.namespaced,
      kind: resource.speaks.kind,
      verbs: resource.verbs,
      ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
      ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
      ...(resource.stored ? { storageVersionHash: storageHash(resource) } : {}),
    },
    ...resource.subresources.map(({ name, speaks, verbs }) => ({
      name: `${resource.plural}/${name}`,
      singularName: '',
      namespaced: resource.namespaced,
      ...(speaks.group === own.group && speaks.version === own.version ? {} : { group: speaks.group, version: speaks.version }),
      kind: speaks.kind,
      verbs,
    })),
  ])
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersionOf(own), resources }
}

function aggregatedVersion({ version, resources }: GroupVersion): object {
  return {
    version,
    freshness: 'Current',
    resources: resources.map((resource) => ({
      resource: resource.plural,
      responseKind: resource.speaks,
      scope: resource.namespaced ? 'Namespaced' : 'Cluster',
      singularResource: resource.singular,
      verbs: resource.verbs,
      ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
      ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
      ...(resource.subresources.length > 0 ? { subresources: resource.subresources.map(({ name, speaks, verbs }) => ({ subresource: name, responseKind: speaks, verbs })) } : {}),
    })),
  }
}

function group(versions: readonly GroupVersion[]): object {
  const named = versions.map((version) => ({ groupVersion: apiVersionOf(version), version: version.version }))
  return { name: versions[0]?.group ?? '', versions: named, preferredVersion: named[0] }
}

export interface Discovery {
  /** The legacy document at a path such as `/apis/apps/v1`; undefined when nothing is served there. */
  document(path: string): object | undefined
  /** The aggregated document for `/api` or `/apis`. */
  aggregated(path: '/api' | '/apis', version: string): object
}

export function discovery(options: DiscoveryOptions): Discovery {
  const all = groupVersions(options)
  const core = all.filter((version) => version.group === '')
  const named = [...Map.groupBy(all.filter((version) => version.group !== ''), (version) => version.group).values()]
  const documents = new Map<string, object>([
    ['/api', { kind: 'APIVersions', versions: core.map(({ version }) => version), serverAddressByClientCIDRs: [] }],
    ['/apis', { kind: 'APIGroupList', apiVersion: 'v1', groups: named.map(group) }],
  ])
  for (const version of core) documents.set(`/api/${version.version}`, resourceList(version))
  for (const versions of named) {
    documents.set(`/apis/${versions[0]?.group ?? ''}`, { kind: 'APIGroup', apiVersion: 'v1', ...group(versions) })
    for (const version of versions) documents.set(`/apis/${apiVersionOf(version)}`, resourceList(version))
  }
  return {
    document: (path) => documents.get(path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path),
    aggregated(path, version) {
      const groups = path === '/api' ? [core] : named
      const items = groups.map((versions) => ({ metadata: { name: versions[0]?.group === '' ? undefined : versions[0]?.group, creationTimestamp: null }, versions: versions.map(aggregatedVersion) }))
      return { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items }
    },
  }
}
