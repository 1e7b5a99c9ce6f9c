/**
 * Paths and operations of the kinds for OpenAPI documents. kubectl reads them to learn which kind a resource has, and
 * whether its patches take `fieldValidation`, `dryRun` and strategic merge (Kubernetes API reference, "Operations").
 */
import type { AnyField } from './field.ts'
import type { JsonObject, MutableJsonObject } from './json.ts'
import type { AnyKind } from './kind.ts'
import { protobufMediaType } from './protobuf.ts'
import type { Definitions, GroupVersionKind } from './openapi-schema.ts'
import { defineKindSchemas, gvkExtension, refOf } from './openapi-schema.ts'

/** Definitions that operations refer to. */
export interface SharedTypes {
  readonly listMeta: AnyField
  readonly status: AnyField
  readonly deleteOptions: AnyField
  /** What the `scale` subresource speaks. */
  readonly scale: AnyKind
}

const mediaTypes = ['application/json', 'application/yaml', protobufMediaType]
const patchTypes = ['application/json-patch+json', 'application/merge-patch+json', 'application/strategic-merge-patch+json', 'application/apply-patch+yaml']

interface Parameter {
  readonly name: string
  readonly type: 'string' | 'integer' | 'boolean'
  readonly description: string
}
const writing: readonly Parameter[] = [
  { name: 'dryRun', type: 'string', description: 'All: do everything but store it.' },
  { name: 'fieldManager', type: 'string', description: 'Who makes the change.' },
  { name: 'fieldValidation', type: 'string', description: 'What happens to unknown and duplicate fields: Ignore, Warn or Strict.' },
]
const listing: readonly Parameter[] = [
  { name: 'allowWatchBookmarks', type: 'boolean', description: 'Send bookmarks with the latest version.' },
  { name: 'continue', type: 'string', description: 'Token of the next page.' },
  { name: 'fieldSelector', type: 'string', description: 'Only objects whose fields match.' },
  { name: 'labelSelector', type: 'string', description: 'Only objects whose labels match.' },
  { name: 'limit', type: 'integer', description: 'At most so many objects per page.' },
  { name: 'resourceVersion', type: 'string', description: 'Version to list or to watch from.' },
  { name: 'resourceVersionMatch', type: 'string', description: 'How resourceVersion applies to lists.' },
  { name: 'sendInitialEvents', type: 'boolean', description: 'Begin a watch with the objects that are there.' },
  { name: 'timeoutSeconds', type: 'integer', description: 'End the request after so many seconds.' },
  { name: 'watch', type: 'boolean', description: 'Stream changes instead of listing.' },
]
const deleting: readonly Parameter[] = [
  { name: 'dryRun', type: 'string', description: 'All: do everything but delete it.' },
  { name: 'gracePeriodSeconds', type: 'integer', description: 'Seconds before the object is removed.' },
  { name: 'propagationPolicy', type: 'string', description: 'What becomes of dependents: Orphan, Background or Foreground.' },
]
const forcing: Parameter = { name: 'force', type: 'boolean', description: 'Take over fields that others own (server-side apply).' }

interface Operation {
  readonly id: string
  readonly action: string
  readonly description: string
  readonly identity: GroupVersionKind
  readonly parameters: readonly Parameter[]
  /** Definition of the body; patches name none. */
  readonly body?: JsonObject
  readonly answer: JsonObject
  readonly patch?: boolean
}

function parameterDocument({ name, type, description }: Parameter, into: Definitions): JsonObject {
  const head: JsonObject = { name, in: 'query', description }
  return into.dialect === 'v2' ? { ...head, type, uniqueItems: true } : { ...head, schema: { type, uniqueItems: true } }
}

function pathParameter(name: string, description: string, into: Definitions): JsonObject {
  const head: JsonObject = { name, in: 'path', description, required: true }
  return into.dialect === 'v2' ? { ...head, type: 'string', uniqueItems: true } : { ...head, schema: { type: 'string', uniqueItems: true } }
}

function contents(types: readonly string[], schema: JsonObject): JsonObject {
  return Object.fromEntries(types.map((type) => [type, { schema }]))
}

function operationDocument(operation: Operation, into: Definitions): JsonObject {
  const { id, action, description, identity, body, answer, patch = false } = operation
  const parameters = operation.parameters.map((parameter) => parameterDocument(parameter, into))
  const head = { description, operationId: id, 'x-kubernetes-action': action, [gvkExtension]: { group: identity.group, kind: identity.kind, version: identity.version } }
  const consumes = patch ? patchTypes : mediaTypes
  if (into.dialect === 'v2') {
    const bodies: JsonObject[] = body === undefined ? [] : [{ name: 'body', in: 'body', required: true, schema: body }]
    return { ...head, consumes: body === undefined ? ['*/*'] : consumes, produces: mediaTypes, parameters: [...bodies, ...parameters], responses: { '200': { description: 'OK', schema: answer } }, schemes: ['https'] }
  }
  const requestBody = body === undefined ? {} : { requestBody: { required: true, content: contents(patch ? patchTypes : ['*/*'], body) } }
  return { ...head, parameters, ...requestBody, responses: { '200': { description: 'OK', content: contents(mediaTypes, answer) } } }
}

