/** `berth kube get|apply|delete|scale`: objects in and out of the cluster. */
import { readFileSync } from 'node:fs'
import { parseAllDocuments, stringify } from 'yaml'
import { ExitError } from '../exit.ts'
import { collect } from '../docker/connection.ts'
import { listAt, objectAt, objectOf, parseJson, textAt } from '../json.ts'
import { renderTable } from '../table.ts'
import { print, type Terminal } from '../terminal.ts'
import { type KubeConnection, KubeRefusal } from './connection.ts'
import { discover, parseOne, parseTargets, pathOf, type Resource, resourceByKind } from './resources.ts'

export interface Scope {
  readonly namespace?: string
  readonly allNamespaces?: boolean
}

export interface GetOptions extends Scope {
  readonly output?: string
  readonly selector?: string
  readonly fieldSelector?: string
  readonly watch?: boolean
}

const tableType = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json'

function namespaceOf(kube: KubeConnection, scope: Scope): string | undefined {
  return scope.allNamespaces === true ? undefined : (scope.namespace ?? kube.defaultNamespace)
}

export async function get(kube: KubeConnection, terminal: Terminal, words: readonly string[], options: GetOptions): Promise<void> {
  const targets = parseTargets(await discover(kube), words)
  const namespace = namespaceOf(kube, options)
  const query = { labelSelector: options.selector, fieldSelector: options.fieldSelector }
  if (options.output === 'json' || options.output === 'yaml' || options.output === 'name') {
    const found: unknown[] = []
    for (const { resource, names } of targets) {
      if (names.length > 0) for (const name of names) found.push(await kube.json({ method: 'GET', path: pathOf(resource, namespace, name) }))
      else {
        const type = { apiVersion: resource.groupVersion, kind: resource.kind }
        for (const item of listAt(await kube.json({ method: 'GET', path: pathOf(resource, namespace), query }), 'items')) found.push({ ...type, ...objectOf(item) })
      }
    }
    return print(terminal.stdout, renderObjects(found, options.output, targets.some(({ names }) => names.length === 0)))
  }
  for (const { resource, names } of targets) {
    const tables =
      names.length === 0
        ? [await kube.json({ method: 'GET', path: pathOf(resource, namespace), query, accept: tableType })]
        : await Promise.all(names.map((name) => kube.json({ method: 'GET', path: pathOf(resource, namespace, name), accept: tableType })))
    const rows = tables.flatMap((table) => rowsOf(table, options))
    if (rows.length === 0) await print(terminal.stderr, namespace === undefined || !resource.namespaced ? 'No resources found\n' : `No resources found in ${namespace} namespace.\n`)
    else await print(terminal.stdout, renderTable([headerOf(tables[0], options), ...rows]))
    if (options.watch === true) await watch(kube, terminal, resource, namespace, textAt(objectAt(tables[0], 'metadata'), 'resourceVersion'), options)
  }
}

function renderObjects(found: readonly unknown[], output: 'json' | 'yaml' | 'name', asList: boolean): string {
  if (output === 'name') return found.map((object) => `${textAt(object, 'kind').toLowerCase()}/${textAt(objectAt(object, 'metadata'), 'name')}\n`).join('')
  const [only] = found
  const value = found.length === 1 && !asList ? only : { apiVersion: 'v1', kind: 'List', items: found, metadata: { resourceVersion: '' } }
  return output === 'json' ? `${JSON.stringify(value, null, 4)}\n` : stringify(value)
}

/** Columns of priority 0, and the rest with `-o wide`. */
function shown(table: unknown, options: GetOptions): readonly number[] {
  return listAt(table, 'columnDefinitions').flatMap((column, index) => (options.output === 'wide' || objectOf(column)['priority'] === 0 ? [index] : []))
}

function headerOf(table: unknown, options: GetOptions): string[] {
  const columns = listAt(table, 'columnDefinitions')
  const names = shown(table, options).map((index) => textAt(columns[index], 'name').toUpperCase())
  return options.allNamespaces === true ? ['NAMESPACE', ...names] : names
}

/** A cell is text, a number or a truth value; nothing is shown as kubectl shows it. */
function cellText(cell: unknown): string {
  if (cell === null || cell === undefined || cell === '') return '<none>'
  return typeof cell === 'string' ? cell : JSON.stringify(cell)
}

function rowsOf(table: unknown, options: GetOptions): string[][] {
  return listAt(table, 'rows').map((row) => {
    const cells = listAt(row, 'cells')
    const values = shown(table, options).map((index) => cellText(cells[index]))
    return options.allNamespaces === true ? [textAt(objectAt(objectAt(row, 'object'), 'metadata'), 'namespace'), ...values] : values
  })
}

