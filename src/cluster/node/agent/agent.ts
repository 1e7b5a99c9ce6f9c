/**
 * The node agent (the kubelet): registers the node, follows the pods bound to it, runs one worker per pod. Killing it harms
 * nothing: containers run on, and the next start rebuilds every worker from the runtime's lists and the API (`pod/adopt.ts`).
 *
 * ```ts
 * await using agent = await startNodeAgent({ client, runtime, files, network, clock, random, log, node, folders, clusterDns })
 * ```
 */
import type { Clock } from '#base/clock.ts'
import { sleep } from '#base/clock.ts'
import { asFault, isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import { Gate, TaskGroup } from '#base/task.ts'
import { wholeUnits } from '#schema/quantity.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { Service } from '../../api/core/v1/service.ts'
import type { Informer } from '../../client/informer.ts'
import { createInformer } from '../../client/informer.ts'
import type { Client } from '../../contract/client.ts'
import type { ContainerStatus, PodIdentity, PodRuntime, RuntimeEvent, SandboxStatus } from '../../contract/runtime.ts'
import { adoptPod } from '../pod/adopt.ts'
import { planOf } from '../pod/parse-plan.ts'
import type { NodeFiles, NodeNetwork } from '../ports.ts'
import type { NodeFacts, NodeStatusOptions } from './node-status.ts'
import { keepNodeAlive, registerNode } from './node-status.ts'
import type { AgentFolders, ClusterDns, Parts } from './parts.ts'
import { PodWorker } from './pod-worker.ts'
import { Recorder } from './recorder.ts'
import { References } from './references.ts'
import { StatusWriter } from './status-writer.ts'

export interface NodeAgentOptions {
  readonly client: Client
  readonly runtime: PodRuntime
  readonly files: NodeFiles
  readonly network: NodeNetwork
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly node: NodeFacts
  readonly folders: AgentFolders
  /** Left out: pods get the node's own resolv.conf. */
  readonly clusterDns?: ClusterDns
  /** An informer of all Services that somebody else runs (the service proxy has one); left out: the agent runs its own. */
  readonly services?: Informer<Service>
  /** What keeps the node from being Ready, if anything. */
  readonly problem?: () => string | undefined
  /** Logs larger than this are rotated (default 10 MiB), and so many old ones kept (default 4). */
  readonly logLimits?: { readonly maxBytes: number; readonly keep: number }
}

/** What the kubelet's HTTP API reads. */
export interface NodeAgent extends AsyncDisposable {
  readonly workers: readonly PodWorker[]
  worker(namespace: string, name: string, uid?: string): PodWorker | undefined
  /** Stops looking after pods; they run on. */
  close(): Promise<void>
}

const parallelStarts = 8
const parallelPulls = 3
const logCheckMs = 30_000

/** Resolves when the node is registered and every pod of it has a worker. */
export async function startNodeAgent(options: NodeAgentOptions): Promise<NodeAgent> {
  const agent = new Agent(options)
  try {
    await agent.start()
  } catch (error) {
    await agent.close()
    throw error
  }
  return agent
}

interface Listed {
  readonly sandboxes: SandboxStatus[]
  readonly containers: ContainerStatus[]
}

class Agent implements NodeAgent {
  readonly #options: NodeAgentOptions
  readonly #parts: Parts
  readonly #tasks: TaskGroup
  readonly #statusWriter: StatusWriter
  readonly #pods: Informer<Pod>
  /** By uid: two pods of one name may overlap, one ending and one beginning. */
  readonly #workers = new Map<string, PodWorker>()

  constructor(options: NodeAgentOptions) {
    const { client, runtime, files, network, clock, log, node, folders, clusterDns } = options
    this.#options = options
    this.#tasks = new TaskGroup((error) => log.error({ err: error }, 'a task of the node agent failed'))
    const onError = (error: unknown): void => log.warn({ err: error }, 'following the API failed, will be retried')
    this.#pods = createInformer(Pod, { client, clock, fieldSelector: `spec.nodeName=${node.name}`, maxBackoffMs: 2000, onError })
    this.#parts = {
      node: { name: node.name, addresses: node.addresses },
      folders,
      clusterDns,
      client,
      runtime,
      files,
      network,
      clock,
      log,
      recorder: new Recorder({ client, clock, log, host: node.name }),
      references: new References({ client, clock, log, onChange: (uid) => this.#workers.get(uid)?.referencesChanged() }),
      services: this.#services(onError),
      starts: new Gate(parallelStarts),
      pulls: new Gate(parallelPulls),
      memoryCapacityBytes: Number(wholeUnits(node.capacity['memory'] ?? '0')),
      allocatable: node.allocatable,
    }
    this.#statusWriter = new StatusWriter({ client, clock, log, signal: this.#tasks.signal })
  }

  #services(onError: (error: unknown) => void): Informer<Service> {
    const { client, clock, services } = this.#options
    if (services !== undefined) return services
    const own = createInformer(Service, { client, clock, onError })
    this.#tasks.spawn((signal) => own.run(signal))
    return own
  }

  get workers(): readonly PodWorker[] {
    return [...this.#workers.values()]
  }

  worker(namespace: string, name: string, uid?: string): PodWorker | undefined {
    const found = this.workers.filter(({ pod: { metadata } }) => metadata.namespace === namespace && metadata.name === name && (uid === undefined || uid === '' || metadata.uid === uid))
    // Of two pods of one name the newer is meant.
    return found.at(-1)
  }

  async start(): Promise<void> {
    const { signal } = this.#tasks
    const status: NodeStatusOptions = { ...this.#options }
    this.#tasks.spawn((own) => this.#pods.run(own))
    // Services too: a container's environment names those that there are when it starts.
    await Promise.all([registerNode(status, signal), this.#pods.whenSynced(signal), this.#parts.services.whenSynced(signal)])
    // Events first, so that nothing that happens during the listing is missed.
    this.#tasks.spawn((own) => this.#followRuntime(own))
    const listed = await this.#list()
    for (const pod of this.#pods.list()) await this.#adopt(pod, listed.get(pod.metadata.uid))
    this.#pods.onChange(({ previous, current }) => {
      if (previous !== undefined && previous.metadata.uid !== current?.metadata.uid) this.#workers.get(previous.metadata.uid)?.feed({ kind: 'removed' })
      if (current !== undefined) this.#admit(current)
    })
    this.#tasks.spawn(async (own) => {
      for (const [uid, found] of listed) if (!this.#workers.has(uid)) await this.#removeOrphan(found, own)
    })
    this.#tasks.spawn((own) => keepNodeAlive(status, own))
    this.#tasks.spawn((own) => this.#rotateLogs(own))
  }

  async #list(): Promise<Map<string, Listed>> {
    const { runtime } = this.#options
    const found = new Map<string, Listed>()
    const of = ({ uid }: PodIdentity): Listed => {
      const known = found.get(uid) ?? { sandboxes: [], containers: [] }
      found.set(uid, known)
      return known
    }
    for (const sandbox of await runtime.sandboxes()) of(sandbox.pod).sandboxes.push(sandbox)
    for (const container of await runtime.containers()) of(container.pod).containers.push(container)
    return found
  }

  async #adopt(pod: Pod, found: Listed = { sandboxes: [], containers: [] }): Promise<void> {
    const { runtime, clock, log } = this.#options
    const { state, discard } = adoptPod(planOf(pod), found, { previous: pod.status, nowMs: clock.nowMs() })
    try {
      for (const id of discard.containers) await runtime.removeContainer(id)
      for (const id of discard.sandboxes) await runtime.removeSandbox(id)
    } catch (error) {
      log.warn({ err: error, pod: pod.metadata.name }, 'what an earlier agent left of a pod could not be removed')
    }
    this.#addWorker(pod, state)
  }

  #admit(pod: Pod): void {
    const known = this.#workers.get(pod.metadata.uid)
    if (known !== undefined) return known.update(pod)
    const { state } = adoptPod(planOf(pod), { sandboxes: [], containers: [] }, { previous: pod.status, nowMs: this.#options.clock.nowMs() })
    this.#addWorker(pod, state)
  }

  #addWorker(pod: Pod, state: ReturnType<typeof adoptPod>['state']): void {
    const worker = new PodWorker({ parts: this.#parts, pod, state, statusWriter: this.#statusWriter, onForget: ({ uid }) => this.#workers.delete(uid) })
    this.#workers.set(pod.metadata.uid, worker)
    worker.feed({ kind: 'tick' })
  }

  /**
   * Something runs for a pod that the first list did not have. The API is asked once more, for this very pod: only its "no"
   * ends the pod, never a cache (kubernetes#59848).
   */
  async #removeOrphan({ sandboxes, containers }: Listed, signal: AbortSignal): Promise<void> {
    const { client, runtime, log, files, folders, clock } = this.#options
    const owner = (sandboxes[0] ?? containers[0])?.pod
    if (owner === undefined) return
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        const pod = await client.get(Pod, { namespace: owner.namespace, name: owner.name }, { signal })
        // It is ours after all: the informer will bring it.
        if (pod.metadata.uid === owner.uid && pod.spec.nodeName === this.#options.node.name) return
        break
      } catch (error) {
        if (isFault(error, 'notFound')) break
        if (signal.aborted) return
        await sleep(clock, Math.min(10_000, 100 * 2 ** failures), signal)
      }
    }
    if (signal.aborted || this.#workers.has(owner.uid)) return
    log.info({ pod: owner.name, namespace: owner.namespace }, 'a pod that is no longer in the API is removed')
    try {
      await Promise.all(containers.map(({ id }) => runtime.stopContainer(id, { graceMs: 30_000 })))
      for (const { id } of sandboxes) await runtime.removeSandbox(id)
      await files.removeTree(`${folders.root}/pods/${owner.uid}`)
      await files.removeTree(`${folders.logs}/${owner.namespace}_${owner.name}_${owner.uid}`)
    } catch (error) {
      log.warn({ err: asFault(error), pod: owner.name }, 'a pod that is no longer in the API could not be removed')
    }
  }

  async #followRuntime(signal: AbortSignal): Promise<void> {
    const { runtime, clock, log } = this.#options
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        for await (const event of runtime.events(signal)) {
          failures = 0
          await this.#onRuntimeEvent(event)
        }
      } catch (error) {
        if (signal.aborted) return
        log.warn({ err: error }, 'the runtime’s events broke off, will be followed again')
      }
      if (signal.aborted) return
      await sleep(clock, Math.min(10_000, 100 * 2 ** failures), signal)
      await this.#onRuntimeEvent({ kind: 'resync' })
    }
  }

  async #onRuntimeEvent(event: RuntimeEvent): Promise<void> {
    const { log } = this.#options
    try {
      if (event.kind === 'resync') {
        for (const worker of this.workers) await worker.resync()
        return
      }
      const worker = this.#workers.get(event.podUid)
      if (worker === undefined) return
      if (event.kind === 'sandboxStopped') await worker.observeSandbox()
      else if (event.kind !== 'started') await worker.observe(event.containerId)
    } catch (error) {
      log.warn({ err: error, event: event.kind }, 'an event of the runtime could not be looked into')
    }
  }

  async #rotateLogs(signal: AbortSignal): Promise<void> {
    const { clock, files, runtime, log, logLimits = { maxBytes: 10 * 1024 * 1024, keep: 4 } } = this.#options
    while (!signal.aborted) {
      await sleep(clock, logCheckMs, signal)
      for (const container of this.workers.length === 0 ? [] : await runtime.containers()) {
        if (container.state !== 'running' || ((await files.sizeOf(container.logPath)) ?? 0) <= logLimits.maxBytes) continue
        try {
          await files.rotate(container.logPath, logLimits.keep)
          await runtime.reopenLog(container.id)
        } catch (error) {
          log.warn({ err: error, container: container.name }, 'a container log could not be rotated')
        }
      }
    }
  }

  async close(): Promise<void> {
    for (const worker of this.workers) worker.close()
    this.#parts.references.close()
    this.#parts.recorder.close()
    await this.#tasks.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