function patchBody(into: Definitions): JsonObject {
  return into.ref('io.k8s.apimachinery.pkg.apis.meta.v1.Patch', () => ({ type: 'object', description: 'A patch in the format that Content-Type names.' }))
}

/** All paths of one kind. Its definitions, and those its operations need, go into `into`. */
export function kindPaths(kind: AnyKind, shared: SharedTypes, into: Definitions): JsonObject {
  const names = defineKindSchemas(kind, shared.listMeta, into)
  const prefix = into.dialect === 'v2' ? '#/definitions/' : '#/components/schemas/'
  const item: JsonObject = { $ref: `${prefix}${names.item}` }
  const list: JsonObject = { $ref: `${prefix}${names.list}` }
  const status = refOf(shared.status, into)
  const options = refOf(shared.deleteOptions, into)
  const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`
  const collection = `${root}${kind.namespaced ? '/namespaces/{namespace}' : ''}/${kind.plural}`
  const title = operationTitle(kind)
  const identity = { group: kind.group, version: kind.version, kind: kind.kind }
  const can = (verb: string): boolean => kind.verbs.includes(verb)
  const operation = (given: Omit<Operation, 'identity'>): JsonObject => operationDocument({ identity, ...given }, into)
  const paths: MutableJsonObject = {}
  const listOperation = (suffix: string): JsonObject => operation({ id: `list${title}${suffix}`, action: 'list', description: `List or watch ${kind.plural}.`, parameters: listing, answer: list })
  paths[collection] = defined({
    get: can('list') ? listOperation('') : undefined,
    post: can('create') ? operation({ id: `create${title}`, action: 'post', description: `Create one of ${kind.plural}.`, parameters: writing, body: item, answer: item }) : undefined,
    delete: can('deletecollection') ? operation({ id: `deleteCollection${title}`, action: 'deletecollection', description: `Delete many ${kind.plural}.`, parameters: [...deleting, ...listing], body: options, answer: status }) : undefined,
    parameters: kind.namespaced ? [pathParameter('namespace', 'Namespace of the objects.', into)] : [],
  })
  if (kind.namespaced && can('list')) paths[`${root}/${kind.plural}`] = { get: listOperation('ForAllNamespaces') }
  const itemParameters = [pathParameter('name', 'Name of the object.', into), ...(kind.namespaced ? [pathParameter('namespace', 'Namespace of the object.', into)] : [])]
  const single = (suffix: string, of: JsonObject, body: JsonObject, as: GroupVersionKind): JsonObject => {
    const about = (verb: string): string => `${verb} ${suffix === '' ? 'one' : `the ${suffix.toLowerCase()} of one`} of ${kind.plural}.`
    const document = (given: Omit<Operation, 'identity'>): JsonObject => operationDocument({ identity: as, ...given }, into)
    return defined({
      get: document({ id: `read${title}${suffix}`, action: 'get', description: about('Read'), parameters: [], answer: of }),
      put: can('update') ? document({ id: `replace${title}${suffix}`, action: 'put', description: about('Replace'), parameters: writing, body, answer: of }) : undefined,
      patch: can('patch') ? document({ id: `patch${title}${suffix}`, action: 'patch', description: about('Patch'), parameters: [...writing, forcing], body: patchBody(into), answer: of, patch: true }) : undefined,
      delete:
        suffix === '' && can('delete') ? document({ id: `delete${title}`, action: 'delete', description: about('Delete'), parameters: deleting, body: options, answer: status }) : undefined,
      parameters: itemParameters,
    })
  }
  if (can('get')) paths[`${collection}/{name}`] = single('', item, item, identity)
  if (kind.subresources.status === true) paths[`${collection}/{name}/status`] = single('Status', item, item, identity)
  if (kind.subresources.scale !== undefined) {
    const scale: JsonObject = { $ref: `${prefix}${defineKindSchemas(shared.scale, shared.listMeta, into).item}` }
    paths[`${collection}/{name}/scale`] = single('Scale', scale, scale, { group: shared.scale.group, version: shared.scale.version, kind: shared.scale.kind })
  }
  return paths
}

/** `CoreV1NamespacedPod`. */
function operationTitle(kind: AnyKind): string {
  const group = kind.group === '' ? 'Core' : (kind.group.split('.')[0] ?? '')
  const capital = (word: string): string => `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`
  return `${capital(group)}${capital(kind.version)}${kind.namespaced ? 'Namespaced' : ''}${kind.kind}`
}

function defined(item: { readonly [method: string]: JsonObject | readonly JsonObject[] | undefined }): JsonObject {
  return Object.fromEntries(Object.entries(item).filter(([, value]) => value !== undefined))
}
