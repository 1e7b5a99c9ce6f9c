/**
 * The scheduler: takes pods without a node from its queue, chooses a node for each, and binds them. Choosing is pure and
 * one pod at a time over a view in memory; a chosen pod counts on its node from that moment ("assumed"), so that the next
 * choice sees it although the binding is still on its way. Why a pod waits stands on the pod (PodScheduled=False) and in
 * an event ("Kubernetes Scheduler" in the Kubernetes documentation).
 */
import type { Clock } from '#base/clock.ts'
import { rfc3339Seconds, sleep } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import { TaskGroup } from '#base/task.ts'
import { Namespace } from '../api/core/v1/namespace.ts'
import { Node } from '../api/core/v1/node.ts'
import { Pod } from '../api/core/v1/pod.ts'
import { createEventRecorder, type EventRecorder } from '../client/event-recorder.ts'
import type { Change, Informer } from '../client/informer.ts'
import type { Informers } from '../client/informers.ts'
import type { Client } from '../contract/client.ts'
import { looksAtNeighbours } from './neighbours.ts'
import type { PodInfo } from './node-info.ts'
import { ClusterView, podInfo } from './node-info.ts'
import type { QueuedPod } from './pod-queue.ts'
import { PodQueue } from './pod-queue.ts'
import { Selector } from './select.ts'

export interface SchedulerOptions {
  readonly client: Client
  /** Shared with the controllers, or its own. */
  readonly informers: Informers
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** Pods name their scheduler; this one answers to `default-scheduler` unless told otherwise. */
  readonly name?: string
  /** Bindings on their way at the same time. */
  readonly bindings?: number
}

/** After so many choices in a row others get their turn on this thread. */
const choicesPerTurn = 16

const isAssigned = ({ spec }: Pod): boolean => spec.nodeName !== undefined && spec.nodeName !== ''
const isFinished = ({ status }: Pod): boolean => status.phase === 'Succeeded' || status.phase === 'Failed'

export class Scheduler implements AsyncDisposable {
  readonly #options: SchedulerOptions
  readonly #name: string
  readonly #view = new ClusterView()
  readonly #queue: PodQueue
  readonly #selector: Selector
  readonly #recorder: EventRecorder
  readonly #tasks: TaskGroup
  readonly #pods: Informer<Pod>
  readonly #nodes: Informer<Node>
  readonly #namespaces: Informer<Namespace>
  /** Waiting pods whose place depends on where others are. */
  readonly #lookingAround = new Set<string>()
  /** Chosen and not yet seen bound, by uid. */
  readonly #assumed = new Map<string, string>()
  /** Counts changes that may let a resting pod fit. */
  #changes = 0
  #running = false
  #binding = 0
  #started = false

