/**
 * Create, update and delete. Each is a loop around one guarded commit: read the current state, make the next one, commit it
 * on the condition that nobody was faster; when somebody was, and the client named no version, do it again.
 */
import { rfc3339Seconds, type Clock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { Random } from '#base/random.ts'
import { KeyedSerial } from '#base/task.ts'
import { sameJson, type JsonObject } from '#schema/json.ts'
import { Entry, metaOf, withMeta } from './entry.ts'
import { application, updateNotes, type OwnerNotes } from './field-owners.ts'
import { alreadyExists, badRequest, modified, notFound } from './refusals.ts'
import { keyOf, type Ref, type Resource } from './resources.ts'
import type { ObjectWrite, State } from './state.ts'
import type { AdmissionRequest, Surroundings } from './strategy.ts'
import { checkNamespace, checkPreconditions, defaulted, newObject, placedIn, readBody, updatedObject, validate, validateShape, validateUpdate, withGeneration, type WriteContext } from './submission.ts'

export interface WritePorts {
  readonly state: State
  readonly clock: Clock
  readonly random: Random
  readonly surroundings: Surroundings
  /** Queue per resource whose strategy asks for serial writes. */
  readonly serial: KeyedSerial<Resource>
}

export interface Preconditions {
  readonly uid?: string
  readonly resourceVersion?: string
}

export interface DeletionOptions {
  readonly gracePeriodSeconds?: number
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan'
  readonly preconditions?: Preconditions
}

/** `removed`: the object is gone; otherwise it waits for finalizers or for its grace to end. */
export interface Deletion {
  readonly entry: Entry
  readonly removed: boolean
}

const attempts = 16
const generatedNameAttempts = 8

function inTurn<T>(ports: WritePorts, resource: Resource, task: () => Promise<T>): Promise<T> {
  return resource.strategy.serialWrites === true ? ports.serial.run(resource, task) : task()
}

async function commit(ports: WritePorts, context: { readonly dryRun: boolean }, write: ObjectWrite & { readonly object: JsonObject }): Promise<Entry> {
  const key = keyOf(write.resource, write.ref)
  if (context.dryRun) return new Entry(key, write.object, typeof write.expect === 'object' ? write.expect.modRevision : 0n)
  const revision = await ports.state.commit([write])
  const entry = ports.state.cache(write.resource).get(key)
  // Somebody may have been faster than our reading back: then the answer is made of what we wrote.
  return entry?.revision === revision ? entry : new Entry(key, write.object, revision)
}

/** Runs `attempt` until it does not lose a race; gives up with `conflict`. */
async function retrying<T>(resource: Resource, name: string, attempt: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count += 1) {
    try {
      return await attempt()
    } catch (error) {
      if (!lostRace(error)) throw error
      if (count === attempts) throw modified(resource.kind, name)
    }
  }
}

/** The store refused a guard of ours: it names a key, which a refusal to a client never does. */
function lostRace(error: unknown): boolean {
  return isFault(error, 'conflict') && error.details['key'] !== undefined
}

function admitted(ports: WritePorts, resource: Resource, object: JsonObject, request: Omit<AdmissionRequest, 'surroundings'>): JsonObject {
  const { admit } = resource.strategy
  if (admit === undefined) return object
  validateShape(resource.kind, object)
  const next = admit(object, { ...request, surroundings: ports.surroundings })
  return next === object ? object : defaulted(resource.kind, next)
}

