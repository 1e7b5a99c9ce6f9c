/**
 * `PodRuntime` in memory, on an injected clock: for tests of the node agent and for the simulator. It outlives the agent as a
 * real runtime does: make one per simulated machine, hand it to one agent after another. What containers do is scripted by
 * image and command; nothing is executed.
 */
import { PassThrough } from 'node:stream'
import type { Duplex } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import { sleep } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Random } from '#base/random.ts'
import { randomHex } from '#base/random.ts'
import type { ContainerConfig, ContainerStatus, ExecResult, PodRuntime, RuntimeEvent, RuntimeImage, SandboxConfig, SandboxStatus, Session } from '../../contract/runtime.ts'

/** What a simulated container does. */
export interface Program {
  /** It ends by itself after so long; undefined: it runs until stopped. */
  readonly exitAfterMs?: number
  readonly exitCode?: number
  readonly oomKilled?: boolean
  /** How long it takes to end after SIGTERM; undefined: at once. Infinity: it ignores the signal. */
  readonly stopAfterMs?: number
  /** Exit code after SIGTERM (default 143). */
  readonly stopCode?: number
  /** Why it cannot be started. */
  readonly startError?: string
  /** Answers commands executed in it. */
  readonly exec?: (command: readonly string[]) => { exitCode: number; stdout?: string; stderr?: string }
}

export interface SimulatedRuntimeOptions {
  readonly clock: Clock
  readonly random: Random
  /** Addresses are `prefix` + number, e.g. `10.42.0.`. */
  readonly addressPrefix?: string
  /** Images that are here already. */
  readonly present?: readonly string[]
  /** Images that a pull finds; undefined: any. */
  readonly registry?: (reference: string) => boolean
  /** What a container does, asked at its start. */
  readonly program?: (config: ContainerConfig, sandbox: SandboxConfig) => Program
  readonly latencyMs?: { readonly sandbox?: number; readonly create?: number; readonly start?: number; readonly pull?: number }
}

interface SimContainer {
  readonly config: ContainerConfig
  readonly sandboxId: string
  program: Program
  status: ContainerStatus
  readonly ended: PromiseWithResolvers<void>
}

interface SimSandbox {
  readonly config: SandboxConfig
  status: SandboxStatus
}

type Listener = (event: RuntimeEvent) => void

export interface SimulatedRuntime extends PodRuntime {
  /** The process ends by itself, now. */
  exit(containerId: string, exitCode: number): void
  /** The machine is switched off and on: nothing runs any more, namespaces are gone, records on disk stay. */
  reboot(): void
  /** The machine's disk is lost too. */
  wipe(): void
  addImage(reference: string): void
}

const longestEventQueue = 1000

export function simulatedRuntime(options: SimulatedRuntimeOptions): SimulatedRuntime {
  return new InMemoryRuntime(options)
}

class InMemoryRuntime implements SimulatedRuntime {
  readonly #options: SimulatedRuntimeOptions
  readonly #sandboxes = new Map<string, SimSandbox>()
  readonly #containers = new Map<string, SimContainer>()
  readonly #images = new Map<string, RuntimeImage>()
  readonly #listeners = new Set<Listener>()
  #nextAddress = 2

  constructor(options: SimulatedRuntimeOptions) {
    this.#options = options
    for (const reference of options.present ?? []) this.addImage(reference)
  }

  addImage(reference: string): void {
    this.#images.set(reference, { id: `sha256:${Buffer.from(reference).toString('hex').padEnd(64, '0').slice(0, 64)}`, repoTags: [reference], repoDigests: [], sizeBytes: 1_000_000 })
  }

  async version(): Promise<{ name: string; version: string }> {
    return { name: 'berth', version: 'simulated' }
  }

  async #takeTime(what: 'sandbox' | 'create' | 'start' | 'pull', signal?: AbortSignal): Promise<void> {
    const ms = this.#options.latencyMs?.[what] ?? 0
    if (ms > 0) await sleep(this.#options.clock, ms, signal)
  }