  constructor(options: SchedulerOptions) {
    this.#options = options
    this.#name = options.name ?? 'default-scheduler'
    const { client, clock, log, random } = options
    this.#queue = new PodQueue(clock, () => this.#pump())
    this.#selector = new Selector(random)
    this.#recorder = createEventRecorder({ client, clock, log, component: this.#name })
    this.#tasks = new TaskGroup((error) => log.error({ err: error }, 'the scheduler failed'))
    this.#nodes = options.informers.of(Node)
    this.#pods = options.informers.of(Pod)
    this.#namespaces = options.informers.of(Namespace)
    this.#nodes.onChange((change) => this.#onNode(change))
    this.#pods.onChange((change) => this.#onPod(change))
    this.#tasks.spawn(async (signal) => {
      await this.#nodes.whenSynced(signal)
      await this.#pods.whenSynced(signal)
      await this.#namespaces.whenSynced(signal)
      this.#started = true
      this.#pump()
    })
  }

  /** Pods that wait, whether ready to be tried or resting. */
  get waiting(): number {
    return this.#queue.size
  }

  async close(): Promise<void> {
    this.#started = false
    this.#queue[Symbol.dispose]()
    await this.#tasks.close()
    await this.#recorder.flush()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #onNode({ key, previous, current }: Change<Node>): void {
    if (current === undefined) return this.#view.removeNode(key)
    this.#view.setNode(current)
    if (previous === undefined || nodeMatters(previous) !== nodeMatters(current)) this.#somethingChanged()
  }

  #onPod({ key, previous, current }: Change<Pod>): void {
    if (previous !== undefined && (current === undefined || current.metadata.uid !== previous.metadata.uid)) this.#forget(previous)
    if (current === undefined) {
      if (previous !== undefined) this.#lookingAround.delete(previous.metadata.uid)
      return this.#queue.remove(key)
    }
    if (isFinished(current)) {
      this.#queue.remove(key)
      this.#forget(current)
    } else if (isAssigned(current)) {
      this.#queue.remove(key)
      this.#assumed.delete(current.metadata.uid)
      this.#lookingAround.delete(current.metadata.uid)
      this.#view.place(podInfo(current), current.spec.nodeName ?? '')
      const moved = previous === undefined || !isAssigned(previous) || JSON.stringify(previous.metadata.labels) !== JSON.stringify(current.metadata.labels)
      if (moved && this.#lookingAround.size > 0) this.#somethingChanged()
    } else if (this.#isMine(current)) this.#enqueue(previous, current)
    else this.#queue.remove(key)
  }

  #isMine({ metadata, spec }: Pod): boolean {
    return spec.schedulerName === this.#name && metadata.deletionTimestamp === undefined
  }

  #enqueue(previous: Pod | undefined, pod: Pod): void {
    if (this.#assumed.has(pod.metadata.uid)) return
    // A status update, our own above all, makes no pod fit.
    if (previous !== undefined && previous.metadata.uid === pod.metadata.uid && podMatters(previous) === podMatters(pod)) return
    this.#queue.add(queued(pod))
  }

  /** Its room is free again. */
  #forget(pod: Pod): void {
    this.#assumed.delete(pod.metadata.uid)
    if (this.#view.remove(pod.metadata.uid)) this.#somethingChanged()
  }

  #somethingChanged(): void {
    this.#changes += 1
    this.#queue.wakeAll()
  }

  #pump(): void {
    if (this.#running || !this.#started) return
    this.#running = true
    this.#tasks.spawn(async (signal) => {
      try {
        await this.#work(signal)
      } finally {
        this.#running = false
        // A pod may have become ready between the last look and here.
        if (!signal.aborted && this.#queue.readySize > 0 && this.#binding < this.#bindingLimit) this.#pump()
      }
    })
  }

  get #bindingLimit(): number {
    return this.#options.bindings ?? 64
  }

  async #work(signal: AbortSignal): Promise<void> {
    // Whoever told us goes on first.
    await Promise.resolve()
    const { clock } = this.#options
    for (let choices = 1; !signal.aborted && this.#binding < this.#bindingLimit; choices += 1) {
      const next = this.#queue.take()
      if (next === undefined) return
      this.#schedule(next.pod, next.attempts)
      if (choices % choicesPerTurn === 0) await sleep(clock, 0, signal)
    }
  }

  #schedule(entry: QueuedPod, attempts: number): void {
    const pod = this.#pods.getKey(entry.key)
    if (pod === undefined || pod.metadata.uid !== entry.uid || isAssigned(pod)) return
    const gates = pod.spec.schedulingGates ?? []
    if (gates.length > 0) {
      this.#spawn(() => this.#explain(pod, 'SchedulingGated', 'Scheduling is blocked due to non-empty scheduling gates'))
      this.#queue.rest(entry, attempts, false)
      return
    }
    const info = podInfo(pod)
    const changes = this.#changes
    const selection = this.#selector.select(info, { nodes: this.#view.nodes, repelling: this.#view.repelling, namespaceLabels: (name) => this.#namespaces.get({ name })?.metadata.labels ?? {} })
    if ('refused' in selection) {
      if (looksAtNeighbours(pod)) this.#lookingAround.add(entry.uid)
      this.#recorder.event(pod, 'Warning', 'FailedScheduling', selection.refused)
      this.#queue.rest(entry, attempts, changes !== this.#changes)
      this.#spawn(() => this.#explain(pod, 'Unschedulable', selection.refused))
      return
    }
    this.#view.place(info, selection.node)
    this.#assumed.set(entry.uid, selection.node)
    this.#binding += 1
    this.#spawn(async () => {
      try {
        await this.#bind(info, selection.node, entry, attempts)
      } finally {
        this.#binding -= 1
        this.#pump()
      }
    })
  }

  #spawn(task: () => Promise<void>): void {
    if (!this.#tasks.signal.aborted) this.#tasks.spawn(task)
  }

  async #bind({ pod }: PodInfo, node: string, entry: QueuedPod, attempts: number): Promise<void> {
    const { namespace, name, uid } = pod.metadata
    const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { namespace, name, uid }, target: { apiVersion: 'v1', kind: 'Node', name: node } }
    try {
      await this.#options.client.createSubresource(Pod, { namespace, name }, 'binding', binding)
      this.#recorder.event(pod, 'Normal', 'Scheduled', `Successfully assigned ${namespace}/${name} to ${node}`)
    } catch (error) {
      this.#options.log.debug({ pod: entry.key, node, err: error }, 'a binding failed')
      await this.#afterFailedBinding(entry, attempts)
      // Gone, or bound by somebody else: the cache will tell.
      if (!isFault(error, 'notFound') && !isFault(error, 'conflict')) this.#recorder.event(pod, 'Warning', 'FailedScheduling', `binding rejected: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  /**
   * The binding may have happened all the same. Only the server knows; until it has said so the pod keeps its place on
   * the node, for a place given away twice cannot be taken back.
   */
  async #afterFailedBinding(entry: QueuedPod, attempts: number): Promise<void> {
    const { clock } = this.#options
    for (let waitMs = 100; !this.#tasks.signal.aborted; waitMs = Math.min(10_000, waitMs * 2)) {
      try {
        const { namespace, name } = splitKey(entry.key)
        const pod = await this.#options.client.get(Pod, { namespace, name })
        if (pod.metadata.uid === entry.uid && isAssigned(pod)) return
        this.#release(entry.uid)
        if (pod.metadata.uid === entry.uid && this.#isMine(pod)) this.#queue.retry(entry, attempts)
        return
      } catch (error) {
        if (isFault(error, 'notFound')) return this.#release(entry.uid)
        await sleep(clock, waitMs, this.#tasks.signal)
      }
    }
  }

  #release(uid: string): void {
    if (!this.#assumed.delete(uid)) return
    this.#view.remove(uid)
    this.#somethingChanged()
  }

  /** Says on the pod why it waits, when that is news. */
  async #explain(pod: Pod, reason: string, message: string): Promise<void> {
    const before = pod.status.conditions?.find(({ type }) => type === 'PodScheduled')
    if (before?.status === 'False' && before.reason === reason && before.message === message) return
    const lastTransitionTime = before?.status === 'False' ? before.lastTransitionTime : rfc3339Seconds(this.#options.clock.nowMs())
    const condition = { type: 'PodScheduled', status: 'False', lastTransitionTime, reason, message } as const
    const conditions = [...(pod.status.conditions ?? []).filter(({ type }) => type !== condition.type), condition]
    try {
      await this.#options.client.update(Pod, { ...pod, status: { ...pod.status, conditions } }, { subresource: 'status' })
    } catch (error) {
      // It changed meanwhile, which brings it back to us; or the server is away, and the event says the same.
      this.#options.log.debug({ pod: pod.metadata.name, err: error }, 'the reason why a pod waits could not be written')
    }
  }
}

function queued({ metadata, spec }: Pod): QueuedPod {
  return { key: `${metadata.namespace}/${metadata.name}`, uid: metadata.uid, priority: spec.priority ?? 0 }
}

function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf('/')
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) }
}

/** What of a node decides whether pods fit. */
function nodeMatters({ metadata, spec, status }: Node): string {
  return JSON.stringify([metadata.labels, spec.taints?.map(({ key, value, effect }) => [key, value, effect]), spec.unschedulable, status.allocatable])
}

/** What of a pod decides where it fits. */
function podMatters({ metadata, spec }: Pod): string {
  return JSON.stringify([metadata.labels, metadata.deletionTimestamp, spec])
}