/** `notes`: what is written down about the fields' owners; as for any create unless told otherwise. */
export function createEntry(ports: WritePorts, target: { readonly resource: Resource; readonly namespace: string; readonly notes?: OwnerNotes }, body: unknown, context: WriteContext): Promise<Entry> {
  const { resource, namespace } = target
  const { kind, strategy } = resource
  const notes = target.notes ?? updateNotes(kind, '', ports.clock, context)
  const submitted = placedIn(kind, readBody(kind, body, context), namespace)
  const generates = (metaOf(submitted).name ?? '') === '' && (metaOf(submitted).generateName ?? '') !== ''
  if ((metaOf(submitted).name ?? '') === '' && !generates) throw missingName(resource)
  const attempt = async (): Promise<Entry> => {
    await ports.state.caughtUp()
    const fresh = newObject(kind, submitted, ports)
    const ref = { namespace: kind.namespaced ? namespace : '', name: metaOf(fresh).name }
    if (kind.namespaced) checkNamespace(kind, ref, ports.surroundings.object({ group: '', plural: 'namespaces' }, { namespace: '', name: namespace }))
    if (ports.state.entry(resource, ref) !== undefined) throw alreadyExists(kind, ref.name)
    const object = admitted(ports, resource, defaulted(kind, fresh), { operation: 'create', user: context.user, subresource: '', namespace, previous: undefined })
    validate(kind, object)
    for (const warning of strategy.warnings?.(object) ?? []) context.warn(warning)
    try {
      return await commit(ports, context, { op: 'put', resource, ref, object: notes(object, undefined, submitted), expect: 'absent' })
    } catch (error) {
      throw lostRace(error) ? alreadyExists(kind, ref.name) : error
    }
  }
  return inTurn(ports, resource, async () => {
    for (let count = 1; ; count += 1) {
      try {
        return await attempt()
      } catch (error) {
        if (!generates || count === generatedNameAttempts || !isFault(error, 'alreadyExists')) throw error
      }
    }
  })
}

function missingName({ kind }: Resource): Fault {
  const message = 'Required value: name or generateName is required'
  return new Fault('unprocessable', `${kind.kind} "" is invalid: metadata.name: ${message}`, {
    causes: [{ reason: 'FieldValueRequired', message, field: 'metadata.name' }],
    details: { name: '', group: kind.group, kind: kind.kind },
  })
}

/**
 * Changes one object: `change` gets the current one and returns what a client would have sent for it. It may run several
 * times. `expected` guards as the body's own metadata does.
 */
export function updateEntry(
  ports: WritePorts,
  target: { readonly resource: Resource; readonly ref: Ref; readonly subresource: string; readonly notes?: OwnerNotes },
  change: (current: JsonObject) => unknown,
  context: WriteContext,
): Promise<Entry> {
  const { resource, ref, subresource } = target
  const { kind, strategy } = resource
  const notes = target.notes ?? updateNotes(kind, subresource, ports.clock, context)
  const attempt = async (): Promise<Entry> => {
    await ports.state.caughtUp()
    const current = ports.state.entry(resource, ref)
    if (current === undefined) throw notFound(kind, ref.name)
    const previous = current.object
    const submitted = placedIn(kind, readBody(kind, change(previous), context), ref.namespace)
    const { name } = metaOf(submitted)
    if ((name ?? '') !== ref.name) throw badRequest(`the name of the object (${name ?? ''}) does not match the name on the URL (${ref.name})`)
    checkPreconditions(kind, ref.name, previous, metaOf(submitted))
    const merged = defaulted(kind, updatedObject(resource, submitted, previous, subresource))
    const next = withGeneration(kind, admitted(ports, resource, merged, { operation: 'update', user: context.user, subresource, namespace: ref.namespace, previous }), previous)
    validateUpdate(kind, next, previous, subresource)
    for (const warning of strategy.warnings?.(next) ?? []) context.warn(warning)
    const noted = notes(next, previous, submitted)
    if (sameJson(noted, previous)) return current
    const expect = { modRevision: current.revision }
    if (readyToGo(resource, next)) {
      const removed = { op: 'delete', resource, ref, expect } as const
      const revision = context.dryRun ? ports.state.revision : await ports.state.commit([removed])
      return new Entry(current.key, next, revision)
    }
    return commit(ports, context, { op: 'put', resource, ref, object: noted, expect })
  }
  return inTurn(ports, resource, () => retrying(resource, ref.name, attempt))
}

/** Server-side apply: creates the object, or gives it the fields that the configuration names. */
export async function applyEntry(
  ports: WritePorts,
  target: { readonly resource: Resource; readonly ref: Ref; readonly subresource: string; readonly force: boolean },
  body: unknown,
  context: WriteContext,
): Promise<{ readonly entry: Entry; readonly created: boolean }> {
  const { resource, ref, subresource, force } = target
  const { object, notes } = application(resource.kind, body, { force, subresource, clock: ports.clock }, context)
  for (let count = 1; ; count += 1) {
    await ports.state.caughtUp()
    try {
      if (ports.state.entry(resource, ref) !== undefined || subresource !== '') return { entry: await updateEntry(ports, { resource, ref, subresource, notes }, object, context), created: false }
      const made = object(undefined)
      if ((metaOf(made).name ?? '') !== ref.name) throw badRequest(`the name of the object (${metaOf(made).name ?? ''}) does not match the name on the URL (${ref.name})`)
      return { entry: await createEntry(ports, { resource, namespace: ref.namespace, notes }, made, context), created: true }
    } catch (error) {
      // It came, or went, between our look and our write.
      const raced = isFault(error, 'alreadyExists') || (isFault(error, 'notFound') && error.details['name'] === ref.name && subresource === '')
      if (!raced || count === attempts) throw error
    }
  }
}

