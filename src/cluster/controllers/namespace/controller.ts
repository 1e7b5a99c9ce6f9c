/**
 * Empties namespaces that are being deleted: pods first, and only when they are gone what they use (ordered deletion,
 * KEP-5080); then takes the `kubernetes` finalizer off, whereupon the API server removes the namespace. What holds it up
 * stands in the namespace's conditions.
 */
import { rfc3339Seconds } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { AnyKind } from '#schema/kind.ts'
import { allKinds } from '../../api/index.ts'
import type { NamespaceCondition } from '../../api/core/v1/namespace.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { Controller } from '../../client/controller.ts'
import type { Outcome } from '../../client/work-queue.ts'
import type { ControllerContext } from '../context.ts'

const finalizer = 'kubernetes'
/** Looks again although no deletion was seen: what is left may be of a kind nobody follows. */
const recheckMs = 5000

interface Remaining {
  readonly kind: AnyKind
  readonly count: number
  readonly finalizers: ReadonlyMap<string, number>
}

/** Kinds that live in namespaces and can be listed and deleted one by one. A view has none of its own. */
function contentKinds(): readonly AnyKind[] {
  return allKinds.filter((kind) => kind.namespaced && kind.viewOf === undefined && ['list', 'delete', 'watch'].every((verb) => kind.verbs.includes(verb)))
}

export function namespaceController(context: ControllerContext): Controller {
  const { client, informers, clock, log } = context
  const namespaces = informers.of(Namespace)
  const kinds = contentKinds()

  const empty = async (kind: AnyKind, namespace: string): Promise<Remaining> => {
    const { items } = await client.list(kind, { namespace })
    for (const { metadata } of items) {
      if (metadata.deletionTimestamp !== undefined) continue
      try {
        await client.delete(kind, { namespace, name: metadata.name }, { preconditions: { uid: metadata.uid }, propagationPolicy: 'Background' })
      } catch (error) {
        if (!isFault(error, 'notFound') && !isFault(error, 'conflict')) throw error
      }
    }
    if (items.length === 0) return { kind, count: 0, finalizers: new Map() }
    const left = (await client.list(kind, { namespace })).items
    const finalizers = new Map<string, number>()
    for (const name of left.flatMap(({ metadata }) => metadata.finalizers ?? [])) finalizers.set(name, (finalizers.get(name) ?? 0) + 1)
    return { kind, count: left.length, finalizers }
  }

  const emptyAll = async (namespace: string): Promise<readonly Remaining[]> => {
    const pods = await empty(Pod, namespace)
    if (pods.count > 0) return [pods]
    const rest = await Promise.all(kinds.filter((kind) => kind !== Pod).map((kind) => empty(kind, namespace)))
    return rest.filter(({ count }) => count > 0)
  }

  const writeConditions = async (namespace: Namespace, next: readonly NamespaceCondition[]): Promise<void> => {
    const before = namespace.status.conditions ?? []
    const merged = next.map((condition) => {
      const known = before.find(({ type }) => type === condition.type)
      return known?.status === condition.status ? { ...condition, lastTransitionTime: known.lastTransitionTime } : condition
    })
    const text = (conditions: readonly NamespaceCondition[]): string => conditions.map(({ type, status, message }) => `${type}=${status} ${message}`).join('\n')
    if (text(before) === text(merged)) return
    await client.update(Namespace, { ...namespace, status: { ...namespace.status, conditions: merged } }, { subresource: 'status' })
  }

  const reconcile = async (name: string): Promise<Outcome> => {
    const namespace = namespaces.getKey(name)
    if (namespace?.metadata.deletionTimestamp === undefined) return {}
    const finalizers = namespace.spec.finalizers ?? []
    if (!finalizers.includes(finalizer)) return {}
    const remaining = await emptyAll(name)
    if (remaining.length > 0) {
      await writeConditions(namespace, conditionsFor(remaining, rfc3339Seconds(clock.nowMs())))
      return { requeueAfterMs: recheckMs }
    }
    const left = finalizers.filter((other) => other !== finalizer)
    try {
      await client.update(Namespace, { ...namespace, spec: { ...namespace.spec, finalizers: left } }, { subresource: 'finalize' })
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
    }
    return {}
  }

  const controller = new Controller({ name: 'namespace', clock, log, reconcile })
  controller.watch(namespaces, ({ key, current }) => (current?.metadata.deletionTimestamp === undefined ? [] : [key]))
  for (const kind of kinds) {
    controller.watch(informers.of(kind), ({ previous, current }) => {
      const name = current === undefined ? previous?.metadata.namespace : undefined
      return name !== undefined && namespaces.get({ name })?.metadata.deletionTimestamp !== undefined ? [name] : []
    })
  }
  return controller
}

function conditionsFor(remaining: readonly Remaining[], time: string): NamespaceCondition[] {
  const resources = remaining.map(({ kind, count }) => `${kind.plural}.${kind.group} has ${count} resource instances`).join(', ')
  const finalizers = new Map<string, number>()
  for (const [name, count] of remaining.flatMap((entry) => [...entry.finalizers])) finalizers.set(name, (finalizers.get(name) ?? 0) + count)
  const held = [...finalizers].map(([name, count]) => `${name} in ${count} resource instances`).join(', ')
  const of = (type: string, status: 'True' | 'False', reason: string, message: string): NamespaceCondition => ({ type, status, lastTransitionTime: time, reason, message })
  return [
    of('NamespaceDeletionDiscoveryFailure', 'False', 'ResourcesDiscovered', 'All resources successfully discovered'),
    of('NamespaceDeletionGroupVersionParsingFailure', 'False', 'ParsedGroupVersions', 'All legacy kube types successfully parsed'),
    of('NamespaceDeletionContentFailure', 'False', 'ContentDeleted', 'All content successfully deleted, may be waiting on finalization'),
    of('NamespaceContentRemaining', 'True', 'SomeResourcesRemain', `Some resources are remaining: ${resources}`),
    held === ''
      ? of('NamespaceFinalizersRemaining', 'False', 'ContentHasNoFinalizers', 'All content-preserving finalizers finished')
      : of('NamespaceFinalizersRemaining', 'True', 'SomeFinalizersRemain', `Some content in the namespace has finalizers remaining: ${held}`),
  ]
}
