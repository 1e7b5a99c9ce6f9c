/** Subresources that are more than a part of the object: scale, a pod's binding and eviction, a service account's tokens. */
import { rfc3339Seconds } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { isJsonArray, isJsonObject, textOf, type Json, type JsonObject } from '#schema/json.ts'
import { formatLabelSelector, requirementsOf, valueAt, type LabelSelectorLike } from '#schema/selector.ts'
import { Scale } from '../api/autoscaling/v1/scale.ts'
import type { Pod, } from '../api/core/v1/pod.ts'
import { asJson, asKind, metaOf, withMeta, type Entry } from './entry.ts'
import { badRequest, conflict, notFound } from './refusals.ts'
import type { Ref, Resource } from './resources.ts'
import { defaulted, readBody, validate, type WriteContext } from './submission.ts'
import { updateEntry, type WritePorts } from './write.ts'

/** The Scale of an object. Throws `notFound` where the kind has none. */
export function scaleOf(resource: Resource, object: JsonObject): JsonObject {
  const paths = resource.kind.subresources.scale
  if (paths === undefined) throw new Fault('notFound', 'the server could not find the requested resource')
  const { name, namespace, uid, resourceVersion, creationTimestamp } = metaOf(object)
  const selector = valueAt(object, paths.selector)
  return defaulted(Scale, {
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: valueAt(object, paths.replicas) ?? 0 },
    status: {
      replicas: valueAt(object, paths.statusReplicas) ?? 0,
      selector: isJsonObject(selector) ? formatLabelSelector(requirementsOf(selector as LabelSelectorLike)) : undefined,
    },
  })
}

/** `object` with the value at a dotted path replaced. */
function withValueAt(object: JsonObject, path: readonly string[], value: Json): JsonObject {
  const [step, ...rest] = path
  if (step === undefined) throw new TypeError('a path has at least one step')
  const inner = object[step]
  return { ...object, [step]: rest.length === 0 ? value : withValueAt(isJsonObject(inner) ? inner : {}, rest, value) }
}

/** Writes the replica count of a Scale into the object. `change` gets the current Scale. */
export async function updateScale(ports: WritePorts, target: { readonly resource: Resource; readonly ref: Ref }, change: (current: JsonObject) => unknown, context: WriteContext): Promise<Entry> {
  const { resource } = target
  const paths = resource.kind.subresources.scale
  if (paths === undefined) throw new Fault('notFound', 'the server could not find the requested resource')
  const write = (current: JsonObject): JsonObject => {
    const submitted = defaulted(Scale, readBody(Scale, change(scaleOf(resource, current)), context))
    validate(Scale, submitted)
    const { uid, resourceVersion } = metaOf(submitted)
    // The guard is the Scale's own; without one the write is unconditional.
    return withMeta(withValueAt(current, paths.replicas.split('.'), valueAt(submitted, 'spec.replicas') ?? 0), { uid, resourceVersion })
  }
  return updateEntry(ports, { ...target, subresource: 'scale' }, write, context)
}

/** Puts a pod on the node that a Binding names. Throws `conflict` when it is on one. */
export async function bindPod(ports: WritePorts, target: { readonly resource: Resource; readonly ref: Ref }, body: unknown, context: WriteContext): Promise<void> {
  const { resource, ref } = target
  const node = isJsonObject(body) && isJsonObject(body['target']) ? body['target']['name'] : undefined
  if (typeof node !== 'string' || node === '') throw badRequest('a Binding needs target.name, the node')
  const wanted = isJsonObject(body) && isJsonObject(body['metadata']) ? body['metadata']['uid'] : undefined
  const change = (current: JsonObject): JsonObject => {
    const pod = asKind<Pod>(current)
    if (typeof wanted === 'string' && wanted !== '' && wanted !== pod.metadata.uid) {
      throw conflict(resource.kind, ref.name, `Precondition failed: UID in precondition: ${wanted}, UID in object meta: ${pod.metadata.uid}`)
    }
    if (pod.metadata.deletionTimestamp !== undefined) throw conflict(resource.kind, ref.name, `pod ${ref.name} is being deleted, cannot be assigned to a host`)
    if ((pod.spec.nodeName ?? '') !== '') throw conflict(resource.kind, ref.name, `pod ${ref.name} is already assigned to node "${pod.spec.nodeName}"`)
    const scheduled = { type: 'PodScheduled', status: 'True', lastTransitionTime: rfc3339Seconds(ports.clock.nowMs()), observedGeneration: pod.metadata.generation } as const
    const conditions = [...(pod.status.conditions ?? []).filter(({ type }) => type !== 'PodScheduled'), scheduled]
    const bound = { ...pod, spec: { ...pod.spec, nodeName: node }, status: { ...pod.status, conditions } }
    return withMeta(asJson(bound), { resourceVersion: undefined })
  }
  await updateEntry(ports, { resource, ref, subresource: 'binding' }, change, context)
}

