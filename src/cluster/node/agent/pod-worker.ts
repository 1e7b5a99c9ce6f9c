/**
 * One pod on this node: holds its state, feeds it events, carries out what `step` asks for and reports back. Steps are
 * synchronous, so that there is one order of events; effects run beside each other.
 */
import type { Timer } from '#base/clock.ts'
import { asFault, isFault } from '#base/fault.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import type { PodStatus } from '../../api/core/v1/pod-status.ts'
import type { ContainerStatus } from '../../contract/runtime.ts'
import { planOf } from '../pod/parse-plan.ts'
import type { PodEffect, PodEvent, PodState } from '../pod/state.ts'
import { podStatus } from '../pod/status.ts'
import { step } from '../pod/step.ts'
import { PodVolumes } from '../volumes/pod-volumes.ts'
import { containerNamed } from '../containers/field-ref.ts'
import { terminationMessage } from '../containers/termination-message.ts'
import { EffectRunner } from './effects.ts'
import type { Parts } from './parts.ts'
import { podSubject } from './recorder.ts'
import type { StatusSource, StatusWriter } from './status-writer.ts'

export interface PodWorkerOptions {
  readonly parts: Parts
  readonly pod: Pod
  readonly state: PodState
  readonly statusWriter: StatusWriter
  /** The pod is gone from node and API. */
  readonly onForget: (worker: PodWorker) => void
}

export class PodWorker implements StatusSource {
  readonly #options: PodWorkerOptions
  readonly #stop = new AbortController()
  readonly volumes: PodVolumes
  readonly #effects: EffectRunner
  #pod: Pod
  #state: PodState
  #wake: Timer | undefined