async function watch(kube: KubeConnection, terminal: Terminal, resource: Resource, namespace: string | undefined, resourceVersion: string, options: GetOptions): Promise<void> {
  const stream = await kube.stream({
    method: 'GET',
    path: pathOf(resource, namespace),
    query: { watch: '1', resourceVersion, labelSelector: options.selector, fieldSelector: options.fieldSelector },
    accept: tableType,
  })
  let rest = ''
  let columns: unknown
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const table = objectAt(parseJson(line), 'object')
      if (listAt(table, 'columnDefinitions').length > 0) columns = table['columnDefinitions']
      await print(terminal.stdout, renderTable(rowsOf({ ...table, columnDefinitions: columns }, options)))
    }
  }
}

/** The objects in YAML or JSON files; `-` is standard input. A syntax error names file, line and column. */
async function readManifests(terminal: Terminal, files: readonly string[]): Promise<readonly unknown[]> {
  const objects: unknown[] = []
  for (const file of files) {
    const text = file === '-' ? (await collect(terminal.stdin)).toString('utf8') : readFileSync(file, 'utf8')
    for (const document of parseAllDocuments(text)) {
      const [problem] = document.errors
      if (problem !== undefined) throw new ExitError(`error: ${file}: ${problem.message.split('\n')[0]}`)
      const object: unknown = document.toJS()
      if (object === null || object === undefined) continue
      if (textAt(object, 'kind') === 'List') objects.push(...listAt(object, 'items'))
      else objects.push(object)
    }
  }
  if (objects.length === 0) throw new ExitError('error: no objects passed to apply')
  return objects
}

interface Located {
  readonly resource: Resource
  readonly namespace: string | undefined
  readonly name: string
  readonly label: string
}

function locate(resources: readonly Resource[], object: unknown, fallbackNamespace: string): Located {
  const resource = resourceByKind(resources, textAt(object, 'apiVersion'), textAt(object, 'kind'))
  const metadata = objectAt(object, 'metadata')
  const name = textAt(metadata, 'name')
  const group = resource.groupVersion.includes('/') ? `.${resource.groupVersion.split('/')[0]}` : ''
  return {
    resource,
    namespace: resource.namespaced ? textAt(metadata, 'namespace') || fallbackNamespace : undefined,
    name,
    label: `${resource.singular}${group}/${name}`,
  }
}

const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration'

/**
 * Creates or changes each object to what the manifest says. Fields that an earlier apply set and this one does not are
 * removed (the last-applied annotation that kubectl keeps serves both), what others set stays.
 */
export async function apply(kube: KubeConnection, terminal: Terminal, files: readonly string[], scope: Scope): Promise<void> {
  const resources = await discover(kube)
  for (const object of await readManifests(terminal, files)) {
    const located = locate(resources, object, scope.namespace ?? kube.defaultNamespace)
    const { resource, namespace, name, label } = located
    const configuration = `${JSON.stringify(object)}\n`
    const annotated = withAnnotation(object, lastApplied, configuration)
    const existing = await getOrUndefined(kube, pathOf(resource, namespace, name))
    if (existing === undefined) {
      await kube.json({ method: 'POST', path: pathOf(resource, namespace), query: { fieldManager: 'berth' }, body: annotated })
      await print(terminal.stdout, `${label} created\n`)
      continue
    }
    const previous = parseJson(textAt(objectAt(objectAt(existing, 'metadata'), 'annotations'), lastApplied) || '{}')
    const patch = mergeRemovals(removals(previous, object), annotated)
    const changed = await kube.json({
      method: 'PATCH',
      path: pathOf(resource, namespace, name),
      query: { fieldManager: 'berth' },
      body: patch,
      contentType: 'application/strategic-merge-patch+json',
    })
    const same = textAt(objectAt(changed, 'metadata'), 'resourceVersion') === textAt(objectAt(existing, 'metadata'), 'resourceVersion')
    await print(terminal.stdout, `${label} ${same ? 'unchanged' : 'configured'}\n`)
  }
}

function withAnnotation(object: unknown, key: string, value: string): Record<string, unknown> {
  const metadata = objectAt(object, 'metadata')
  return { ...objectOf(object), metadata: { ...metadata, annotations: { ...objectAt(metadata, 'annotations'), [key]: value } } }
}