/** Who may get tokens for service accounts, and what a token says (authentication.k8s.io/v1 TokenRequest). */
export interface TokenIssuer {
  issue(claims: {
    readonly namespace: string
    readonly serviceAccount: { readonly name: string; readonly uid: string }
    readonly audiences: readonly string[]
    readonly expirationSeconds: number
    readonly boundTo: { readonly kind: string; readonly name: string; readonly uid: string } | undefined
  }): Promise<{ readonly token: string; readonly expiresMs: number }>
}

const shortestTokenSeconds = 600
const longestTokenSeconds = 24 * 3600

export async function requestToken(
  ports: WritePorts,
  issuer: TokenIssuer,
  target: { readonly resource: Resource; readonly ref: Ref },
  body: unknown,
): Promise<JsonObject> {
  const { resource, ref } = target
  await ports.state.caughtUp()
  const account = ports.state.entry(resource, ref)
  if (account === undefined) throw notFound(resource.kind, ref.name)
  const spec = isJsonObject(body) && isJsonObject(body['spec']) ? body['spec'] : {}
  const asked = spec['expirationSeconds'] ?? 3600
  if (typeof asked !== 'number' || asked < shortestTokenSeconds) throw badRequest(`spec.expirationSeconds: Invalid value: ${textOf(asked)}: may not specify a duration less than 10 minutes`)
  const audiences = isJsonArray(spec['audiences']) ? spec['audiences'].map(textOf) : []
  const bound = spec['boundObjectRef']
  const boundTo = isJsonObject(bound) ? { kind: textOf(bound['kind']), name: textOf(bound['name']), uid: textOf(bound['uid'] ?? '') } : undefined
  if (boundTo !== undefined) checkBound(ports, ref, boundTo)
  const expirationSeconds = Math.min(asked, longestTokenSeconds)
  const { token, expiresMs } = await issuer.issue({ namespace: ref.namespace, serviceAccount: { name: ref.name, uid: account.meta.uid }, audiences, expirationSeconds, boundTo })
  return {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name: ref.name, namespace: ref.namespace, creationTimestamp: rfc3339Seconds(ports.clock.nowMs()) },
    spec: { ...spec, audiences, expirationSeconds },
    status: { token, expirationTimestamp: rfc3339Seconds(expiresMs) },
  }
}

function checkBound(ports: WritePorts, { namespace }: Ref, boundTo: { readonly kind: string; readonly name: string; readonly uid: string }): void {
  const plural = boundTo.kind === 'Pod' ? 'pods' : boundTo.kind === 'Secret' ? 'secrets' : boundTo.kind === 'Node' ? 'nodes' : undefined
  if (plural === undefined) throw badRequest(`cannot bind a token to a ${boundTo.kind}: Pod, Secret or Node is possible`)
  const object = ports.surroundings.object({ group: '', plural }, { namespace: plural === 'nodes' ? '' : namespace, name: boundTo.name })
  if (object === undefined) throw notFound({ group: '', plural, kind: boundTo.kind }, boundTo.name)
  const { uid } = metaOf(object)
  if (boundTo.uid !== '' && boundTo.uid !== uid) {
    throw conflict({ group: '', plural, kind: boundTo.kind }, boundTo.name, `the UID in the bound object reference (${boundTo.uid}) does not match the UID in record. The object might have been deleted and then recreated`)
  }
}
