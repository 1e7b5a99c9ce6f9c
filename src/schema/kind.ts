/**
 * A kind: everything the server, its clients and `kubectl` need to know about one type of object, as data.
 *
 *   export const ConfigMap = defineKind({ group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps', … })
 *   client.get(ConfigMap, ref)  →  Stored<typeof ConfigMap>
 *   client.create(ConfigMap, object: Submitted<typeof ConfigMap>)
 *
 * Code that handles any kind takes `AnyKind` and sees `StoredObject`. Columns stay out of it (`*.table.ts`): a column
 * reads the stored type, which is derived from the definition, and would make the types circular.
 */
import type { FaultCause } from '#base/fault.ts'
import type { AnyField, Fields } from './field.ts'
import { Field } from './field.ts'
import type { JsonObject } from './json.ts'
import type { NamespacedMeta, ObjectMeta, SubmittedMeta } from './object-meta.ts'
import { objectMeta } from './object-meta.ts'
import type { InOf, OutOf } from './vocabulary.ts'
import { object, string } from './vocabulary.ts'

/** Any stored object, as far as code that does not know its kind may look. */
export interface StoredObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: ObjectMeta
}
export interface SubmittedObject {
  readonly apiVersion?: string | undefined
  readonly kind?: string | undefined
  readonly metadata?: SubmittedMeta | undefined
}

export interface ScalePaths {
  /** Dotted paths into the object. */
  readonly replicas: string
  readonly statusReplicas: string
  /** Path of a label selector object. */
  readonly selector: string
}

export interface Subresources {
  /** `/status`: spec changes are ignored there, status changes are ignored everywhere else. */
  readonly status?: boolean
  readonly scale?: ScalePaths
  /** Served by code of their own: name → the kind they speak and their verbs, for discovery. */
  readonly others?: { readonly [name: string]: { readonly group: string; readonly version: string; readonly kind: string; readonly verbs: readonly string[] } }
}

/** What a rule across fields may look at. */
export interface UpdateRuleContext {
  /** '' for the main resource, else the subresource that is being written. */
  readonly subresource: string
}

/**
 * Rules of one kind. They are methods so that a kind may name the stored type it reads (`{ spec: PodSpec }`): the folds
 * call them only with objects whose shape was found right.
 */
export interface KindRules {
  /** Rules that span fields of one defaulted object. */
  validate?(object: object): readonly FaultCause[]
  /** Rules about what may change, beyond `.immutable()` fields. */
  validateUpdate?(next: object, previous: object, context: UpdateRuleContext): readonly FaultCause[]
  /** Before a new object is defaulted: what the server sets whatever the client says. */
  prepareForCreate?(object: JsonObject): JsonObject
  /** Before an update is defaulted: values the server allocated, carried over where the client left them out. */
  prepareForUpdate?(next: JsonObject, previous: JsonObject): JsonObject
}

/** What discovery lists for an ordinary resource. */
const allVerbs: readonly string[] = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']

/** What a kind that is not stored by itself shows (`view.ts`). */
export interface ViewOf {
  /** Where its objects live: under this kind's key, in its form. */
  readonly kind: AnyKind
  /** Fields at the top of the object that the two call differently: the view's name → the stored name. */
  readonly fieldNames: { readonly [viewName: string]: string }
}

export type NameFormat = 'dnsSubdomain' | 'dnsLabel' | 'dns1035Label' | 'pathSegment'

export interface KindIdentity {
  /** '' for the core group. */
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
}

export interface KindOptions<F extends Fields, N extends boolean> extends KindIdentity, KindRules {
  readonly singular?: string
  readonly shortNames?: readonly string[]
  readonly categories?: readonly string[]
  readonly namespaced: N
  readonly fields: F
  readonly subresources?: Subresources
  readonly nameFormat?: NameFormat
  /** Field selector paths beyond metadata.name and metadata.namespace. */
  readonly selectable?: readonly string[]
  /** Selectable names that stand for another path. */
  readonly selectorAliases?: { readonly [name: string]: string }
  /** Whether metadata.generation counts changes outside metadata and status. Default: false. */
  readonly generation?: boolean
  readonly verbs?: readonly string[]
  readonly viewOf?: ViewOf
  /** Last step of defaulting; sees the whole object. */
  readonly complete?: (object: JsonObject) => JsonObject
  readonly doc?: string
  /** Short OpenAPI name; default `<group's first word or core>.<version>.<Kind>`. */
  readonly typeName?: string
}

