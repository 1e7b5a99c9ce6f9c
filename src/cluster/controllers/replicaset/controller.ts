/**
 * ReplicaSet: so many pods of one template, no more and no fewer ("ReplicaSet" in the Kubernetes documentation).
 *
 * Pods are created in batches of 1, 2, 4, … so that a template that cannot be created does not cost a thousand refused
 * requests. A fence keeps a lagging cache from creating the same pods twice; pods whose deletion was asked for count as
 * gone at once.
 */
import { isFault } from '#base/fault.ts'
import { selects } from '#schema/selector.ts'
import { ReplicaSet } from '../../api/apps/v1/replica-set.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { Controller } from '../../client/controller.ts'
import type { Outcome } from '../../client/work-queue.ts'
import { WriteFence } from '../../client/write-fence.ts'
import { claim } from '../adoption.ts'
import type { ControllerContext } from '../context.ts'
import { controllerIndex, controllerIndexValues, controllerOf, controllerReference } from '../ownership.ts'
import { isPodActive, isPodAvailable, isPodFinished, isPodReady } from '../pod-state.ts'
import type { ManageFailure } from './status.ts'
import { replicaSetStatus, sameReplicaSetStatus } from './status.ts'
import { chooseVictims } from './victims.ts'

const burst = 500
/** Looks again although nothing told us to, should the cache catch up without a change of ours in it. */
const fenceRecheckMs = 1000