/** `null` for every map field that `previous` had and `next` no longer has. Lists are the server's business (merge keys). */
function removals(previous: unknown, next: unknown): unknown {
  const result: Record<string, unknown> = {}
  const after = objectOf(next)
  for (const [key, value] of Object.entries(objectOf(previous))) {
    if (!(key in after)) result[key] = null
    else if (isMap(value) && isMap(after[key])) result[key] = removals(value, after[key])
  }
  return result
}

function mergeRemovals(removed: unknown, next: unknown): Record<string, unknown> {
  const result: Record<string, unknown> = { ...objectOf(removed) }
  for (const [key, value] of Object.entries(objectOf(next))) result[key] = isMap(value) ? mergeRemovals(result[key], value) : value
  return result
}

function isMap(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

async function getOrUndefined(kube: KubeConnection, path: string): Promise<unknown> {
  try {
    return await kube.json({ method: 'GET', path })
  } catch (error) {
    if (error instanceof KubeRefusal && error.status === 404) return undefined
    throw error
  }
}

export interface DeleteOptions extends Scope {
  readonly filename: readonly string[]
  readonly selector?: string
  readonly wait: boolean
  readonly ignoreNotFound?: boolean
  readonly gracePeriod?: string
}

export async function remove(kube: KubeConnection, terminal: Terminal, words: readonly string[], options: DeleteOptions): Promise<void> {
  const resources = await discover(kube)
  const namespace = options.namespace ?? kube.defaultNamespace
  const doomed = options.filename.length > 0 ? (await readManifests(terminal, options.filename)).map((object) => locate(resources, object, namespace)) : await named(kube, resources, words, namespace, options)
  for (const { resource, namespace: where, name, label } of doomed) {
    const path = pathOf(resource, where, name)
    try {
      await kube.json({ method: 'DELETE', path, body: { propagationPolicy: 'Background', gracePeriodSeconds: options.gracePeriod === undefined ? undefined : Number(options.gracePeriod) } })
    } catch (error) {
      if (error instanceof KubeRefusal && error.status === 404 && options.ignoreNotFound === true) continue
      throw error
    }
    await print(terminal.stdout, `${label.replace(/\/(.*)$/, ' "$1"')} deleted\n`)
  }
  if (options.wait) for (const { resource, namespace: where, name } of doomed) await untilGone(kube, resource, where, name)
}

async function named(kube: KubeConnection, resources: readonly Resource[], words: readonly string[], namespace: string, options: DeleteOptions): Promise<readonly Located[]> {
  const found: Located[] = []
  for (const { resource, names } of parseTargets(resources, words)) {
    if (names.length === 0 && options.selector === undefined) throw new ExitError('error: resource(s) were provided, but no name was specified')
    const items = names.length > 0 ? [] : listAt(await kube.json({ method: 'GET', path: pathOf(resource, namespace), query: { labelSelector: options.selector } }), 'items')
    const all = [...names, ...items.map((item) => textAt(objectAt(item, 'metadata'), 'name'))]
    for (const name of all) found.push(locate(resources, { apiVersion: resource.groupVersion, kind: resource.kind, metadata: { name, namespace } }, namespace))
  }
  return found
}

/** Watches until the object is really gone. */
async function untilGone(kube: KubeConnection, resource: Resource, namespace: string | undefined, name: string): Promise<void> {
  const query = { fieldSelector: `metadata.name=${name}` }
  const list = await kube.json({ method: 'GET', path: pathOf(resource, namespace), query })
  if (listAt(list, 'items').length === 0) return
  const stream = await kube.stream({
    method: 'GET',
    path: pathOf(resource, namespace),
    query: { ...query, watch: '1', resourceVersion: textAt(objectAt(list, 'metadata'), 'resourceVersion') },
  })
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop() ?? ''
    if (lines.some((line) => textAt(parseJson(line), 'type') === 'DELETED')) break
  }
  stream.destroy()
}

export async function scale(kube: KubeConnection, terminal: Terminal, words: readonly string[], replicas: number, scope: Scope): Promise<void> {
  if (!Number.isInteger(replicas) || replicas < 0) throw new ExitError('error: --replicas must be a whole number of 0 or more')
  const { resource, name } = parseOne(await discover(kube), words, 'deployment')
  const path = `${pathOf(resource, scope.namespace ?? kube.defaultNamespace, name)}/scale`
  await kube.json({ method: 'PATCH', path, body: { spec: { replicas } }, contentType: 'application/merge-patch+json' })
  await print(terminal.stdout, `${resource.singular}.${resource.groupVersion.split('/')[0]}/${name} scaled\n`)
}