/** A deleted object without anything left to wait for. A grace that runs is ended by a deletion with grace 0 alone. */
function readyToGo(resource: Resource, object: JsonObject): boolean {
  const meta = metaOf(object)
  if (meta.deletionTimestamp === undefined || (meta.finalizers ?? []).length > 0) return false
  return (meta.deletionGracePeriodSeconds ?? 0) === 0 && resource.strategy.holdsDeletion?.(object) !== true
}

/** The finalizer that a propagation policy puts on the object; the garbage collector takes it off. */
const policyFinalizers = { Foreground: 'foregroundDeletion', Orphan: 'orphan' } as const

function finalizersFor(object: JsonObject, policy: DeletionOptions['propagationPolicy']): readonly string[] {
  const present = metaOf(object).finalizers ?? []
  if (policy === undefined) return present
  const others = present.filter((finalizer) => finalizer !== policyFinalizers.Foreground && finalizer !== policyFinalizers.Orphan)
  return policy === 'Background' ? others : [...others, policyFinalizers[policy]]
}

export function deleteEntry(ports: WritePorts, target: { readonly resource: Resource; readonly ref: Ref }, options: DeletionOptions, context: WriteContext): Promise<Deletion> {
  const { resource, ref } = target
  const { kind, strategy } = resource
  const attempt = async (): Promise<Deletion> => {
    await ports.state.caughtUp()
    const current = ports.state.entry(resource, ref)
    if (current === undefined) throw notFound(kind, ref.name)
    checkPreconditions(kind, ref.name, current.object, options.preconditions ?? {})
    const request = { gracePeriodSeconds: options.gracePeriodSeconds, user: context.user }
    strategy.refuseDelete?.(current.object, request)
    const expect = { modRevision: current.revision }
    const next = dying(ports.clock, resource, current.object, options, strategy.deletionGraceSeconds?.(current.object, request) ?? 0)
    if (readyToGo(resource, next)) {
      const revision = context.dryRun ? ports.state.revision : await ports.state.commit([{ op: 'delete', resource, ref, expect }])
      return { entry: new Entry(current.key, current.object, revision), removed: true }
    }
    if (sameJson(next, current.object)) return { entry: current, removed: false }
    return { entry: await commit(ports, context, { op: 'put', resource, ref, object: next, expect }), removed: false }
  }
  return retrying(resource, ref.name, attempt)
}

/** The object as its deletion (further) begins. A grace that runs already can only be shortened. */
function dying(clock: Clock, resource: Resource, object: JsonObject, options: DeletionOptions, graceSeconds: number): JsonObject {
  const meta = metaOf(object)
  const finalizers = finalizersFor(object, options.propagationPolicy)
  const marks = { finalizers: finalizers.length > 0 ? finalizers : undefined }
  if (meta.deletionTimestamp !== undefined) {
    const remaining = meta.deletionGracePeriodSeconds ?? 0
    if (graceSeconds >= remaining) return withMeta(object, marks)
    const startedMs = Date.parse(meta.deletionTimestamp) - remaining * 1000
    return withMeta(object, { ...marks, deletionTimestamp: rfc3339Seconds(startedMs + graceSeconds * 1000), deletionGracePeriodSeconds: graceSeconds })
  }
  const marked = withMeta(object, {
    ...marks,
    deletionTimestamp: rfc3339Seconds(clock.nowMs() + graceSeconds * 1000),
    deletionGracePeriodSeconds: graceSeconds,
    generation: resource.kind.generation ? (meta.generation ?? 0) + 1 : meta.generation,
  })
  return resource.strategy.beginDeletion?.(marked) ?? marked
}