  #emit(event: RuntimeEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  async runSandbox(config: SandboxConfig): Promise<SandboxStatus> {
    await this.#takeTime('sandbox')
    const { uid } = config.pod
    for (const { status } of this.#sandboxes.values()) {
      if (status.pod.uid === uid && status.attempt === config.attempt) throw new Fault('alreadyExists', `pod ${config.pod.name} has a sandbox of attempt ${config.attempt}`)
    }
    const status: SandboxStatus = {
      id: randomHex(this.#options.random, 64),
      pod: config.pod,
      attempt: config.attempt,
      state: 'ready',
      createdAtMs: this.#options.clock.nowMs(),
      ips: config.hostNetwork ? [] : [this.#address()],
      labels: config.labels,
      annotations: config.annotations,
    }
    this.#sandboxes.set(status.id, { config, status })
    return status
  }

  #address(): string {
    const used = new Set([...this.#sandboxes.values()].flatMap(({ status }) => status.ips))
    for (let tries = 0; tries < 253; tries += 1) {
      const ip = `${this.#options.addressPrefix ?? '10.42.0.'}${this.#nextAddress}`
      this.#nextAddress = this.#nextAddress >= 254 ? 2 : this.#nextAddress + 1
      if (!used.has(ip)) return ip
    }
    throw new Fault('unavailable', 'no address is left for pods on this node')
  }

  #sandboxOf(id: string): SimSandbox {
    const found = this.#sandboxes.get(id)
    if (found === undefined) throw new Fault('notFound', `no sandbox ${id}`)
    return found
  }

  #containerOf(id: string): SimContainer {
    const found = this.#containers.get(id)
    if (found === undefined) throw new Fault('notFound', `no container ${id}`)
    return found
  }

  #inSandbox(id: string): SimContainer[] {
    return [...this.#containers.values()].filter(({ sandboxId }) => sandboxId === id)
  }

