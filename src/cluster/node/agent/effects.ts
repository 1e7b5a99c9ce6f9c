/**
 * Carries out one effect of a pod against runtime, files and network, and answers the events that report its result. A
 * failure is a result too: nothing here retries, the life cycle decides.
 */
import { unreachable } from '#base/assert.ts'
import { asFault, isFault } from '#base/fault.ts'
import type { Container, EphemeralContainer } from '../../api/core/v1/container.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { ContainerConfig, RuntimeImage, SandboxStatus } from '../../contract/runtime.ts'
import { containerConfig, sandboxConfig } from '../containers/config.ts'
import { environmentOf, environmentReferences } from '../containers/env.ts'
import { containerNamed } from '../containers/field-ref.ts'
import type { HandlerContext } from '../containers/handlers.ts'
import { runHook, runProbe } from '../containers/handlers.ts'
import { ensureImage } from '../containers/images.ts'
import type { PodEffect, PodEvent } from '../pod/state.ts'
import type { PodVolumes } from '../volumes/pod-volumes.ts'
import type { Parts } from './parts.ts'
import { logFolder } from './parts.ts'
import { podSubject } from './recorder.ts'

type RunnableEffect = Exclude<PodEffect, { kind: 'forget' | 'deletePod' | 'record' }>
type StartEffect = Extract<PodEffect, { kind: 'startContainer' }>
type HookEffect = Extract<PodEffect, { kind: 'hook' }>
type ProbeEffect = Extract<PodEffect, { kind: 'probe' }>

export interface EffectRunnerOptions {
  readonly parts: Parts
  readonly volumes: PodVolumes
  readonly pod: () => Pod
  readonly signal: AbortSignal
}

export class EffectRunner {
  readonly #parts: Parts
  readonly #volumes: PodVolumes
  readonly #pod: () => Pod
  readonly #signal: AbortSignal
  /** What the last look at a container's image found. */
  readonly #images = new Map<string, RuntimeImage>()
  #ips: readonly string[] = []

  constructor({ parts, volumes, pod, signal }: EffectRunnerOptions) {
    this.#parts = parts
    this.#volumes = volumes
    this.#pod = pod
    this.#signal = signal
  }

