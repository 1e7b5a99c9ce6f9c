/** Finds what a word on the command line means (`po`, `pods`, `deployment/web`) by asking the API server's discovery. */
import { ExitError } from '../exit.ts'
import { listAt, textAt } from '../json.ts'
import type { KubeConnection } from './connection.ts'

export interface Resource {
  /** `v1`, `apps/v1`. */
  readonly groupVersion: string
  readonly kind: string
  readonly plural: string
  readonly singular: string
  readonly shortNames: readonly string[]
  readonly namespaced: boolean
}

export interface Target {
  readonly resource: Resource
  readonly name: string
}

export async function discover(kube: KubeConnection): Promise<readonly Resource[]> {
  const groups = listAt(await kube.json({ method: 'GET', path: '/apis' }), 'groups')
  const groupVersions = ['v1', ...groups.flatMap((group) => listAt(group, 'versions').map((version) => textAt(version, 'groupVersion')))]
  const lists = await Promise.all(groupVersions.map(async (groupVersion) => ({ groupVersion, list: await kube.json({ method: 'GET', path: rootOf(groupVersion) }) })))
  return lists.flatMap(({ groupVersion, list }) =>
    listAt(list, 'resources')
      .filter((entry) => !textAt(entry, 'name').includes('/'))
      .map((entry) => ({
        groupVersion,
        kind: textAt(entry, 'kind'),
        plural: textAt(entry, 'name'),
        singular: textAt(entry, 'singularName') || textAt(entry, 'kind').toLowerCase(),
        shortNames: listAt(entry, 'shortNames').map(String),
        namespaced: typeof entry === 'object' && entry !== null && 'namespaced' in entry && entry.namespaced === true,
      })),
  )
}

function rootOf(groupVersion: string): string {
  return groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`
}

function resourceByWord(resources: readonly Resource[], word: string): Resource {
  const [name = '', ...group] = word.toLowerCase().split('.')
  const wanted = group.join('.')
  const found = resources.find(
    ({ plural, singular, shortNames, groupVersion }) =>
      (plural === name || singular === name || shortNames.includes(name)) && (wanted === '' || groupVersion.startsWith(`${wanted}/`)),
  )
  if (found === undefined) throw new ExitError(`error: the server doesn't have a resource type "${word}"`)
  return found
}

export function resourceByKind(resources: readonly Resource[], groupVersion: string, kind: string): Resource {
  const found = resources.find((resource) => resource.kind === kind && resource.groupVersion === groupVersion)
  if (found === undefined) throw new ExitError(`error: no matches for kind "${kind}" in version "${groupVersion}"`)
  return found
}

/** The path of a collection, or of one object in it when `name` is given. */
export function pathOf(resource: Resource, namespace: string | undefined, name?: string): string {
  const scope = resource.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : ''
  return `${rootOf(resource.groupVersion)}${scope}/${resource.plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`
}

/** `pod/web`, `pods web db`, `deploy,svc`: the resources and names that `words` mean; no names means all. */
export function parseTargets(resources: readonly Resource[], words: readonly string[]): readonly { readonly resource: Resource; readonly names: readonly string[] }[] {
  if (words.some((word) => word.includes('/'))) {
    return words.map((word) => {
      const slash = word.indexOf('/')
      if (slash < 0) throw new ExitError(`error: there is no need to specify a resource type as a separate argument when passing arguments in resource/name form`)
      return { resource: resourceByWord(resources, word.slice(0, slash)), names: [word.slice(slash + 1)] }
    })
  }
  const [types = '', ...names] = words
  return types.split(',').map((type) => ({ resource: resourceByWord(resources, type), names }))
}

/** Exactly one object, as `logs`, `exec`, `scale` and `rollout` need it; a bare name means `defaultType`. */
export function parseOne(resources: readonly Resource[], words: readonly string[], defaultType: string): Target {
  const targets = words.length === 1 && !words[0]?.includes('/') ? [{ resource: resourceByWord(resources, defaultType), names: words }] : parseTargets(resources, words)
  const [target] = targets
  const name = target?.names[0]
  if (target === undefined || name === undefined || targets.length > 1 || target.names.length > 1) throw new ExitError('error: expected exactly one object, such as deployment/web')
  return { resource: target.resource, name }
}
