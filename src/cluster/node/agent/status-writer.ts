/**
 * Brings `status` of pods to the API: one writer per pod at a time, what changed meanwhile is written together, a failure is
 * retried with back-off. The uid in the patch keeps a new pod of the same name from getting the old one's status.
 */
import type { Clock } from '#base/clock.ts'
import { sleep } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import type { PodStatus } from '../../api/core/v1/pod-status.ts'
import type { Client } from '../../contract/client.ts'
import { statusPatch } from '../pod/status.ts'

export interface StatusSource {
  /** The newest object known. */
  readonly pod: Pod
  /** The status as it should be, given the one that the API has. */
  desired(previous: PodStatus): PodStatus
  /** The API has answered with this object. */
  written(pod: Pod): void
}

export class StatusWriter {
  readonly #client: Client
  readonly #clock: Clock
  readonly #log: Logger
  readonly #signal: AbortSignal
  readonly #dirty = new Set<string>()
  readonly #writing = new Map<string, Promise<void>>()

  constructor(options: { readonly client: Client; readonly clock: Clock; readonly log: Logger; readonly signal: AbortSignal }) {
    this.#client = options.client
    this.#clock = options.clock
    this.#log = options.log
    this.#signal = options.signal
  }

  /** Something about the pod has changed: its status is compared and written soon. */
  touch(source: StatusSource): void {
    const { uid } = source.pod.metadata
    this.#dirty.add(uid)
    if (this.#writing.has(uid) || this.#signal.aborted) return
    const writing = this.#write(source)
    this.#writing.set(uid, writing)
    writing.catch((error: unknown) => {
      if (!this.#signal.aborted) this.#log.error({ err: error, pod: source.pod.metadata.name }, 'writing a pod status failed for good')
    })
  }

  /** Resolves when the pod's present status has reached the API, or cannot any more. */
  async flush(source: StatusSource): Promise<void> {
    this.touch(source)
    await this.#writing.get(source.pod.metadata.uid)
  }

  async #write(source: StatusSource): Promise<void> {
    const { uid } = source.pod.metadata
    // The step that touched us may be followed by others in the same turn.
    await Promise.resolve()
    try {
      for (let failures = 0; this.#dirty.delete(uid); ) {
        const outcome = await this.#attempt(source)
        if (outcome === 'gone') return
        failures = outcome === 'failed' ? failures + 1 : 0
        if (failures > 0) await sleep(this.#clock, Math.min(10_000, 100 * 2 ** failures), this.#signal)
      }
    } finally {
      // In the same turn as the last look at #dirty: a touch after it begins a new writer.
      this.#writing.delete(uid)
    }
  }

  async #attempt(source: StatusSource): Promise<'written' | 'gone' | 'failed'> {
    try {
      return (await this.#writeOnce(source)) ? 'written' : 'gone'
    } catch (error) {
      if (this.#signal.aborted) return 'gone'
      this.#dirty.add(source.pod.metadata.uid)
      this.#log.warn({ err: error, pod: source.pod.metadata.name }, 'a pod status could not be written, will be retried')
      return 'failed'
    }
  }

  /** False when the pod is gone, so that nothing is left to write to. */
  async #writeOnce(source: StatusSource): Promise<boolean> {
    const { metadata, status } = source.pod
    const changes = statusPatch(status, source.desired(status))
    if (Object.keys(changes).length === 0) return true
    try {
      const patch = { metadata: { uid: metadata.uid }, status: changes }
      source.written(await this.#client.patch(Pod, { namespace: metadata.namespace, name: metadata.name }, patch, { type: 'strategic', subresource: 'status', fieldManager: 'kubelet', signal: this.#signal }))
      return true
    } catch (error) {
      if (isFault(error, 'notFound')) return false
      if (isFault(error, 'conflict') || isFault(error, 'preconditionFailed')) return this.#isStillThere(source)
      throw error
    }
  }

  /** After a conflict: another pod has the name (nothing to write any more), or the write lost a race (true: try again). */
  async #isStillThere(source: StatusSource): Promise<boolean> {
    const { namespace, name, uid } = source.pod.metadata
    try {
      const found = await this.#client.get(Pod, { namespace, name }, { signal: this.#signal })
      if (found.metadata.uid !== uid) return false
      source.written(found)
      this.#dirty.add(uid)
      return true
    } catch (error) {
      if (isFault(error, 'notFound')) return false
      throw error
    }
  }
}
