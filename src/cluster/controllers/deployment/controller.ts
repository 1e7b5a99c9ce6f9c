/**
 * Deployment: rolls a pod template out through ReplicaSets, one per template ("Deployments" in the Kubernetes
 * documentation). Each reconciliation takes one step: find or make the new set, then grow it, or shrink the old ones,
 * then write the status; what it causes brings it back. Undo needs nothing of its own: `kubectl rollout undo` copies the
 * template of an old set back, which then is found to be the new one.
 */
import { sameJson } from '#schema/json.ts'
import { isFault } from '#base/fault.ts'
import type { DeploymentStatus } from '../../api/apps/v1/deployment.ts'
import { Deployment } from '../../api/apps/v1/deployment.ts'
import { ReplicaSet } from '../../api/apps/v1/replica-set.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { Controller } from '../../client/controller.ts'
import type { Outcome } from '../../client/work-queue.ts'
import { WriteFence } from '../../client/write-fence.ts'
import { claim } from '../adoption.ts'
import type { ControllerContext } from '../context.ts'
import { controllerIndex, controllerIndexValues, controllerOf, controllerReference } from '../ownership.ts'
import { isPodFinished } from '../pod-state.ts'
import { newSetAnnotations, revisionAnnotation, revisionOf, sameAnnotations, scaleAnnotations, templateHashLabel } from './annotations.ts'
import { scaleSets } from './proportional.ts'
import { activeSets, findNewSet, isScaling, newSetReplicas, oldestFirst, rollingBounds } from './replica-sets.ts'
import type { Scaling } from './rolling.ts'
import { scaleNewSet, scaleOldSets } from './rolling.ts'
import { condition, conditionOf, countedStatus, hasDeadline, isComplete, rollOutStatus, untilDeadlineMs, withCondition } from './status.ts'
import { sameTemplate, templateHash } from './template-hash.ts'

const fenceRecheckMs = 1000

/** A Deployment with the sets it owns. */
interface Sets {
  /** As last written, and with conditions that are still to be written. */
  readonly deployment: Deployment
  /** The status that the server has. */
  readonly stored: DeploymentStatus
  readonly newSet: ReplicaSet | undefined
  readonly old: readonly ReplicaSet[]
}

