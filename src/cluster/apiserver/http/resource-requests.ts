/** Requests for stored objects: from the parsed URL and body to the API core, and back to an answer. */
import { Fault } from '#base/fault.ts'
import { isJsonArray, isJsonObject, textOf, type JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'
import { Scale } from '../../api/autoscaling/v1/scale.ts'
import type { UserInfo } from '../../contract/authorizer.ts'
import type { Api, Target } from '../api.ts'
import { metaOf } from '../entry.ts'
import { badRequest, qualifiedName } from '../refusals.ts'
import type { ListRequest } from '../read.ts'
import type { Resource } from '../resources.ts'
import type { WriteContext } from '../submission.ts'
import type { DeletionOptions } from '../write.ts'
import { sendList, sendObject, type AnswerContext } from './answers.ts'
import { readObject, readPatch } from './body.ts'
import { header, sendJson, type Exchange } from './exchange.ts'
import { negotiate, type Representation } from './negotiation.ts'
import { count, flag, text, type ResourceInfo } from './request-info.ts'
import { success } from './status.ts'
import { streamWatch } from './watch-stream.ts'

export interface ResourceRequest {
  readonly exchange: Exchange
  readonly info: ResourceInfo
  readonly user: UserInfo
  readonly api: Api
  readonly answers: AnswerContext
}

const partSubresources = new Set(['', 'status', 'finalize', 'ephemeralcontainers', 'resize'])

function representation({ exchange }: ResourceRequest, objects = true): Representation {
  return negotiate(header(exchange, 'accept'), { encodings: ['json', 'yaml', 'protobuf'], objects }, exchange.url.searchParams)
}

function listRequest({ exchange, info }: ResourceRequest): ListRequest {
  const query = exchange.url.searchParams
  return {
    namespace: info.namespace,
    labelSelector: text(query, 'labelSelector'),
    fieldSelector: text(query, 'fieldSelector'),
    resourceVersion: text(query, 'resourceVersion'),
    resourceVersionMatch: text(query, 'resourceVersionMatch'),
    limit: count(query, 'limit'),
    continue: text(query, 'continue'),
  }
}

/** `curl/8.5` writes as `curl`, as upstream names managers that did not name themselves. */
function defaultManager(exchange: Exchange): string {
  return (header(exchange, 'user-agent') ?? 'unknown').split('/')[0]?.slice(0, 128) ?? 'unknown'
}

/** A Warning header per message; the quoted text must stay within HTTP's alphabet. */
function warn(exchange: Exchange, message: string): void {
  const safe = message.slice(0, 256).replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')
  exchange.response.appendHeader('warning', `299 - "${safe}"`)
}

function writeContext({ exchange, user }: ResourceRequest, bodyText?: string): WriteContext {
  const query = exchange.url.searchParams
  const validation = text(query, 'fieldValidation') ?? 'Warn'
  if (validation !== 'Ignore' && validation !== 'Warn' && validation !== 'Strict') throw badRequest(`fieldValidation "${validation}" is not known: Ignore, Warn or Strict`)
  const dryRun = query.getAll('dryRun').filter((value) => value !== '')
  if (dryRun.some((value) => value !== 'All')) throw badRequest(`dryRun "${dryRun.join(',')}" is not known: only All is`)
  const fieldManager = text(query, 'fieldManager') ?? defaultManager(exchange)
  const tracked = !user.groups.includes('system:nodes')
  return { user, dryRun: dryRun.length > 0, fieldManager, tracked, fieldValidation: validation, text: bodyText, warn: (message) => warn(exchange, message) }
}

/** From the query, or from a DeleteOptions body, which wins. */
async function deletionOptions({ exchange, answers }: ResourceRequest): Promise<DeletionOptions & { readonly dryRun: boolean }> {
  const { value } = await readObject(exchange, answers.protobuf.read, true)
  const query = exchange.url.searchParams
  const body: JsonObject = isJsonObject(value) ? value : {}
  const grace = body['gracePeriodSeconds'] ?? count(query, 'gracePeriodSeconds')
  if (grace !== undefined && grace !== null && !(typeof grace === 'number' && Number.isInteger(grace) && grace >= 0)) throw badRequest(`gracePeriodSeconds must be a number of seconds, not ${textOf(grace)}`)
  const orphan = body['orphanDependents'] ?? flag(query, 'orphanDependents')
  const policy = body['propagationPolicy'] ?? text(query, 'propagationPolicy') ?? (orphan === true ? 'Orphan' : undefined)
  if (policy !== undefined && policy !== null && policy !== 'Background' && policy !== 'Foreground' && policy !== 'Orphan') {
    throw badRequest(`propagationPolicy "${textOf(policy)}" is not known: Background, Foreground or Orphan`)
  }
  const { preconditions, dryRun } = body
  const known = isJsonObject(preconditions) ? preconditions : {}
  const string = (name: string): string | undefined => (typeof known[name] === 'string' ? known[name] : undefined)
  return {
    gracePeriodSeconds: typeof grace === 'number' ? grace : undefined,
    propagationPolicy: policy ?? undefined,
    preconditions: { uid: string('uid'), resourceVersion: string('resourceVersion') },
    dryRun: isJsonArray(dryRun) && dryRun.includes('All'),
  }
}

function statusDetails({ kind }: Resource, object: JsonObject): { readonly name: string; readonly group: string; readonly kind: string; readonly uid: string } {
  const { name, uid } = metaOf(object)
  return { name, group: kind.group, kind: kind.plural, uid }
}

async function deleteOne(request: ResourceRequest, target: Target): Promise<void> {
  const { exchange, api, answers } = request
  const as = representation(request)
  const { dryRun, ...options } = await deletionOptions(request)
  const context = writeContext(request)
  const { entry, removed } = await api.delete(target, options, { ...context, dryRun: context.dryRun || dryRun })
  const { resource } = target
  if (removed && resource.strategy.answersDeleted !== true) sendJson(exchange, 200, success(statusDetails(resource, entry.object)))
  else sendObject(exchange, 200, resource.kind, entry, as, answers)
}

async function deleteMany(request: ResourceRequest, resource: Resource): Promise<void> {
  const { exchange, api, answers } = request
  const as = representation(request)
  const { dryRun, ...options } = await deletionOptions(request)
  const context = writeContext(request)
  const entries = await api.deleteCollection(resource, listRequest(request), options, { ...context, dryRun: context.dryRun || dryRun })
  await sendList(exchange, resource.kind, { entries, resourceVersion: String(api.revision()), continue: undefined, remainingItemCount: undefined }, as, answers)
}

async function watch(request: ResourceRequest, resource: Resource): Promise<void> {
  const { exchange, api, answers, info } = request
  const query = exchange.url.searchParams
  const list = listRequest(request)
  const fieldSelector = info.name === '' ? list.fieldSelector : `metadata.name=${info.name}`
  await streamWatch(exchange, {
    api,
    resource,
    as: representation(request),
    context: answers,
    request: {
      ...list,
      fieldSelector,
      sendInitialEvents: flag(query, 'sendInitialEvents'),
      allowWatchBookmarks: flag(query, 'allowWatchBookmarks'),
      timeoutSeconds: count(query, 'timeoutSeconds'),
      signal: exchange.signal,
    },
  })
}

async function create(request: ResourceRequest, resource: Resource): Promise<void> {
  const { exchange, api, info, answers } = request
  const as = representation(request)
  const { value, text: bodyText } = await readObject(exchange, answers.protobuf.read)
  sendObject(exchange, 201, resource.kind, await api.create(resource, info.namespace, value, writeContext(request, bodyText)), as, answers)
}

async function update(request: ResourceRequest, target: Target & { readonly subresource: string }): Promise<void> {
  const { exchange, api, answers } = request
  const as = representation(request)
  const { value, text: bodyText } = await readObject(exchange, answers.protobuf.read)
  sendObject(exchange, 200, target.resource.kind, await api.update(target, value, writeContext(request, bodyText)), as, answers)
}

async function patch(request: ResourceRequest, target: Target & { readonly subresource: string }): Promise<void> {
  const { exchange, api, answers } = request
  const as = representation(request)
  const { type, value } = await readPatch(exchange)
  if (type === 'apply') {
    const query = exchange.url.searchParams
    if (text(query, 'fieldManager') === undefined) throw badRequest('PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch')
    const { entry, created } = await api.apply({ ...target, force: flag(query, 'force') === true }, value, writeContext(request))
    return sendObject(exchange, created ? 201 : 200, target.resource.kind, entry, as, answers)
  }
  sendObject(exchange, 200, target.resource.kind, await api.patch(target, { type, body: value }, writeContext(request)), as, answers)
}

async function scale(request: ResourceRequest, target: Target): Promise<void> {
  const { exchange, api, info, answers } = request
  const as = representation(request)
  const answer = (object: JsonObject): void => sendObject(exchange, 200, Scale, object, as, answers)
  switch (info.verb) {
    case 'get':
      return answer(await api.getScale(target))
    case 'update': {
      const { value, text: bodyText } = await readObject(exchange, answers.protobuf.read)
      return answer(await api.writeScale(target, { body: value }, writeContext(request, bodyText)))
    }
    case 'patch': {
      const { type, value } = await readPatch(exchange)
      if (type === 'apply') throw new Fault('unsupportedMediaType', 'a Scale is not applied: use application/merge-patch+json')
      return answer(await api.writeScale(target, { body: value, patch: type }, writeContext(request)))
    }
    default:
      throw methodNotAllowed(info)
  }
}

export function methodNotAllowed({ verb, plural, subresource }: ResourceInfo): Fault {
  return new Fault('methodNotAllowed', `${verb} is not supported on ${plural}${subresource === '' ? '' : `/${subresource}`}`)
}

/** Subresources that are created, not stored. True when it was one. */
async function createdSubresource(request: ResourceRequest, target: Target): Promise<boolean> {
  const { exchange, api, info, answers } = request
  if (info.verb !== 'create') return false
  const id = `${info.plural}.${info.group}/${info.subresource}`
  switch (id) {
    case 'pods./binding': {
      const { value } = await readObject(exchange, answers.protobuf.read)
      await api.bindPod(target, value, writeContext(request))
      sendJson(exchange, 201, success(undefined, 201))
      return true
    }
    case 'pods./eviction': {
      const { value } = await readObject(exchange, answers.protobuf.read)
      const options = isJsonObject(value) && isJsonObject(value['deleteOptions']) ? value['deleteOptions'] : {}
      const grace = options['gracePeriodSeconds']
      await api.delete(target, { gracePeriodSeconds: typeof grace === 'number' ? grace : undefined }, writeContext(request))
      sendJson(exchange, 201, success(undefined, 201))
      return true
    }
    case 'serviceaccounts./token': {
      const { value } = await readObject(exchange, answers.protobuf.read)
      sendJson(exchange, 201, await api.requestToken(target, value))
      return true
    }
    default:
      return false
  }
}

function serves({ subresources }: AnyKind, subresource: string): boolean {
  if (subresource === '') return true
  if (subresource === 'status') return subresources.status === true
  return subresources.others !== undefined && Object.hasOwn(subresources.others, subresource)
}

/** A legacy binding: POST to `bindings`, the pod named by the body. */
export async function legacyBinding(request: ResourceRequest): Promise<void> {
  const { exchange, api, info, answers } = request
  const { value } = await readObject(exchange, answers.protobuf.read)
  const name = isJsonObject(value) && isJsonObject(value['metadata']) ? value['metadata']['name'] : undefined
  if (typeof name !== 'string') throw badRequest('a Binding needs metadata.name, the pod')
  const resource = api.resources.need({ group: '', version: 'v1', plural: 'pods' })
  await api.bindPod({ resource, ref: { namespace: info.namespace, name } }, value, writeContext(request))
  sendJson(exchange, 201, success(undefined, 201))
}

export async function answerResource(request: ResourceRequest): Promise<void> {
  const { exchange, info, api, answers } = request
  const resource = api.resources.need(info)
  const { kind } = resource
  if (kind.namespaced && info.namespace === '' && (info.name !== '' || info.verb === 'create')) {
    throw new Fault('notFound', `${qualifiedName(kind)} live in a namespace: use /namespaces/<namespace>/${kind.plural}`)
  }
  if (!kind.namespaced && info.namespace !== '' && kind.plural !== 'namespaces') throw new Fault('notFound', 'the server could not find the requested resource')
  const target: Target = { resource, ref: { namespace: kind.namespaced ? info.namespace : '', name: info.name } }
  if (info.subresource === 'scale' && kind.subresources.scale !== undefined) return scale(request, target)
  if (!serves(kind, info.subresource)) throw new Fault('notFound', 'the server could not find the requested resource')
  if (await createdSubresource(request, target)) return
  if (!partSubresources.has(info.subresource)) throw methodNotAllowed(info)
  const part = { ...target, subresource: info.subresource }
  switch (info.verb) {
    case 'get':
      return sendObject(exchange, 200, kind, await api.get(target, text(exchange.url.searchParams, 'resourceVersion')), representation(request), answers)
    case 'list': {
      const as = representation(request)
      return sendList(exchange, kind, await api.list(resource, listRequest(request)), as, answers)
    }
    case 'watch':
      return watch(request, resource)
    case 'create':
      if (info.name !== '') throw methodNotAllowed(info)
      return create(request, resource)
    case 'update':
      return update(request, part)
    case 'patch':
      return patch(request, part)
    case 'delete':
      if (info.subresource !== '') throw methodNotAllowed(info)
      return deleteOne(request, target)
    case 'deletecollection':
      if (!kind.verbs.includes('deletecollection')) throw methodNotAllowed(info)
      return deleteMany(request, resource)
  }
}
