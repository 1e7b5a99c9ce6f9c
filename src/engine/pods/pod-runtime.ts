/**
 * `PodRuntime` (cluster/contract/runtime.ts) over the engine: sandboxes of our own, containers through the engine's
 * `Containers` in the namespace `k8s`, so that pods and Docker share images, snapshots, logs and the runtime. Everything
 * the node agent asks back is kept with the sandbox's record or in the container's `extension`.
 */
import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Duplex } from 'node:stream'
import type * as contract from '#cluster/contract/runtime.ts'
import { Fault, isFault, systemErrorCode } from '#base/fault.ts'
import type { Poller } from '#linux/contract/poller.ts'
import type { Processes } from '#linux/contract/processes.ts'
import type { Container, Containers } from '../contract/containers.ts'
import type { Image, ImageLister, ImageResolver, ImageTagger, ImageTransfer } from '../contract/images.ts'
import type { Runtime } from '../contract/runtime.ts'
import type { SeccompSpec } from '../contract/runtime-spec.ts'
import { containerSpec, resourcesOf, type PodNote } from './container-spec.ts'
import { containerStatus, noteOf } from './container-status.ts'
import { EventQueue } from './event-queue.ts'
import { type SandboxesOptions, Sandboxes, sandboxStatus } from './sandboxes.ts'
import { podSession } from './sessions.ts'

/** With what the sandboxes need. */
export interface PodRuntimeOptions extends SandboxesOptions {
  readonly containers: Containers
  readonly images: ImageResolver & ImageLister & ImageTagger & ImageTransfer
  readonly runtime: Pick<Runtime, 'reopenLog'>
  readonly kernel: SandboxesOptions['kernel'] & { readonly processes: Pick<Processes, 'kill'>; readonly poller: Pick<Poller, 'connectTcp'> }
  readonly version: string
}

const SIGKILL = 9
const defaultOutputBytes = 1024 * 1024

/** Opens the pods of this node: sandboxes that live are taken over. Call it after the engine's containers were opened. */
export async function openPodRuntime(options: PodRuntimeOptions): Promise<EnginePodRuntime> {
  const sandboxes = new Sandboxes(options)
  await sandboxes.open()
  return new EnginePodRuntime(options, sandboxes)
}

export class EnginePodRuntime implements contract.PodRuntime, Disposable {
  readonly #options: PodRuntimeOptions
  readonly #sandboxes: Sandboxes
  readonly #queues = new Set<EventQueue>()
  readonly #watching: Disposable