/** `I` and `O` are phantom: what clients submit and what is stored. */
export interface KindDefinition<I, O> extends KindIdentity, KindRules {
  readonly '~in'?: I
  readonly '~out'?: O
  /** `v1`, `apps/v1`. */
  readonly apiVersion: string
  readonly singular: string
  readonly listKind: string
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly namespaced: boolean
  readonly subresources: Subresources
  readonly nameFormat: NameFormat
  readonly selectable: readonly string[]
  readonly selectorAliases: { readonly [name: string]: string }
  /** Whether metadata.generation counts changes outside metadata and status. */
  readonly generation: boolean
  readonly verbs: readonly string[]
  /** Absent on kinds that are stored by themselves. */
  readonly viewOf?: ViewOf | undefined
  /** The whole object, `apiVersion`, `kind` and `metadata` included. */
  readonly schema: AnyField
}
export type AnyKind = KindDefinition<SubmittedObject, StoredObject>

/** What clients send for a kind. */
export type Submitted<K extends { readonly '~in'?: unknown }> = Exclude<K['~in'], undefined>
/** What the server stores and answers. */
export type Stored<K extends { readonly '~out'?: unknown }> = Exclude<K['~out'], undefined>

type SubmittedKind<F extends Fields> = InOf<F> & { readonly apiVersion?: string | undefined; readonly kind?: string | undefined; readonly metadata?: SubmittedMeta | undefined }
type StoredKind<F extends Fields, N extends boolean> = OutOf<F> & {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: N extends true ? NamespacedMeta : ObjectMeta
}

/** A list as the server answers it. */
export interface ObjectList<O> {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string | undefined; readonly remainingItemCount?: number | undefined }
  readonly items: readonly O[]
}

export function apiVersionOf(group: string, version: string): string {
  return group === '' ? version : `${group}/${version}`
}

function typeNameOf(options: KindIdentity): string {
  const group = options.group === '' ? 'core' : (options.group.split('.')[0] ?? options.group)
  return `${group}.${options.version}.${options.kind}`
}

export function defineKind<const F extends Fields, const N extends boolean>(options: KindOptions<F, N>): KindDefinition<SubmittedKind<F>, StoredKind<F, N>> {
  const typeMeta = {
    kind: string().always().doc('Kind of the object.'),
    apiVersion: string().always().doc('Group and version of the kind.'),
    metadata: objectMeta.always().proto(1).doc('Names, labels, owners, versions.'),
  }
  const schema = object(options.typeName ?? typeNameOf(options), { ...typeMeta, ...options.fields }, { doc: options.doc, complete: options.complete })
  return Object.freeze({
    group: options.group,
    version: options.version,
    kind: options.kind,
    plural: options.plural,
    apiVersion: apiVersionOf(options.group, options.version),
    singular: options.singular ?? options.kind.toLowerCase(),
    listKind: `${options.kind}List`,
    shortNames: options.shortNames ?? [],
    categories: options.categories ?? [],
    namespaced: options.namespaced,
    subresources: options.subresources ?? {},
    nameFormat: options.nameFormat ?? 'dnsSubdomain',
    selectable: options.selectable ?? [],
    selectorAliases: options.selectorAliases ?? {},
    generation: options.generation ?? false,
    verbs: options.verbs ?? allVerbs,
    viewOf: options.viewOf,
    validate: options.validate?.bind(options),
    validateUpdate: options.validateUpdate?.bind(options),
    prepareForCreate: options.prepareForCreate?.bind(options),
    prepareForUpdate: options.prepareForUpdate?.bind(options),
    schema: new Field<unknown, unknown>(schema.facts),
  })
}