export function deploymentController(context: ControllerContext): Controller {
  const { informers, clock, log } = context
  const deployments = informers.of(Deployment)
  const sets = informers.of(ReplicaSet)
  const pods = informers.of(Pod)
  sets.addIndex(controllerIndex, controllerIndexValues)
  pods.addIndex(controllerIndex, controllerIndexValues)
  const worker = new DeploymentWorker(context)

  const controller = new Controller({ name: 'deployment', clock, log, reconcile: (key) => worker.reconcile(key) })
  controller.watch(deployments, ({ key }) => [key])
  controller.watch(sets, ({ previous, current }) => {
    const keys = [previous, current].flatMap((set) => {
      const owner = set === undefined ? undefined : controllerOf(set)
      return set === undefined || owner?.kind !== 'Deployment' ? [] : [`${set.metadata.namespace}/${owner.name}`]
    })
    // An orphan: any Deployment of the namespace might adopt it.
    if (current !== undefined && controllerOf(current) === undefined) {
      keys.push(...deployments.list().filter(({ metadata }) => metadata.namespace === current.metadata.namespace).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`))
    }
    return new Set(keys)
  })
  // Recreate waits until the last old pod is gone.
  controller.watch(pods, ({ previous, current }) => {
    const owner = current === undefined && previous !== undefined ? controllerOf(previous) : undefined
    if (owner?.kind !== 'ReplicaSet' || previous === undefined) return []
    const set = sets.get({ namespace: previous.metadata.namespace, name: owner.name })
    const deployment = set === undefined ? undefined : controllerOf(set)
    return deployment?.kind === 'Deployment' ? [`${previous.metadata.namespace}/${deployment.name}`] : []
  })
  return controller
}

class DeploymentWorker {
  readonly #context: ControllerContext
  readonly #recorder
  readonly #deployments
  readonly #sets
  readonly #pods
  readonly #fence = new WriteFence()

  constructor(context: ControllerContext) {
    this.#context = context
    this.#recorder = context.recorder('deployment-controller')
    this.#deployments = context.informers.of(Deployment)
    this.#sets = context.informers.of(ReplicaSet)
    this.#pods = context.informers.of(Pod)
  }

  async reconcile(key: string): Promise<Outcome> {
    const deployment = this.#deployments.getKey(key)
    if (deployment === undefined) {
      this.#fence.forget(key)
      return {}
    }
    if (this.#fence.isBehind(key, this.#sets.resourceVersion)) return { requeueAfterMs: fenceRecheckMs }
    const { client } = this.#context
    const claimed = await claim({ client, ownerKind: Deployment, owner: deployment, kind: ReplicaSet, cache: this.#sets, selector: deployment.spec.selector })
    if (deployment.metadata.deletionTimestamp !== undefined) {
      const newSet = findNewSet(deployment, claimed)
      await this.#writeStatus(deployment, countedStatus({ deployment, newSet, old: claimed.filter((set) => set !== newSet), nowMs: this.#context.clock.nowMs() }))
      return {}
    }
    if (await this.#markPause(deployment)) return {}
    if (deployment.spec.paused === true || isScaling(deployment, claimed)) return this.#scale(deployment, claimed)
    return deployment.spec.strategy.type === 'Recreate' ? this.#recreate(deployment, claimed) : this.#roll(deployment, claimed)
  }

  /** Says in the Progressing condition that the deadline does not run while paused. True when the status was written. */
  async #markPause(deployment: Deployment): Promise<boolean> {
    const progressing = conditionOf(deployment.status, 'Progressing')
    if (!hasDeadline(deployment) || progressing?.reason === 'ProgressDeadlineExceeded') return false
    const marked = progressing?.reason === 'DeploymentPaused'
    const paused = deployment.spec.paused === true
    if (paused === marked) return false
    const because = paused ? { reason: 'DeploymentPaused', message: 'Deployment is paused' } : { reason: 'DeploymentResumed', message: 'Deployment is resumed' }
    const next = withCondition(deployment.status, condition('Progressing', 'Unknown', because, this.#context.clock.nowMs()))
    await this.#writeStatus(deployment, next)
    return true
  }

  async #scale(current: Deployment, claimed: readonly ReplicaSet[]): Promise<Outcome> {
    const split = await this.#split(current, claimed, false)
    const { deployment, newSet, old } = split
    await this.#apply(deployment, scaleSets(deployment, newSet, old))
    if (deployment.spec.paused === true) await this.#forgetHistory(deployment, old)
    await this.#writeStatus(deployment, countedStatus({ ...split, nowMs: this.#context.clock.nowMs() }), split.stored)
    return {}
  }

  async #roll(current: Deployment, claimed: readonly ReplicaSet[]): Promise<Outcome> {
    const split = await this.#split(current, claimed, true)
    const { deployment, newSet, old } = split
    if (newSet === undefined) return {}
    const grown = await this.#apply(deployment, scaleNewSet(deployment, newSet, [...old, newSet]))
    if (!grown) await this.#apply(deployment, scaleOldSets(deployment, newSet, old))
    return this.#finish(split)
  }

  async #recreate(current: Deployment, claimed: readonly ReplicaSet[]): Promise<Outcome> {
    const found = await this.#split(current, claimed, false)
    if (await this.#apply(found.deployment, activeSets(found.old).map((set) => ({ set, replicas: 0 })))) return this.#finish(found)
    const running = found.old.some((set) => this.#pods.byIndex(controllerIndex, set.metadata.uid).some((pod) => !isPodFinished(pod)))
    if (running) return this.#finish(found)
    const split = found.newSet === undefined ? await this.#split(found.deployment, claimed, true) : found
    if (split.newSet !== undefined) await this.#apply(split.deployment, [{ set: split.newSet, replicas: split.deployment.spec.replicas }])
    return this.#finish(split)
  }

  async #finish(split: Sets): Promise<Outcome> {
    const { deployment, old } = split
    const nowMs = this.#context.clock.nowMs()
    const status = rollOutStatus({ ...split, nowMs })
    if (isComplete(deployment, status)) await this.#forgetHistory(deployment, old)
    await this.#writeStatus(deployment, status, split.stored)
    return { requeueAfterMs: untilDeadlineMs(deployment, status, nowMs) }
  }

  /** The new set (made if need be, its annotations and the Deployment's brought up to date) and all others. */
  async #split(deployment: Deployment, claimed: readonly ReplicaSet[], make: boolean): Promise<Sets> {
    const found = findNewSet(deployment, claimed)
    const old = claimed.filter((set) => set !== found)
    const revision = Math.max(0, ...old.map(revisionOf)) + 1
    if (found === undefined && !make) return { deployment, stored: deployment.status, newSet: undefined, old }
    const newSet = found === undefined ? await this.#create(deployment, old, revision) : await this.#refresh(deployment, found, revision)
    if (newSet === undefined) return { deployment, stored: deployment.status, newSet, old }
    const noted = await this.#noteRevision(deployment, String(revisionOf(newSet)))
    return { deployment: { ...noted, status: this.#begun(noted, newSet, found === undefined) }, stored: noted.status, newSet, old }
  }

  /** From here the deadline runs: for a new set always, for one that was found when nothing was said before. */
  #begun(deployment: Deployment, newSet: ReplicaSet, created: boolean): DeploymentStatus {
    if (!hasDeadline(deployment) || (!created && conditionOf(deployment.status, 'Progressing') !== undefined)) return deployment.status
    const because = created
      ? { reason: 'NewReplicaSetCreated', message: `Created new replica set "${newSet.metadata.name}"` }
      : { reason: 'FoundNewReplicaSet', message: `Found new replica set "${newSet.metadata.name}"` }
    return withCondition(deployment.status, condition('Progressing', 'True', because, this.#context.clock.nowMs()))
  }

  async #refresh(deployment: Deployment, set: ReplicaSet, revision: number): Promise<ReplicaSet> {
    const annotations = newSetAnnotations(deployment, set.metadata.annotations ?? {}, revision)
    const minReadySeconds = deployment.spec.minReadySeconds ?? 0
    if (sameAnnotations(set.metadata.annotations, annotations) && (set.spec.minReadySeconds ?? 0) === minReadySeconds) return set
    return this.#update(deployment, { ...set, metadata: { ...set.metadata, annotations }, spec: { ...set.spec, minReadySeconds } })
  }

  async #noteRevision(deployment: Deployment, revision: string): Promise<Deployment> {
    if (deployment.metadata.annotations?.[revisionAnnotation] === revision) return deployment
    const { namespace, name } = deployment.metadata
    return this.#context.client.patch(Deployment, { namespace, name }, { metadata: { annotations: { [revisionAnnotation]: revision } } }, { type: 'merge' })
  }

  async #create(deployment: Deployment, old: readonly ReplicaSet[], revision: number): Promise<ReplicaSet | undefined> {
    const { client } = this.#context
    const { template, selector, replicas, minReadySeconds } = deployment.spec
    const { namespace, name } = deployment.metadata
    const hash = templateHash(template, deployment.status.collisionCount ?? 0)
    const labels = { ...template.metadata.labels, [templateHashLabel]: hash }
    const size = newSetReplicas(deployment, old, 0)
    const annotations = { ...newSetAnnotations(deployment, {}, revision), ...scaleAnnotations(replicas, replicas + rollingBounds(deployment).maxSurge) }
    const setName = `${name}-${hash}`
    try {
      const created = await client.create(ReplicaSet, {
        metadata: { namespace, name: setName, labels, annotations, ownerReferences: [controllerReference(Deployment, deployment)] },
        spec: {
          replicas: size,
          minReadySeconds,
          selector: { ...selector, matchLabels: { ...selector.matchLabels, [templateHashLabel]: hash } },
          template: { ...template, metadata: { ...template.metadata, labels } },
        },
      })
      this.#fence.wrote(`${namespace}/${name}`, created)
      if (size > 0) this.#recorder.event(deployment, 'Normal', 'ScalingReplicaSet', `Scaled up replica set ${setName} from 0 to ${size}`)
      return created
    } catch (error) {
      if (isFault(error, 'alreadyExists')) return this.#resolveCollision(deployment, setName)
      // The namespace is going away and takes us with it.
      if (isFault(error, 'permissionDenied') && /being terminated/.test(error.message)) return undefined
      await this.#reportFailedCreate(deployment, error instanceof Error ? error.message : String(error))
      throw error
    }
  }

  /** The name is taken: by the set we made but do not see yet, or by another template of the same hash. */
  async #resolveCollision(deployment: Deployment, setName: string): Promise<ReplicaSet | undefined> {
    const { client } = this.#context
    const existing = await client.get(ReplicaSet, { namespace: deployment.metadata.namespace, name: setName })
    if (controllerOf(existing)?.uid === deployment.metadata.uid && sameTemplate(existing.spec.template, deployment.spec.template)) return existing
    await this.#writeStatus(deployment, { ...deployment.status, collisionCount: (deployment.status.collisionCount ?? 0) + 1 })
    return undefined
  }

  async #reportFailedCreate(deployment: Deployment, message: string): Promise<void> {
    const text = `Failed to create new replica set: ${message}`
    this.#recorder.event(deployment, 'Warning', 'FailedCreate', text)
    if (!hasDeadline(deployment)) return
    await this.#writeStatus(deployment, withCondition(deployment.status, condition('Progressing', 'False', { reason: 'ReplicaSetCreateError', message: text }, this.#context.clock.nowMs())))
  }

  /** Carries the scalings out; true when one changed the number of replicas. */
  async #apply(deployment: Deployment, scalings: readonly Scaling[]): Promise<boolean> {
    const max = deployment.spec.replicas + rollingBounds(deployment).maxSurge
    let changed = false
    for (const { set, replicas } of scalings) {
      const from = set.spec.replicas
      const annotations = { ...set.metadata.annotations, ...scaleAnnotations(deployment.spec.replicas, max) }
      if (from === replicas && sameAnnotations(set.metadata.annotations, annotations)) continue
      await this.#update(deployment, { ...set, metadata: { ...set.metadata, annotations }, spec: { ...set.spec, replicas } })
      if (from === replicas) continue
      changed = true
      this.#recorder.event(deployment, 'Normal', 'ScalingReplicaSet', `Scaled ${from < replicas ? 'up' : 'down'} replica set ${set.metadata.name} from ${from} to ${replicas}`)
    }
    return changed
  }

  async #update(deployment: Deployment, set: ReplicaSet): Promise<ReplicaSet> {
    const updated = await this.#context.client.update(ReplicaSet, set)
    this.#fence.wrote(`${deployment.metadata.namespace}/${deployment.metadata.name}`, updated)
    return updated
  }

  /** Deletes the oldest empty sets beyond `revisionHistoryLimit`. */
  async #forgetHistory(deployment: Deployment, old: readonly ReplicaSet[]): Promise<void> {
    const empty = oldestFirst(old).filter(
      ({ metadata, spec, status }) => metadata.deletionTimestamp === undefined && spec.replicas === 0 && status.replicas === 0 && (metadata.generation ?? 0) <= (status.observedGeneration ?? 0),
    )
    const surplus = empty.toSorted((a, b) => revisionOf(a) - revisionOf(b)).slice(0, Math.max(0, empty.length - deployment.spec.revisionHistoryLimit))
    for (const { metadata } of surplus) {
      try {
        await this.#context.client.delete(ReplicaSet, metadata, { preconditions: { uid: metadata.uid } })
      } catch (error) {
        if (!isFault(error, 'notFound') && !isFault(error, 'conflict')) throw error
      }
    }
  }

  async #writeStatus(deployment: Deployment, status: DeploymentStatus, stored = deployment.status): Promise<void> {
    if (sameStatus(stored, status)) return
    await this.#context.client.update(Deployment, { ...deployment, status }, { subresource: 'status' })
  }
}

/** Zero and absent are one for the counts. */
function sameStatus(a: DeploymentStatus, b: DeploymentStatus): boolean {
  const nonzero = (status: DeploymentStatus): unknown => Object.fromEntries(Object.entries(status).filter(([, value]) => value !== 0 && value !== undefined))
  const sorted = (status: DeploymentStatus): DeploymentStatus => ({ ...status, conditions: status.conditions?.toSorted((x, y) => (x.type < y.type ? -1 : 1)) })
  return sameJson(nonzero(sorted(a)), nonzero(sorted(b)))
}