  async run(effect: RunnableEffect): Promise<PodEvent[]> {
    const { runtime } = this.#parts
    switch (effect.kind) {
      case 'prepareVolumes':
        return [await reported('volumes', () => this.#volumes.prepare())]
      case 'runSandbox':
        return [await this.#runSandbox(effect.attempt)]
      case 'stopSandbox':
        return [await reported('sandboxStopped', () => runtime.stopSandbox(effect.id))]
      case 'removeSandbox':
        return this.#quietly(() => runtime.removeSandbox(effect.id))
      case 'ensureImage':
        return this.#ensureImage(effect.container)
      case 'startContainer':
        return this.#start(effect)
      case 'stopContainer':
        return [await this.#stop(effect)]
      case 'removeContainer':
        return this.#quietly(() => runtime.removeContainer(effect.containerId))
      case 'hook':
        return [await this.#hook(effect)]
      case 'probe':
        return this.#probe(effect)
      case 'takeDownVolumes':
        return [await reported('volumesDown', () => this.#volumes.takeDown())]
      case 'dispose':
        return [await reported('disposed', () => this.#dispose())]
      default:
        return unreachable(effect)
    }
  }

  async #quietly(task: () => Promise<void>): Promise<[]> {
    try {
      await task()
    } catch (error) {
      this.#parts.log.warn({ err: error, pod: this.#pod().metadata.name }, 'something left over could not be removed; the next start of the agent tries again')
    }
    return []
  }

  async #runSandbox(attempt: number): Promise<PodEvent> {
    const { runtime, files, starts, clusterDns } = this.#parts
    const pod = this.#pod()
    const logDirectory = logFolder(this.#parts, pod)
    try {
      await files.makeDirectory(logDirectory, { mode: 0o755 })
      const config = sandboxConfig(pod, { attempt, logDirectory, clusterDns })
      const status = await starts.run(() => runtime.runSandbox(config))
      this.#ips = status.ips
      return { kind: 'sandbox', status }
    } catch (error) {
      const existing = isFault(error, 'alreadyExists') ? await this.#sandboxOfAttempt(attempt) : undefined
      if (existing?.state === 'ready') return { kind: 'sandbox', status: existing }
      return { kind: 'sandboxFailed', message: asFault(error).message }
    }
  }

  async #sandboxOfAttempt(attempt: number): Promise<SandboxStatus | undefined> {
    const all = await this.#parts.runtime.sandboxes()
    return all.find((sandbox) => sandbox.pod.uid === this.#pod().metadata.uid && sandbox.attempt === attempt)
  }

  async #ensureImage(name: string): Promise<PodEvent[]> {
    const pod = this.#pod()
    const container = containerNamed(pod, name)
    if (container === undefined) return []
    const onPulling = (): void => this.#parts.recorder.record(podSubject(pod, name), { type: 'Normal', reason: 'Pulling', message: `Pulling image "${container.image}"` })
    const outcome = await ensureImage(this.#parts, pod, container, { signal: this.#signal, onPulling })
    if ('reason' in outcome) return [{ kind: 'imageFailed', container: name, ...outcome }]
    this.#images.set(name, outcome.image)
    return [{ kind: 'image', container: name, imageId: outcome.image.id, message: outcome.message }]
  }

  async #start(effect: StartEffect): Promise<PodEvent[]> {
    const { container: name } = effect
    const pod = this.#pod()
    const container = containerNamed(pod, name)
    if (container === undefined) return []
    let config: ContainerConfig
    try {
      config = await this.#config(pod, container, effect)
    } catch (error) {
      return [{ kind: 'startFailed', container: name, reason: 'CreateContainerConfigError', message: asFault(error).message }]
    }
    return this.#parts.starts.run(() => this.#createAndStart(effect, config))
  }

  async #config(pod: Pod, container: Container | EphemeralContainer, effect: StartEffect): Promise<ContainerConfig> {
    const { references, services, node, runtime, allocatable, memoryCapacityBytes } = this.#parts
    const { namespace, uid } = pod.metadata
    this.#ips = effect.ips
    await references.acquire(uid, environmentReferences(container).map((reference) => ({ ...reference, namespace })), this.#signal)
    const env = environmentOf(container, {
      pod,
      podIps: pod.spec.hostNetwork === true ? node.addresses : effect.ips,
      hostIps: node.addresses,
      allocatable,
      configMap: (name) => references.configMap(namespace, name),
      secret: (name) => references.secret(namespace, name),
      services: services.list(),
    })
    const image = this.#images.get(container.name) ?? (await runtime.imageStatus(effect.imageId))
    if (image === undefined) throw new Error(`image ${effect.imageId} is no longer on this node`)
    const mounts = await this.#volumes.mountsFor(container, { attempt: effect.attempt, ips: effect.ips, env })
    return containerConfig(pod, container, { attempt: effect.attempt, image, env, mounts, memoryCapacityBytes })
  }

  async #createAndStart({ container: name, sandboxId, attempt }: StartEffect, config: ContainerConfig): Promise<PodEvent[]> {
    const { runtime, recorder } = this.#parts
    let id: string
    try {
      id = await this.#create(sandboxId, config)
    } catch (error) {
      return [{ kind: 'startFailed', container: name, reason: 'CreateContainerError', message: asFault(error).message }]
    }
    recorder.record(podSubject(this.#pod(), name), { type: 'Normal', reason: 'Created', message: `Created container: ${name}` })
    try {
      await runtime.startContainer(id)
    } catch (error) {
      const { message } = asFault(error)
      const status = { ...(await runtime.container(id)), attempt }
      return [{ kind: 'startFailed', container: name, reason: 'RunContainerError', message, status }]
    }
    return [{ kind: 'container', status: await runtime.container(id) }]
  }

  /** An earlier agent may have died between create and start: what it left is replaced. */
  async #create(sandboxId: string, config: ContainerConfig): Promise<string> {
    const { runtime } = this.#parts
    try {
      return await runtime.createContainer(sandboxId, config)
    } catch (error) {
      if (!isFault(error, 'alreadyExists')) throw error
      const stale = (await runtime.containers()).find((each) => each.sandboxId === sandboxId && each.name === config.name && each.attempt === config.attempt)
      if (stale === undefined || stale.state === 'running') throw error
      await runtime.removeContainer(stale.id)
      return runtime.createContainer(sandboxId, config)
    }
  }

  async #stop({ container, containerId, graceMs }: Extract<PodEffect, { kind: 'stopContainer' }>): Promise<PodEvent> {
    const { runtime } = this.#parts
    try {
      await runtime.stopContainer(containerId, { graceMs })
      const status = await runtime.container(containerId)
      if (status.state === 'running') return { kind: 'stopFailed', container, containerId, message: 'the container still runs after it was stopped' }
      return { kind: 'container', status }
    } catch (error) {
      if (isFault(error, 'notFound')) return { kind: 'containerGone', id: containerId }
      return { kind: 'stopFailed', container, containerId, message: asFault(error).message }
    }
  }

  #handlerContext(container: Container | EphemeralContainer, containerId: string): HandlerContext {
    const { runtime, network, clock, node } = this.#parts
    const pod = this.#pod()
    const ips = pod.spec.hostNetwork === true ? node.addresses : this.#ips.length > 0 ? this.#ips : [pod.status.podIP ?? '']
    return { runtime, network, clock, container, containerId, podIp: ips[0] ?? '' }
  }

  async #hook({ container: name, containerId, hook, timeoutMs }: HookEffect): Promise<PodEvent> {
    const container = containerNamed(this.#pod(), name)
    const handler = container?.lifecycle?.[hook]
    const result = { kind: 'hook', container: name, containerId, hook } as const
    if (container === undefined || handler === undefined) return result
    try {
      await runHook(handler, this.#handlerContext(container, containerId), timeoutMs)
      return result
    } catch (error) {
      return { ...result, error: `${hook === 'postStart' ? 'PostStartHook' : 'PreStopHook'} failed: ${asFault(error).message}` }
    }
  }

  async #probe({ container: name, containerId, probe: kind }: ProbeEffect): Promise<PodEvent[]> {
    const container = containerNamed(this.#pod(), name)
    const probe = container?.[`${kind}Probe`]
    if (container === undefined || probe === undefined) return []
    const { ok, message } = await runProbe(probe, this.#handlerContext(container, containerId))
    return [{ kind: 'probe', container: name, containerId, probe: kind, ok, message }]
  }

  async #dispose(): Promise<void> {
    const { runtime, files } = this.#parts
    const pod = this.#pod()
    for (const { id, pod: owner } of await runtime.sandboxes()) if (owner.uid === pod.metadata.uid) await runtime.removeSandbox(id)
    await this.#volumes.dispose()
    await files.removeTree(logFolder(this.#parts, pod))
  }
}

/** Runs a task whose only result is that it is done, or why not. */
async function reported(kind: 'volumes' | 'sandboxStopped' | 'volumesDown' | 'disposed', task: () => Promise<void>): Promise<PodEvent> {
  try {
    await task()
    return { kind }
  } catch (error) {
    return { kind, error: asFault(error).message }
  }
}