  constructor(options: PodRuntimeOptions, sandboxes: Sandboxes) {
    this.#options = options
    this.#sandboxes = sandboxes
    this.#watching = options.containers.onChange((container, cause) => {
      const note = noteOf(container)
      if (note === undefined || (cause !== 'started' && cause !== 'exited' && cause !== 'removed')) return
      this.#publish({ kind: cause, podUid: note.pod.uid, sandboxId: note.sandboxId, containerId: container.id })
    })
  }

  async version(): Promise<{ readonly name: string; readonly version: string }> {
    return { name: 'berth', version: this.#options.version }
  }

  // ---- sandboxes -------------------------------------------------------------------------------------------------------

  async runSandbox(config: contract.SandboxConfig): Promise<contract.SandboxStatus> {
    return sandboxStatus(await this.#sandboxes.run(config))
  }

  async stopSandbox(id: string): Promise<void> {
    const record = this.#sandboxes.find(id)
    if (record === undefined) return
    await Promise.all(this.#of(id).map(({ container }) => this.stopContainer(container.id, { graceMs: 0 })))
    if (await this.#sandboxes.stop(id)) this.#publish({ kind: 'sandboxStopped', podUid: record.pod.uid, sandboxId: id })
  }

  async removeSandbox(id: string): Promise<void> {
    await this.stopSandbox(id)
    await Promise.all(this.#of(id).map(({ container }) => this.removeContainer(container.id)))
    await this.#sandboxes.remove(id)
  }

  async sandbox(id: string): Promise<contract.SandboxStatus> {
    return sandboxStatus(this.#sandboxes.get(id))
  }

  async sandboxes(): Promise<readonly contract.SandboxStatus[]> {
    return this.#sandboxes.list().map(sandboxStatus)
  }

  async dial(sandboxId: string, port: number): Promise<Duplex> {
    const sandbox = this.#sandboxes.get(sandboxId)
    const netns = sandbox.hostNetwork ? '/proc/self/ns/net' : this.#sandboxes.paths(sandboxId).net
    return this.#options.kernel.poller.connectTcp({ netns, host: '127.0.0.1', port })
  }

  // ---- containers ------------------------------------------------------------------------------------------------------

  async createContainer(sandboxId: string, config: contract.ContainerConfig): Promise<string> {
    const { images, containers } = this.#options
    const sandbox = this.#sandboxes.get(sandboxId)
    if (sandbox.state !== 'ready') throw new Fault('conflict', `the sandbox ${sandboxId} is not ready`)
    const image = await images.resolve(config.image)
    const seccomp = await seccompOf(config.security)
    const spec = containerSpec({ sandbox, paths: this.#sandboxes.paths(sandboxId), config, imageUser: image.config.config?.User ?? '', seccomp })
    if (spec.logPath !== undefined) await mkdir(dirname(spec.logPath), { recursive: true })
    try {
      const { id } = await containers.create(spec)
      return id
    } catch (error) {
      // The engine's word for a name in use.
      if (isFault(error, 'conflict')) throw new Fault('alreadyExists', `container ${config.name} of attempt ${config.attempt} exists already in sandbox ${sandboxId}`, { cause: error })
      throw error
    }
  }

  async startContainer(id: string): Promise<void> {
    await this.#options.containers.start(this.#get(id).container.id)
  }

  async stopContainer(id: string, options: { readonly graceMs: number }): Promise<void> {
    const { containers } = this.#options
    const found = this.#find(id)
    if (found === undefined) return
    await unlessMissing(containers.stop(found.container.id, options.graceMs === 0 ? { signal: 'SIGKILL', graceSeconds: -1 } : { graceSeconds: options.graceMs / 1000 }))
  }

  async removeContainer(id: string): Promise<void> {
    const found = this.#find(id)
    if (found !== undefined) await unlessMissing(this.#options.containers.remove(found.container.id, { force: true, volumes: true }))
  }

  async container(id: string): Promise<contract.ContainerStatus> {
    const { container, note } = this.#get(id)
    return containerStatus(container, note)
  }

  async containers(): Promise<readonly contract.ContainerStatus[]> {
    return this.#all().map(({ container, note }) => containerStatus(container, note))
  }

  async updateResources(id: string, resources: contract.ContainerResources): Promise<void> {
    await this.#options.containers.update(this.#get(id).container.id, { resources: resourcesOf(resources) })
  }

  async reopenLog(id: string): Promise<void> {
    await this.#options.runtime.reopenLog(this.#get(id).container.id)
  }

  // ---- processes and streams ---------------------------------------------------------------------------------------------

  async runCommand(id: string, command: readonly string[], options: { readonly timeoutMs?: number; readonly maxOutputBytes?: number } = {}): Promise<contract.ExecResult> {
    const session = await this.exec(id, { command, tty: false, stdin: false, stdout: true, stderr: true })
    const late = Promise.withResolvers<'late'>()
    using timer = options.timeoutMs === undefined ? undefined : this.#options.clock.after(options.timeoutMs, () => late.resolve('late'))
    void timer
    const most = options.maxOutputBytes ?? defaultOutputBytes
    const ended = Promise.all([session.exit, collect(session.stdout, most), collect(session.stderr, most)])
    const first = await Promise.race([ended, late.promise])
    if (first !== 'late') return { exitCode: first[0], stdout: first[1], stderr: first[2] }
    session.close()
    await Promise.allSettled([ended])
    throw new Fault('timeout', `command ${JSON.stringify(command.join(' '))} timed out: it ran longer than ${options.timeoutMs} ms`)
  }

  async exec(id: string, options: contract.ExecOptions): Promise<contract.Session> {
    const { containers } = this.#options
    const { container } = this.#get(id)
    const { execId } = await containers.createExec(container.id, { command: options.command, tty: options.tty, stdin: options.stdin, attachOutput: true })
    const { session, exited } = await containers.startExec(execId)
    return podSession({
      session,
      exit: exited,
      want: { stdin: options.stdin, stdout: options.stdout, stderr: options.stderr && !options.tty },
      resize: (size) => containers.resizeExec(execId, size),
      onClose: () => this.#killExec(execId),
    })
  }

  async attach(id: string, options: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean }): Promise<contract.Session> {
    const { containers } = this.#options
    const { container } = this.#get(id)
    const waiting = await containers.wait(container.id, 'not-running')
    const session = await containers.attach(container.id, { ...options, stream: true, logs: false })
    return podSession({
      session,
      exit: waiting.result.then(({ exitCode }) => exitCode),
      want: options,
      resize: (size) => containers.resize(container.id, size),
      onClose: () => undefined,
    })
  }

  #killExec(execId: string): void {
    const { containers, kernel, log } = this.#options
    const state = containers.inspectExec(execId)
    if (!state.running || state.pid === 0) return
    unlessMissing(kernel.processes.kill(state.pid, SIGKILL)).catch((error: unknown) => log.warn({ exec: execId, error: String(error) }, 'could not kill a command that was left'))
  }

  // ---- images --------------------------------------------------------------------------------------------------------------

  async imageStatus(reference: string): Promise<contract.RuntimeImage | undefined> {
    try {
      return runtimeImage(await this.#options.images.resolve(reference))
    } catch (error) {
      if (isFault(error, 'notFound')) return undefined
      throw error
    }
  }

  async pull(reference: string, options: contract.PullOptions): Promise<contract.RuntimeImage> {
    const { auth, signal } = options
    return runtimeImage(await this.#options.images.pull(reference, { ...(auth === undefined ? {} : { auth }), ...(signal === undefined ? {} : { signal }) }))
  }

  async images(): Promise<readonly contract.RuntimeImage[]> {
    return (await this.#options.images.list()).map(runtimeImage)
  }

  async removeImage(reference: string): Promise<void> {
    const { images, containers } = this.#options
    const all = containers.list({ namespace: 'all' })
    const usedBy = (imageId: string): { containerId: string; running: boolean }[] =>
      all.filter((container) => container.imageId === imageId || container.mounts.some((mount) => mount.imageId === imageId)).map(({ id, state }) => ({ containerId: id, running: state.status === 'running' || state.status === 'paused' }))
    await unlessMissing(images.remove(reference, { usedBy }))
  }

  // ---- events --------------------------------------------------------------------------------------------------------------

  events(signal: AbortSignal): AsyncIterable<contract.RuntimeEvent> {
    const queue = new EventQueue()
    if (signal.aborted) queue.end()
    else {
      this.#queues.add(queue)
      signal.addEventListener(
        'abort',
        () => {
          this.#queues.delete(queue)
          queue.end()
        },
        { once: true },
      )
    }
    return queue
  }

  #publish(event: contract.RuntimeEvent): void {
    for (const queue of this.#queues) queue.push(event)
  }

  /** Stops listening; pods live on. */
  [Symbol.dispose](): void {
    this.#watching[Symbol.dispose]()
    for (const queue of this.#queues) queue.end()
    this.#queues.clear()
  }

  // ---- looking up ----------------------------------------------------------------------------------------------------------

  #all(): Noted[] {
    return this.#options.containers.list({ namespace: 'k8s' }).flatMap((container) => {
      const note = noteOf(container)
      return note === undefined ? [] : [{ container, note }]
    })
  }

  #of(sandboxId: string): Noted[] {
    return this.#all().filter(({ note }) => note.sandboxId === sandboxId)
  }

  #find(id: string): Noted | undefined {
    return this.#all().find(({ container }) => container.id === id)
  }

  #get(id: string): Noted {
    const found = this.#find(id)
    if (found === undefined) throw new Fault('notFound', `no pod container ${id}`)
    return found
  }
}

interface Noted {
  readonly container: Container
  readonly note: PodNote
}

function runtimeImage(image: Image): contract.RuntimeImage {
  const name = (image.config.config?.User ?? '').split(':')[0] ?? ''
  const user = name === '' ? undefined : /^\d+$/.test(name) ? { uid: Number(name) } : { name }
  return { id: image.id, repoTags: image.repoTags, repoDigests: image.repoDigests, sizeBytes: image.sizeBytes, ...(user === undefined ? {} : { user }) }
}

async function seccompOf(security: contract.ContainerSecurity): Promise<SeccompSpec | 'unconfined' | undefined> {
  switch (security.seccomp.type) {
    case 'RuntimeDefault':
      return undefined
    case 'Unconfined':
      return 'unconfined'
    case 'Localhost':
      return readProfile(security.seccomp.path)
  }
}

async function readProfile(path: string): Promise<SeccompSpec> {
  let parsed: unknown
  try {
    parsed = JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    throw new Fault('invalidArgument', `cannot load the seccomp profile ${path}: ${systemErrorCode(error) ?? 'it is no JSON'}`, { cause: error })
  }
  if (typeof parsed !== 'object' || parsed === null || !('defaultAction' in parsed) || typeof parsed.defaultAction !== 'string') throw new Fault('invalidArgument', `the seccomp profile ${path} lacks 'defaultAction'`)
  // The rest is checked by the runtime when the container is made.
  return parsed as SeccompSpec
}

async function unlessMissing(task: Promise<unknown>): Promise<void> {
  try {
    await task
  } catch (error) {
    if (!isFault(error, 'notFound')) throw error
  }
}

/** The first `most` bytes; the rest is read and dropped. */
async function collect(stream: NodeJS.ReadableStream | undefined, most: number): Promise<Buffer> {
  if (stream === undefined) return Buffer.alloc(0)
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk)
    if (length < most) chunks.push(bytes.subarray(0, most - length))
    length += bytes.length
  }
  return Buffer.concat(chunks)
}
