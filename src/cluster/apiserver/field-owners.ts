/**
 * Who set which fields (`metadata.managedFields`), around the bookkeeping of `#schema/apply.ts`: what an update leaves behind, and what
 * server-side apply makes of an object. https://kubernetes.io/docs/reference/using-api/server-side-apply/
 */
import { rfc3339Seconds, type Clock } from '#base/clock.ts'
import { applyConfiguration, trackUpdate } from '#schema/apply.ts'
import { sameJson, type JsonObject } from '#schema/json.ts'
import type { AnyKind, StoredObject } from '#schema/kind.ts'
import { asJson, asKind, metaOf, withMeta } from './entry.ts'
import { badRequest } from './refusals.ts'
import { readBody, type WriteContext } from './submission.ts'

/** Puts `managedFields` on an object that is about to be stored. `submitted` is what the client sent. */
export type OwnerNotes = (next: JsonObject, previous: JsonObject | undefined, submitted: JsonObject) => JsonObject

/** For creates, updates and patches. */
export function updateNotes(kind: AnyKind, subresource: string, clock: Clock, context: WriteContext): OwnerNotes {
  return (next, previous, submitted) => {
    const known = previous === undefined ? undefined : metaOf(previous).managedFields
    const given = metaOf(submitted).managedFields
    // Clients may rewrite the notes, as kubectl does when it goes over from client-side to server-side apply.
    const rewritten = previous !== undefined && given !== undefined && !sameJson(given, known)
    const notes = rewritten ? given : known
    const base = rewritten ? withMeta(previous, { managedFields: given }) : previous
    if (!context.tracked && notes?.some(({ operation }) => operation === 'Apply') !== true) return notes === known ? next : withMeta(next, { managedFields: notes })
    const options = { manager: context.fieldManager, now: rfc3339Seconds(clock.nowMs()), subresource }
    return asJson(trackUpdate(kind, base === undefined ? undefined : asKind<StoredObject>(base), asKind<StoredObject>(next), options))
  }
}

export interface Application {
  /** The object that the client wants to have instead of the current one, notes included. */
  readonly object: (current: JsonObject | undefined) => JsonObject
  /** Keeps the notes that the last call of `object` made. */
  readonly notes: OwnerNotes
}

/** For server-side apply. Throws `invalidArgument`; `object` throws `conflict` for fields that others own, unless forced. */
export function application(kind: AnyKind, body: unknown, options: { readonly force: boolean; readonly subresource: string; readonly clock: Clock }, context: WriteContext): Application {
  const applied = readBody(kind, body, context)
  if (applied['apiVersion'] === undefined || applied['kind'] === undefined) throw badRequest('an applied configuration needs apiVersion and kind')
  if ((metaOf(applied).managedFields ?? []).length > 0) throw badRequest('metadata.managedFields must be nil')
  let made: JsonObject | undefined
  return {
    object(current) {
      const manager = { manager: context.fieldManager, now: rfc3339Seconds(options.clock.nowMs()), subresource: options.subresource, force: options.force }
      made = asJson(applyConfiguration(kind, current === undefined ? undefined : asKind<StoredObject>(current), applied, manager))
      return made
    },
    notes: (next) => withMeta(next, { managedFields: made === undefined ? undefined : metaOf(made).managedFields }),
  }
}