  async stopSandbox(id: string): Promise<void> {
    const sandbox = this.#sandboxes.get(id)
    if (sandbox === undefined || sandbox.status.state === 'notReady') return
    for (const container of this.#inSandbox(id)) this.#end(container, 137)
    sandbox.status = { ...sandbox.status, state: 'notReady', ips: [] }
    this.#emit({ kind: 'sandboxStopped', podUid: sandbox.status.pod.uid, sandboxId: id })
  }

  async removeSandbox(id: string): Promise<void> {
    await this.stopSandbox(id)
    for (const { status } of this.#inSandbox(id)) await this.removeContainer(status.id)
    this.#sandboxes.delete(id)
  }

  async sandbox(id: string): Promise<SandboxStatus> {
    return this.#sandboxOf(id).status
  }

  async sandboxes(): Promise<readonly SandboxStatus[]> {
    return [...this.#sandboxes.values()].map(({ status }) => status)
  }

  async createContainer(sandboxId: string, config: ContainerConfig): Promise<string> {
    await this.#takeTime('create')
    const sandbox = this.#sandboxOf(sandboxId)
    const image = this.#image(config.image)
    if (image === undefined) throw new Fault('notFound', `no image ${config.image}`)
    if (this.#inSandbox(sandboxId).some(({ status }) => status.name === config.name && status.attempt === config.attempt)) {
      throw new Fault('alreadyExists', `container ${config.name} of attempt ${config.attempt} exists`)
    }
    const id = randomHex(this.#options.random, 64)
    const { name, attempt, imageReference, labels, annotations } = config
    const logPath = `${sandbox.config.logDirectory}/${config.logPath}`
    const status: ContainerStatus = { id, sandboxId, pod: sandbox.config.pod, name, attempt, state: 'created', createdAtMs: this.#options.clock.nowMs(), imageId: image.id, imageReference, logPath, labels, annotations }
    this.#containers.set(id, { config, sandboxId, program: {}, status, ended: Promise.withResolvers() })
    return id
  }

  async startContainer(id: string): Promise<void> {
    await this.#takeTime('start')
    const container = this.#containerOf(id)
    if (container.status.state !== 'created') throw new Fault('conflict', `container ${id} is ${container.status.state}, only a created one can be started`)
    const sandbox = this.#sandboxOf(container.sandboxId)
    const program = this.#options.program?.(container.config, sandbox.config) ?? {}
    container.program = program
    const nowMs = this.#options.clock.nowMs()
    if (program.startError !== undefined) {
      container.status = { ...container.status, state: 'exited', exitCode: 127, finishedAtMs: nowMs, message: program.startError }
      throw new Fault('invalidArgument', program.startError)
    }
    container.status = { ...container.status, state: 'running', startedAtMs: nowMs }
    this.#emit({ kind: 'started', podUid: container.status.pod.uid, sandboxId: container.sandboxId, containerId: id })
    if (program.exitAfterMs !== undefined) this.#options.clock.after(program.exitAfterMs, () => this.#end(container, program.exitCode ?? 0), { background: true })
  }

  #end(container: SimContainer, exitCode: number): void {
    if (container.status.state !== 'running') return
    const { oomKilled } = container.program
    container.status = { ...container.status, state: 'exited', exitCode, finishedAtMs: this.#options.clock.nowMs(), ...(oomKilled === undefined ? {} : { oomKilled }) }
    container.ended.resolve()
    this.#emit({ kind: 'exited', podUid: container.status.pod.uid, sandboxId: container.sandboxId, containerId: container.status.id })
  }

  exit(containerId: string, exitCode: number): void {
    this.#end(this.#containerOf(containerId), exitCode)
  }

  async stopContainer(id: string, { graceMs }: { readonly graceMs: number }): Promise<void> {
    const container = this.#containers.get(id)
    if (container === undefined || container.status.state !== 'running') return
    const { stopAfterMs = 0, stopCode = 143 } = container.program
    const killed = stopAfterMs > graceMs || graceMs === 0
    this.#options.clock.after(killed ? graceMs : stopAfterMs, () => this.#end(container, killed ? 137 : stopCode))
    await container.ended.promise
  }

  async removeContainer(id: string): Promise<void> {
    const container = this.#containers.get(id)
    if (container === undefined) return
    this.#end(container, 137)
    this.#containers.delete(id)
    this.#emit({ kind: 'removed', podUid: container.status.pod.uid, sandboxId: container.sandboxId, containerId: id })
  }

  async container(id: string): Promise<ContainerStatus> {
    return this.#containerOf(id).status
  }

  async containers(): Promise<readonly ContainerStatus[]> {
    return [...this.#containers.values()].map(({ status }) => status)
  }

  async updateResources(id: string): Promise<void> {
    this.#containerOf(id)
  }

  async reopenLog(id: string): Promise<void> {
    this.#containerOf(id)
  }

  #running(id: string): SimContainer {
    const container = this.#containerOf(id)
    if (container.status.state !== 'running') throw new Fault('conflict', `container ${id} is not running`)
    return container
  }

  async runCommand(id: string, command: readonly string[]): Promise<ExecResult> {
    const { exitCode, stdout = '', stderr = '' } = this.#running(id).program.exec?.(command) ?? { exitCode: 0 }
    return { exitCode, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) }
  }

  async exec(id: string, { command }: { readonly command: readonly string[] }): Promise<Session> {
    const { exitCode, stdout, stderr } = await this.runCommand(id, command)
    const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() }
    streams.stdin.resume()
    streams.stdout.end(stdout)
    streams.stderr.end(stderr)
    return { ...streams, resize: async () => undefined, exit: Promise.resolve(exitCode), close: () => streams.stdin.destroy() }
  }

  async attach(id: string): Promise<Session> {
    const { ended } = this.#running(id)
    const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() }
    const exit = ended.promise.then(() => this.#containerOf(id).status.exitCode ?? 0)
    return { ...streams, resize: async () => undefined, exit, close: () => streams.stdin.destroy() }
  }

  async dial(sandboxId: string, port: number): Promise<Duplex> {
    this.#sandboxOf(sandboxId)
    throw new Fault('unavailable', `nothing listens on port ${port}: this is a simulation`)
  }

  #image(reference: string): RuntimeImage | undefined {
    return this.#images.get(reference) ?? [...this.#images.values()].find(({ id }) => id === reference)
  }

  async imageStatus(reference: string): Promise<RuntimeImage | undefined> {
    return this.#image(reference)
  }

  async pull(reference: string, { signal }: { readonly signal?: AbortSignal }): Promise<RuntimeImage> {
    await this.#takeTime('pull', signal)
    if (this.#options.registry?.(reference) === false) throw new Fault('notFound', `${reference}: not found`)
    this.addImage(reference)
    const image = this.#image(reference)
    if (image === undefined) throw new Fault('notFound', `${reference}: not found`)
    return image
  }

  async images(): Promise<readonly RuntimeImage[]> {
    return [...this.#images.values()]
  }

  async removeImage(reference: string): Promise<void> {
    const image = this.#image(reference)
    if (image === undefined) return
    if ([...this.#containers.values()].some(({ status }) => status.imageId === image.id)) throw new Fault('conflict', `image ${reference} is used by a container`)
    for (const [name, { id }] of this.#images) if (id === image.id) this.#images.delete(name)
  }

  async *events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    const queue: RuntimeEvent[] = []
    let wake: (() => void) | undefined
    const listener: Listener = (event) => {
      if (queue.length >= longestEventQueue) queue.splice(0, queue.length, { kind: 'resync' })
      else queue.push(event)
      wake?.()
    }
    const onAbort = (): void => wake?.()
    this.#listeners.add(listener)
    signal.addEventListener('abort', onAbort)
    try {
      while (!signal.aborted) {
        const next = queue.shift()
        if (next !== undefined) yield next
        else await new Promise<void>((resolve) => (wake = resolve))
      }
    } finally {
      this.#listeners.delete(listener)
      signal.removeEventListener('abort', onAbort)
    }
  }

  reboot(): void {
    for (const container of this.#containers.values()) this.#end(container, 255)
    for (const sandbox of this.#sandboxes.values()) sandbox.status = { ...sandbox.status, state: 'notReady', ips: [] }
  }

  wipe(): void {
    this.reboot()
    this.#containers.clear()
    this.#sandboxes.clear()
  }
}