  constructor(options: PodWorkerOptions) {
    this.#options = options
    this.#pod = options.pod
    this.#state = options.state
    this.volumes = new PodVolumes(options.parts, () => this.#pod, this.#stop.signal)
    this.#effects = new EffectRunner({ parts: options.parts, volumes: this.volumes, pod: () => this.#pod, signal: this.#stop.signal })
  }

  get pod(): Pod {
    return this.#pod
  }

  get uid(): string {
    return this.#pod.metadata.uid
  }

  get state(): PodState {
    return this.#state
  }

  /** The API's object has changed. */
  update(pod: Pod): void {
    const before = this.#pod
    if (!this.#adoptObject(pod)) return
    const { labels, annotations } = pod.metadata
    const metadataChanged = JSON.stringify([labels, annotations]) !== JSON.stringify([before.metadata.labels, before.metadata.annotations])
    if (metadataChanged) this.refreshVolumes()
    this.feed({ kind: 'plan', plan: planOf(pod) })
  }

  #adoptObject(pod: Pod): boolean {
    const [old, fresh] = [this.#pod.metadata.resourceVersion, pod.metadata.resourceVersion]
    // Our own status write may be newer than what a watch brings.
    if (/^\d+$/.test(old) && /^\d+$/.test(fresh) && BigInt(fresh) < BigInt(old)) return false
    this.#pod = pod
    return true
  }

  desired(previous: PodStatus): PodStatus {
    const { parts } = this.#options
    return podStatus(this.#state, { nowMs: parts.clock.nowMs(), hostIps: parts.node.addresses, previous })
  }

  written(pod: Pod): void {
    this.#adoptObject(pod)
  }

  /** An object that the pod names has changed. */
  referencesChanged(): void {
    this.refreshVolumes()
    this.feed({ kind: 'referencesChanged' })
  }

  refreshVolumes(): void {
    this.volumes.refresh().catch((error: unknown) => this.#options.parts.log.warn({ err: error, pod: this.#pod.metadata.name }, 'volumes could not be brought up to date'))
  }

  feed(event: PodEvent): void {
    if (this.#stop.signal.aborted) return
    const { clock } = this.#options.parts
    const nowMs = clock.nowMs()
    const { state, effects, wakeAtMs } = step(this.#state, event, nowMs)
    this.#state = state
    this.#wake?.cancel()
    this.#wake = wakeAtMs === undefined ? undefined : clock.after(wakeAtMs - nowMs, () => this.feed({ kind: 'tick' }), { background: true })
    for (const effect of effects) this.#begin(effect)
    if (!this.#stop.signal.aborted) this.#options.statusWriter.touch(this)
  }

  #begin(effect: PodEffect): void {
    if (effect.kind === 'forget') {
      this.close()
      this.#options.onForget(this)
      return
    }
    this.#carryOut(effect).then(
      (events) => {
        for (const event of events) this.feed(event)
      },
      (error: unknown) => this.#options.parts.log.error({ err: error, effect: effect.kind, pod: this.#pod.metadata.name }, 'an effect of a pod failed unexpectedly'),
    )
  }

  async #carryOut(effect: Exclude<PodEffect, { kind: 'forget' }>): Promise<PodEvent[]> {
    if (effect.kind === 'deletePod') return [await this.#deletePod()]
    if (effect.kind === 'record') {
      const { container, type, reason, message } = effect
      this.#record({ type, reason, message }, container)
      return []
    }
    const events = await this.#effects.run(effect)
    return Promise.all(events.map((event) => this.#withMessage(event)))
  }

  #record(text: { readonly type: 'Normal' | 'Warning'; readonly reason: string; readonly message: string }, container: string | undefined): void {
    this.#options.parts.recorder.record(podSubject(this.#pod, container), text)
  }

  /** An exited container's event carries its last words. */
  async #withMessage(event: PodEvent): Promise<PodEvent> {
    if (event.kind !== 'container' || event.status.state !== 'exited') return event
    const { status } = event
    const container = containerNamed(this.#pod, status.name)
    if (container === undefined) return event
    const { files, log } = this.#options.parts
    try {
      const message = await terminationMessage(files, this.volumes.terminationMessagePath(status.name, status.attempt), container, status)
      return message === undefined ? event : { ...event, terminationMessage: message }
    } catch (error) {
      // That it ended matters more than its last words.
      log.warn({ err: error, container: status.name, pod: this.#pod.metadata.name }, 'a termination message could not be read')
      return event
    }
  }

  /** What the runtime says about one container, now. */
  async observe(containerId: string): Promise<void> {
    let status: ContainerStatus
    try {
      status = await this.#options.parts.runtime.container(containerId)
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
      return this.feed({ kind: 'containerGone', id: containerId })
    }
    this.feed(await this.#withMessage({ kind: 'container', status }))
  }

  async observeSandbox(): Promise<void> {
    const { id } = this.#state.sandbox
    if (id === undefined) return
    try {
      this.feed({ kind: 'sandbox', status: await this.#options.parts.runtime.sandbox(id) })
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
      this.feed({ kind: 'sandboxGone', id })
    }
  }

  /** Everything we believe to exist is asked for; after events were lost. */
  async resync(): Promise<void> {
    const ids = this.#state.containers.flatMap(({ instance, phase }) => (instance !== undefined && (phase === 'running' || phase === 'stopping') ? [instance.id] : []))
    await this.observeSandbox()
    for (const id of ids) await this.observe(id)
  }

  async #deletePod(): Promise<PodEvent> {
    const { parts, statusWriter } = this.#options
    const { metadata } = this.#pod
    try {
      await statusWriter.flush(this)
      await parts.client.delete(Pod, { namespace: metadata.namespace, name: metadata.name }, { gracePeriodSeconds: 0, preconditions: { uid: metadata.uid }, signal: this.#stop.signal })
    } catch (error) {
      // Gone already, or another pod has the name: this one is no more.
      if (!isFault(error, 'notFound') && !isFault(error, 'conflict') && !isFault(error, 'preconditionFailed')) return { kind: 'apiDeleted', error: asFault(error).message }
    }
    return { kind: 'apiDeleted' }
  }

  /** Stops looking after the pod. Its containers run on. */
  close(): void {
    this.#stop.abort()
    this.#wake?.cancel()
    this.volumes.close()
    this.#options.parts.references.release(this.uid)
  }
}