export function replicaSetController(context: ControllerContext): Controller {
  const { client, informers, clock, log } = context
  const recorder = context.recorder('replicaset-controller')
  const sets = informers.of(ReplicaSet)
  const pods = informers.of(Pod)
  pods.addIndex(controllerIndex, controllerIndexValues)
  sets.addIndex(controllerIndex, controllerIndexValues)
  const fence = new WriteFence()
  /** Pods whose deletion the server accepted; the cache may still show them alive. */
  const doomed = new Set<string>()

  const createOne = async (key: string, set: ReplicaSet): Promise<void> => {
    const { metadata, spec } = set.spec.template
    const pod = await client.create(Pod, {
      metadata: {
        generateName: `${set.metadata.name}-`,
        namespace: set.metadata.namespace,
        labels: metadata?.labels,
        annotations: metadata?.annotations,
        finalizers: metadata?.finalizers,
        ownerReferences: [controllerReference(ReplicaSet, set)],
      },
      spec,
    })
    fence.wrote(key, pod)
    recorder.event(set, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`)
  }

  const create = async (key: string, set: ReplicaSet, count: number): Promise<ManageFailure | undefined> => {
    let left = count
    for (let batch = 1; left > 0; batch *= 2) {
      const size = Math.min(batch, left)
      const results = await Promise.allSettled(Array.from({ length: size }, () => createOne(key, set)))
      const refused = results.find((result) => result.status === 'rejected')
      if (refused !== undefined) {
        const reason: unknown = refused.reason
        // The namespace is going away and takes us with it.
        if (isFault(reason, 'permissionDenied') && /being terminated/.test(reason.message)) return undefined
        const message = reason instanceof Error ? reason.message : String(reason)
        recorder.event(set, 'Warning', 'FailedCreate', `Error creating: ${message}`)
        return { reason: 'FailedCreate', message }
      }
      left -= size
    }
    return undefined
  }

  const remove = async (set: ReplicaSet, victims: readonly Pod[]): Promise<ManageFailure | undefined> => {
    const results = await Promise.allSettled(
      victims.map(async ({ metadata: { namespace, name, uid } }) => {
        try {
          await client.delete(Pod, { namespace, name }, { preconditions: { uid } })
        } catch (error) {
          if (isFault(error, 'notFound') || isFault(error, 'conflict')) return
          recorder.event(set, 'Warning', 'FailedDelete', `Error deleting: ${error instanceof Error ? error.message : String(error)}`)
          throw error
        }
        doomed.add(uid)
        recorder.event(set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`)
      }),
    )
    const failed = results.find((result) => result.status === 'rejected')
    return failed === undefined ? undefined : { reason: 'FailedDelete', message: failed.reason instanceof Error ? failed.reason.message : String(failed.reason) }
  }

  /** Pods of all ReplicaSets of the same owner, for spreading. */
  const relatedPods = (set: ReplicaSet, own: readonly Pod[]): readonly Pod[] => {
    const owner = controllerOf(set)
    if (owner === undefined) return own
    return sets.byIndex(controllerIndex, owner.uid).flatMap((sibling) => pods.byIndex(controllerIndex, sibling.metadata.uid).filter(isPodActive))
  }

  const reconcile = async (key: string): Promise<Outcome> => {
    const set = sets.getKey(key)
    if (set === undefined) {
      fence.forget(key)
      return {}
    }
    if (fence.isBehind(key, pods.resourceVersion)) return { requeueAfterMs: fenceRecheckMs }
    const claimed = await claim({ client, ownerKind: ReplicaSet, owner: set, kind: Pod, cache: pods, selector: set.spec.selector, adoptable: (pod) => !isPodFinished(pod) })
    const active = claimed.filter((pod) => isPodActive(pod) && !doomed.has(pod.metadata.uid))
    const wanted = set.spec.replicas
    let failure: ManageFailure | undefined
    if (set.metadata.deletionTimestamp === undefined && active.length !== wanted) {
      if (active.length < wanted) failure = await create(key, set, Math.min(burst, wanted - active.length))
      else failure = await remove(set, chooseVictims(active, relatedPods(set, active), Math.min(burst, active.length - wanted), clock.nowMs()))
      // What we just did comes back as changes of pods; a status without it would be old on arrival.
      if (failure === undefined) return { requeueAfterMs: fenceRecheckMs }
    }
    await updateStatus(set, claimed, failure)
    if (failure !== undefined) throw new Error(`${failure.reason}: ${failure.message}`)
    return { requeueAfterMs: untilAvailableMs(set, active) }
  }

  /** Ready pods become available by the passing of time alone. */
  const untilAvailableMs = (set: ReplicaSet, active: readonly Pod[]): number | undefined => {
    const minReadySeconds = set.spec.minReadySeconds ?? 0
    const waiting = active.some((pod) => isPodReady(pod) && !isPodAvailable(pod, minReadySeconds, clock.nowMs()))
    return waiting ? minReadySeconds * 1000 : undefined
  }

  const updateStatus = async (set: ReplicaSet, claimed: readonly Pod[], failure: ManageFailure | undefined): Promise<void> => {
    const status = replicaSetStatus(set, claimed, failure, clock.nowMs())
    if (sameReplicaSetStatus(set.status, status)) return
    await client.update(ReplicaSet, { ...set, status }, { subresource: 'status' })
  }

  const controller = new Controller({ name: 'replicaset', clock, log, reconcile })
  controller.watch(sets, ({ key }) => [key])
  controller.watch(pods, ({ previous, current }) => {
    const uid = previous?.metadata.uid
    if (uid !== undefined && (current === undefined || current.metadata.deletionTimestamp !== undefined)) doomed.delete(uid)
    return keysOfPods(previous, current)
  })
  /** The ReplicaSets a pod's change concerns: its controllers, before and after; for an orphan all that could adopt it. */
  function* keysOfPods(previous: Pod | undefined, current: Pod | undefined): Iterable<string> {
    for (const pod of [previous, current]) {
      const owner = pod === undefined ? undefined : controllerOf(pod)
      if (pod !== undefined && owner?.kind === 'ReplicaSet') yield `${pod.metadata.namespace}/${owner.name}`
    }
    if (current === undefined || controllerOf(current) !== undefined || current.metadata.deletionTimestamp !== undefined) return
    for (const set of sets.list()) {
      if (set.metadata.namespace === current.metadata.namespace && selects(set.spec.selector, current.metadata.labels ?? {})) yield `${set.metadata.namespace}/${set.metadata.name}`
    }
  }
  return controller
}
