/**
 * From a request body to an object that may be stored: right kind, no field that the schema does not know, metadata that
 * belongs to the server taken care of, defaults, validation.
 */
import { rfc3339Seconds, type Clock } from '#base/clock.ts'
import type { FaultCause } from '#base/fault.ts'
import { nameSuffix, uuid4, type Random } from '#base/random.ts'
import { invalidObject } from '#schema/cause.ts'
import { changes } from '#schema/changes.ts'
import { decodeObject, type FieldValidation } from '#schema/decode.ts'
import { withDefaults } from '#schema/defaults.ts'
import { isJsonObject, sameJson, type JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'
import { violations } from '#schema/violations.ts'
import type { UserInfo } from '../contract/authorizer.ts'
import { asJson, asKind, metaOf, withMeta } from './entry.ts'
import { badRequest, conflict, forbidden, notFound } from './refusals.ts'
import type { Ref, Resource } from './resources.ts'

/** What comes with every write. */
export interface WriteContext {
  readonly user: UserInfo
  /** Everything happens but the commit. */
  readonly dryRun: boolean
  readonly fieldManager: string
  /**
   * Whether to note which fields the writer set. Our own components' writes go unnoted until somebody applies the object:
   * the notes would double its size, and nothing reads them before.
   */
  readonly tracked: boolean
  /** What becomes of unknown fields: dropped silently, dropped with a warning, refused. */
  readonly fieldValidation: FieldValidation
  /** The body as JSON text where there is one: only it shows duplicate keys. */
  readonly text?: string
  /** Collects what the Warning header says. */
  readonly warn: (message: string) => void
}

const longestGeneratedBase = 58

/** Defaults, as a JSON object again. */
export function defaulted(kind: AnyKind, object: JsonObject): JsonObject {
  return withDefaults<unknown, unknown>(kind, object) as JsonObject
}

/** Checks kind, types and fields of a body. Throws `invalidArgument`. The result has metadata, if only empty. */
export function readBody(kind: AnyKind, body: unknown, context: WriteContext): JsonObject {
  const { object, warnings } = decodeObject(kind, body, context)
  for (const warning of warnings) context.warn(warning)
  const decoded = asJson(object)
  return isJsonObject(decoded['metadata']) ? decoded : { ...decoded, metadata: {} }
}

/** The namespace a body names must be that of the request. */
export function placedIn(kind: AnyKind, object: JsonObject, namespace: string): JsonObject {
  const given = metaOf(object).namespace
  if (!kind.namespaced) return given === undefined ? object : withMeta(object, { namespace: undefined })
  if (given !== undefined && given !== '' && given !== namespace) {
    throw badRequest(`the namespace of the provided object does not match the namespace sent on the request: "${given}" is not "${namespace}"`)
  }
  return withMeta(object, { namespace })
}

/** A new object before defaults: what the server assigns, and what a client may not set on creation, is settled. */
export function newObject(kind: AnyKind, submitted: JsonObject, ports: { readonly clock: Clock; readonly random: Random }): JsonObject {
  const meta = metaOf(submitted)
  if (meta.resourceVersion !== undefined && meta.resourceVersion !== '') throw badRequest('resourceVersion should not be set on objects to be created')
  let name: string = meta.name ?? ''
  if (name === '' && meta.generateName !== undefined && meta.generateName !== '') {
    name = meta.generateName.slice(0, longestGeneratedBase) + nameSuffix(ports.random)
  }
  const stamped = withMeta(submitted, {
    name,
    uid: uuid4(ports.random),
    creationTimestamp: rfc3339Seconds(ports.clock.nowMs()),
    generation: kind.generation ? 1 : undefined,
    resourceVersion: undefined,
    deletionTimestamp: undefined,
    deletionGracePeriodSeconds: undefined,
    managedFields: undefined,
    selfLink: undefined,
  })
  const { status: _, ...withoutStatus } = stamped
  const bare: JsonObject = kind.subresources.status === true ? withoutStatus : stamped
  return kind.prepareForCreate === undefined ? bare : kind.prepareForCreate(bare)
}

/** An update before defaults: what is not the writer's to change comes from the stored object. */
export function updatedObject(resource: Resource, submitted: JsonObject, previous: JsonObject, subresource: string): JsonObject {
  const [next, old] = [metaOf(submitted), metaOf(previous)]
  const kept = {
    name: old.name,
    namespace: old.namespace,
    uid: old.uid,
    creationTimestamp: old.creationTimestamp,
    generation: old.generation,
    generateName: old.generateName,
    deletionTimestamp: old.deletionTimestamp,
    deletionGracePeriodSeconds: old.deletionGracePeriodSeconds,
    resourceVersion: old.resourceVersion,
    managedFields: old.managedFields,
    selfLink: undefined,
  }
  const whole = withMeta(submitted, kept)
  switch (subresource) {
    case '':
      return resource.kind.subresources.status === true ? { ...whole, status: previous['status'] } : whole
    case 'status': {
      const metadata = resource.strategy.statusWritesMetadata === true ? { labels: next.labels, annotations: next.annotations } : {}
      return { ...withMeta(previous, metadata), status: submitted['status'] }
    }
    case 'finalize':
      return { ...previous, spec: { ...asKind<{ spec?: JsonObject }>(previous).spec, finalizers: asKind<{ spec?: JsonObject }>(submitted).spec?.['finalizers'] } }
    default:
      return whole
  }
}

/** `previous` guarded by what the body says that it knew. Throws `conflict`. */
export function checkPreconditions(kind: AnyKind, name: string, previous: JsonObject, known: { readonly uid?: string; readonly resourceVersion?: string }): void {
  const { uid, resourceVersion } = metaOf(previous)
  if (known.uid !== undefined && known.uid !== '' && known.uid !== uid) {
    throw conflict(kind, name, `Precondition failed: UID in precondition: ${known.uid}, UID in object meta: ${uid}`)
  }
  if (known.resourceVersion !== undefined && known.resourceVersion !== '' && known.resourceVersion !== '0' && known.resourceVersion !== resourceVersion) {
    throw conflict(kind, name, 'the object has been modified; please apply your changes to the latest version and try again')
  }
}

/** Whether the desired state differs: everything but metadata and status. */
function desiredStateChanged(next: JsonObject, previous: JsonObject): boolean {
  const desired = ({ metadata: _, status: __, ...rest }: JsonObject): JsonObject => rest
  return !sameJson(desired(next), desired(previous))
}

export function withGeneration(kind: AnyKind, next: JsonObject, previous: JsonObject): JsonObject {
  if (!kind.generation || !desiredStateChanged(next, previous)) return next
  return withMeta(next, { generation: (metaOf(previous).generation ?? 0) + 1 })
}

/** Throws `unprocessable` with one cause per field. */
export function validate(kind: AnyKind, object: JsonObject): void {
  const found = violations(kind, object)
  if (found.length > 0) throw invalidObject(kind, metaOf(object).name ?? '', found)
}

/**
 * What strategies may rely on before the object is validated as a whole: everything required is there and of its type.
 * Throws `unprocessable` otherwise.
 */
export function validateShape(kind: AnyKind, object: JsonObject): void {
  const found = violations(kind, object)
  if (found.some(({ reason }) => reason === 'FieldValueRequired' || reason === 'FieldValueTypeInvalid')) throw invalidObject(kind, metaOf(object).name ?? '', found)
}

export function validateUpdate(kind: AnyKind, next: JsonObject, previous: JsonObject, subresource: string): void {
  const found: FaultCause[] = [...violations(kind, next), ...changes(kind, next, previous, { subresource })]
  const [meta, old] = [metaOf(next), metaOf(previous)]
  const added = (meta.finalizers ?? []).filter((finalizer) => !(old.finalizers ?? []).includes(finalizer))
  if (old.deletionTimestamp !== undefined && added.length > 0) {
    const message = `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`
    found.push({ reason: 'FieldValueForbidden', field: 'metadata.finalizers', message })
  }
  if (found.length > 0) throw invalidObject(kind, meta.name, found)
}

/** Namespaced objects need a namespace that exists and is not on its way out. Throws `permissionDenied` or `notFound`. */
export function checkNamespace(kind: AnyKind, ref: Ref, namespace: JsonObject | undefined): void {
  if (namespace === undefined) throw notFound({ group: '', plural: 'namespaces', kind: 'Namespace' }, ref.namespace)
  if (metaOf(namespace).deletionTimestamp !== undefined) {
    const why = `unable to create new content in namespace ${ref.namespace} because it is being terminated`
    throw forbidden(kind, ref.name, why, [{ reason: 'NamespaceTerminating', message: `namespace ${ref.namespace} is being terminated`, field: 'metadata.namespace' }])
  }
}
