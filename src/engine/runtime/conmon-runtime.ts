/**
 * `Runtime` over conmon and crun or runc. Each container has one conmon, which is its init's parent, writes its log, holds
 * its terminal and records its exit code; conmons live in a cgroup of their own, outside ours. A pidfd on conmon tells us
 * of the end, so there is nothing to poll and no event to miss.
 */
import { readFileSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import { readTextIfThere } from '#base/files.ts'
import type { Logger } from '#base/log.ts'
import type { Cgroups } from '#linux/contract/cgroups.ts'
import type { KernelFacts } from '#linux/contract/kernel.ts'
import type { Poller } from '#linux/contract/poller.ts'
import type { SeccompCompiler } from '#linux/contract/seccomp.ts'
import type { ProcessIdentity, Processes } from '#linux/contract/processes.ts'
import type { Attachment, ContainerExit, CreateRequest, ExecRequest, OutputSink, RecoveredContainer, RunningExec, Runtime, RuntimeInfo, RuntimeStats, TerminalSize } from '../contract/runtime.ts'
import type { ProcessSpec, ResourcesSpec, RuntimeSpec } from '../contract/runtime-spec.ts'
import { SocketAttachment } from './attachment.ts'
import { type BundleFacts, bundlePaths, readFacts, removeFolder, writeBundle } from './bundle.ts'
import { control, createArguments, createEnvironment, type RuntimeTool, SyncMessages, type SyncMessage } from './conmon.ts'
import { imageChanged, imageOf } from './image-of.ts'
import { startExec } from './exec.ts'
import { lostExit, readExit } from './exits.ts'
import { runtimeFault } from './failure.ts'
import type { Live } from './live.ts'
import { findConmons, listContainers } from './recover.ts'
import { watchOom } from './oom-watch.ts'
import { clampOomScore, clampRlimits } from './rlimits.ts'
import { FilterCache } from './filters.ts'
import { releaseByFifo, waitsForStart } from './start-fifo.ts'
import { runtimeStats } from './stats.ts'
import { giveStreams } from './stream-owner.ts'

export interface RuntimeOptions {
  readonly kernel: { readonly processes: Processes; readonly cgroups: Cgroups; readonly poller: Poller; readonly seccomp: SeccompCompiler }
  readonly facts: KernelFacts
  /** Folder for bundles and the runtime's own state, e.g. `/run/berth/rt`. Must not outlast a reboot. */
  readonly runFolder: string
  /** The instance's cgroup, e.g. `berth`: conmons go to `<cgroup>/conmon`. */
  readonly cgroup: string
  readonly clock: Clock
  readonly log: Logger
}

const SIGKILL = 9
/** How long an attached reader may stand still before the kernel room cuts it off; sinks usually decide earlier. */
const attachStallMs = 600_000

/** Opens the runtime. `unavailable` when conmon or a usable runtime is not installed. */
export async function openRuntime(options: RuntimeOptions): Promise<ConmonRuntime> {
  const { facts, runFolder } = options
  if (facts.conmon === undefined) throw new Fault('unavailable', 'conmon is not installed: install the package conmon')
  if (facts.runtime === undefined) throw new Fault('unavailable', 'neither crun nor runc is installed: install the package crun or runc')
  const path = facts.runtime.name === 'crun' ? await options.kernel.processes.sealExecutable(facts.runtime.path) : facts.runtime.path
  const tool: RuntimeTool = { name: facts.runtime.name, path, version: facts.runtime.version, conmon: facts.conmon, stateRoot: join(runFolder, 'oci') }
  await mkdir(join(runFolder, 'b'), { recursive: true, mode: 0o700 })
  await mkdir(tool.stateRoot, { recursive: true, mode: 0o700 })
  const conmonCgroup = `${options.cgroup}/conmon`
  await options.kernel.cgroups.create(conmonCgroup)
  return new ConmonRuntime(options, tool, conmonCgroup)
}

export class ConmonRuntime implements Runtime {
  readonly #options: RuntimeOptions
  readonly #tool: RuntimeTool
  readonly #conmonCgroup: string
  readonly #live = new Map<string, Live>()
  readonly #listeners = new Set<(exit: ContainerExit) => void>()
  readonly #oomListeners = new Set<(id: string) => void>()
  readonly #closing = new AbortController()
  readonly #ownOomScore: number
  readonly #filters: FilterCache
  #conmonVersion: string | undefined

  constructor(options: RuntimeOptions, tool: RuntimeTool, conmonCgroup: string) {
    this.#options = options
    this.#ownOomScore = Number(readFileSync('/proc/self/oom_score_adj', 'utf8'))
    this.#tool = tool
    this.#filters = new FilterCache({ compiler: options.kernel.seccomp, enabled: tool.name === 'crun', log: options.log })
    this.#conmonCgroup = conmonCgroup
  }

  async info(): Promise<RuntimeInfo> {
    const { name, version, conmon } = this.#tool
    const path = this.#options.facts.runtime?.path ?? this.#tool.path
    if (this.#conmonVersion === undefined) {
      const answer = await this.#options.kernel.processes.run([conmon, '--version'], { timeoutMs: 10_000 })
      this.#conmonVersion = /version (\S+)/.exec(answer.stdout.toString('utf8'))?.[1] ?? 'unknown'
    }
    return { name, version, path, conmonVersion: this.#conmonVersion, cgroupMode: this.#options.facts.cgroupMode }
  }

  async create(request: CreateRequest): Promise<{ readonly pid: number }> {
    const { id } = request
    if (this.#live.has(id)) throw new Fault('alreadyExists', `container ${id} exists already`)
    const paths = this.#paths(id)
    const spec = await this.#filters.applied({ ...request.spec, process: this.#clamped(id, request.spec.process) })
    const facts: BundleFacts = { formatVersion: 1, cgroupsPath: spec.linux.cgroupsPath ?? `/${id}`, stdin: request.stdin, terminal: spec.process.terminal === true, logPath: request.logPath, ...mappingOf(spec) }
    await writeBundle(paths, spec, facts)
    const argv = createArguments(this.#tool, { id, paths, terminal: facts.terminal, stdin: request.stdin, logPath: request.logPath, logCeilingBytes: request.logCeilingBytes })
    // It leaves a file named oom where it stands when the kernel runs out of the container's memory.
    const conmon = await this.#options.kernel.processes.start(argv, { stdio: ['null', 'null', 'null', 'pipeOut'], env: createEnvironment, session: true, cgroup: this.#conmonCgroup, cwd: paths.folder })
    const answer = await firstAnswer(conmon.stdio[3])
    if (answer === undefined || answer.data <= 0) {
      await conmon.exited
      await this.#clear(id, facts)
      throw runtimeFault(`create container ${id}`, answer?.message ?? 'conmon ended without an answer')
    }
    if (facts.mapping !== undefined) await giveStreams(answer.data, spec.process, { mapping: facts.mapping, fds: [0, 1, 2] })
    // A process that was killed at once has no start time any more; nothing can be sent to it then.
    const [identity, preparing] = await Promise.all([this.#options.kernel.processes.identify(answer.data), imageOf(answer.data)])
    const init = identity ?? { pid: answer.data, startTime: -1n }
    this.#watch({ id, paths, facts, init, preparing, state: 'created' }, conmon.exited)
    return { pid: answer.data }
  }

  expect(): void {
    this.#options.kernel.cgroups.expectMove()
  }

  async start(id: string): Promise<void> {
    const live = this.#get(id)
    if (live.state !== 'created') throw new Fault('conflict', `container ${id} was started already`)
    live.state = 'starting'
    try {
      if (!(await releaseByFifo(this.#tool, id))) await this.#runTool(`start container ${id}`, ['start', id])
    } catch (error) {
      // Its init may still wait there; then it is removed like one that was never started.
      live.state = live.exit === undefined ? 'created' : 'exited'
      throw error
    }
    live.state = 'running'
    if (live.exit !== undefined) this.#report(live, live.exit)
  }

  async signal(id: string, signal: number, options: { readonly all?: boolean } = {}): Promise<void> {
    const live = this.#getRunning(id)
    const { processes, cgroups } = this.#options.kernel
    // What is meant for the container must not meet the runtime that has not executed its command yet.
    if (signal !== SIGKILL) await this.#executed(live)
    if (options.all !== true) return processes.kill(live.init, signal)
    if (signal === SIGKILL) return cgroups.kill(live.facts.cgroupsPath)
    for (const pid of await cgroups.pids(live.facts.cgroupsPath)) await unlessGone(processes.kill(pid, signal))
  }

  async #executed(live: Live): Promise<void> {
    if (live.preparing === undefined || live.state === 'created') return
    await imageChanged(this.#options.clock, live.init.pid, live.preparing)
    live.preparing = undefined
  }

  async pause(id: string): Promise<void> {
    await this.#options.kernel.cgroups.freeze(this.#getRunning(id).facts.cgroupsPath)
  }

  async resume(id: string): Promise<void> {
    await this.#options.kernel.cgroups.thaw(this.#getRunning(id).facts.cgroupsPath)
  }

  async update(id: string, resources: ResourcesSpec): Promise<void> {
    const { cgroupsPath } = this.#getRunning(id).facts
    const { pids, ...others } = resources
    // crun 1.8 cannot lift this limit: it writes -1 where the kernel wants `max`.
    const lifted = pids !== undefined && pids.limit < 0
    await this.#runTool(`update container ${id}`, ['update', '--resources', '-', id], JSON.stringify(lifted ? others : resources))
    if (lifted) await this.#options.kernel.cgroups.update(cgroupsPath, { pids: -1n })
  }

  async #runTool(what: string, args: readonly string[], stdin?: string): Promise<void> {
    const answer = await this.#options.kernel.processes.run([this.#tool.path, `--root=${this.#tool.stateRoot}`, ...args], stdin === undefined ? {} : { stdin })
    if (answer.exitCode !== 0) throw runtimeFault(what, answer.stderr.toString('utf8'))
  }

  async delete(id: string, options: { readonly force?: boolean } = {}): Promise<void> {
    const live = this.#live.get(id)
    const facts = live?.facts ?? (await readFacts(this.#paths(id)))
    if (live !== undefined && live.state !== 'exited') {
      if (options.force !== true) throw new Fault('conflict', `container ${id} is running: stop it first, or force its removal`)
      await this.#kill(live)
    }
    await live?.gone
    // None can begin any more: the container has ended.
    if (live !== undefined) await Promise.allSettled(live.startingExecs)
    await this.#clear(id, facts)
    this.#live.delete(id)
  }

  async attach(id: string, sink: OutputSink): Promise<Attachment> {
    const { paths, facts } = this.#getRunning(id)
    const socket = await this.#options.kernel.poller.connectSeqpacket(paths.attach, { stallMs: attachStallMs })
    return new SocketAttachment(socket, sink, facts.stdin !== 'none')
  }

  async resize(id: string, size: TerminalSize): Promise<void> {
    await control(this.#getRunning(id).paths.control, { kind: 'resize', rows: size.rows, columns: size.columns })
  }

  async exec(id: string, request: ExecRequest): Promise<RunningExec> {
    const live = this.#getRunning(id)
    const { processes, poller } = this.#options.kernel
    const parts = { processes, poller, tool: this.#tool, cgroup: this.#conmonCgroup, stallMs: attachStallMs, clock: this.#options.clock }
    const starting = startExec(parts, live, { ...request, process: this.#clamped(id, request.process) })
    live.startingExecs.add(starting)
    try {
      return await starting
    } finally {
      live.startingExecs.delete(starting)
    }
  }

  onExit(listener: (exit: ContainerExit) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  onOom(listener: (id: string) => void): Disposable {
    this.#oomListeners.add(listener)
    return { [Symbol.dispose]: () => void this.#oomListeners.delete(listener) }
  }

  async processes(id: string): Promise<readonly number[]> {
    return this.#options.kernel.cgroups.pids(this.#getRunning(id).facts.cgroupsPath)
  }

  async stats(id: string): Promise<RuntimeStats> {
    const stats = await this.#options.kernel.cgroups.stats(this.#getRunning(id).facts.cgroupsPath)
    return runtimeStats(stats, this.#options.clock.nowNs())
  }

  async rotateLog(id: string, rotatedPath: string): Promise<void> {
    const { facts } = this.#getRunning(id)
    if (facts.logPath === undefined) throw new Fault('conflict', `container ${id} has no log`)
    await rename(facts.logPath, rotatedPath)
    await this.reopenLog(id)
  }

  /** Makes conmon open `logPath` anew, after somebody else renamed the file. */
  async reopenLog(id: string): Promise<void> {
    await control(this.#getRunning(id).paths.control, { kind: 'reopenLog' })
  }

  async recover(ids: readonly string[]): Promise<readonly RecoveredContainer[]> {
    const { processes, cgroups } = this.#options.kernel
    const conmons = await findConmons({ cgroups, processes }, this.#conmonCgroup)
    const known = conmons.size > 0 ? await listContainers(processes, this.#tool) : new Map()
    return Promise.all(ids.map((id) => this.#recoverOne(id, conmons.get(id), known.get(id)?.state)))
  }

  async #recoverOne(id: string, conmon: ProcessIdentity | undefined, state: string | undefined): Promise<RecoveredContainer> {
    const paths = this.#paths(id)
    const known = this.#live.get(id)
    if (known !== undefined) return recovered(known, known.exit === undefined && state === 'paused')
    const facts = await readFacts(paths)
    if (facts === undefined) return { id, state: 'absent' }
    const pid = Number.parseInt((await readTextIfThere(paths.initPid)) ?? '', 10)
    const init = (Number.isNaN(pid) ? undefined : await this.#options.kernel.processes.identify(pid)) ?? { pid: Number.isNaN(pid) ? 0 : pid, startTime: -1n }
    if (conmon !== undefined && init.pid > 0) {
      const live = this.#watch({ id, paths, facts, init, preparing: undefined, state: state === 'created' ? 'created' : 'running' }, this.#options.kernel.processes.watchExit(conmon, this.#closing.signal))
      return recovered(live, state === 'paused')
    }
    if (init.pid === 0) return this.#abandon(id, facts, conmon)
    // Its conmon died with us on its way to tell that the container waits for its start: nobody was told, and it never ran.
    if ((await readTextIfThere(paths.exit)) === undefined && (await waitsForStart(this.#tool, id))) return this.#abandon(id, facts, conmon)
    const exit = await this.#endOf({ id, paths, facts, init })
    this.#live.set(id, { id, paths, facts, init, preparing: undefined, state: 'exited', exit, gone: Promise.resolve(), oomWatch: undefined, startingExecs: new Set() })
    return { id, state: 'exited', exit }
  }

  /** We were killed while it was being created: there is no init yet, and nobody was told that there is one. */
  async #abandon(id: string, facts: BundleFacts, conmon: ProcessIdentity | undefined): Promise<RecoveredContainer> {
    const { processes, cgroups } = this.#options.kernel
    if (conmon !== undefined) {
      await unlessGone(processes.kill(conmon, SIGKILL))
      await processes.watchExit(conmon)
    }
    await unlessGone(cgroups.kill(facts.cgroupsPath))
    return { id, state: 'absent' }
  }

  /** Stops watching; containers live on. */
  close(): void {
    this.#closing.abort()
    this.#listeners.clear()
    this.#oomListeners.clear()
    for (const { oomWatch } of this.#live.values()) oomWatch?.[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #paths(id: string): ReturnType<typeof bundlePaths> {
    return bundlePaths(join(this.#options.runFolder, 'b'), id)
  }

  /** What this machine lets nobody have is lowered, or the runtime would refuse the whole container. */
  #clamped(id: string, process: ProcessSpec): ProcessSpec {
    const { facts, log } = this.#options
    const mayRaise = !facts.missingCapabilities.includes('SYS_RESOURCE')
    const rlimits = clampRlimits(process.rlimits, { openFilesHardLimit: facts.openFilesHardLimit, mayRaise })
    const oomScoreAdj = clampOomScore(process.oomScoreAdj, { own: this.#ownOomScore, mayRaise })
    if (rlimits === process.rlimits && oomScoreAdj === process.oomScoreAdj) return process
    log.debug({ container: id }, 'limits that need CAP_SYS_RESOURCE were lowered to our own')
    return { ...process, ...(rlimits === undefined ? {} : { rlimits }), ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }) }
  }

  #get(id: string): Live {
    const live = this.#live.get(id)
    if (live === undefined) throw new Fault('notFound', `no container ${id} in the runtime`)
    return live
  }

  #getRunning(id: string): Live {
    const live = this.#get(id)
    if (live.state === 'exited') throw new Fault('conflict', `container ${id} is not running`)
    return live
  }

  #watch(container: Pick<Live, 'id' | 'paths' | 'facts' | 'init' | 'preparing' | 'state'>, conmonGone: Promise<unknown>): Live {
    const { id, paths, facts } = container
    const oomWatch = watchOom({ id, paths, cgroupsPath: facts.cgroupsPath, cgroups: this.#options.kernel.cgroups, log: this.#options.log, tell: () => this.#oomListeners.forEach((listener) => listener(id)) })
    const live: Live = { ...container, exit: undefined, gone: Promise.resolve(), oomWatch, startingExecs: new Set() }
    this.#live.set(live.id, live)
    live.gone = conmonGone.then(
      () => this.#onConmonGone(live),
      (error: unknown) => {
        // We closed: whoever comes next finds the container again.
        if (!isFault(error, 'canceled')) throw error
      },
    )
    return live
  }

  async #onConmonGone(live: Live): Promise<void> {
    live.oomWatch?.[Symbol.dispose]()
    if (this.#closing.signal.aborted) return
    const exit = await this.#endOf(live)
    live.exit = exit
    if (live.state === 'starting') return
    const wasStarted = live.state === 'running'
    live.state = 'exited'
    if (wasStarted) this.#report(live, exit)
  }

  #report(live: Live, exit: ContainerExit): void {
    live.state = 'exited'
    for (const listener of this.#listeners) listener(exit)
  }

  /** conmon is gone. Without an exit code it was killed: then nobody holds the container's streams, and it must end too. */
  async #endOf(container: Pick<Live, 'id' | 'paths' | 'facts' | 'init'>): Promise<ContainerExit> {
    const { processes, cgroups } = this.#options.kernel
    const exit = await readExit({ cgroups, clock: this.#options.clock }, { ...container, cgroupsPath: container.facts.cgroupsPath })
    if (exit !== undefined) return exit
    this.#options.log.warn({ container: container.id }, 'the conmon of this container died: the container is killed')
    await cgroups.kill(container.facts.cgroupsPath)
    await unlessGone(processes.kill(container.init, SIGKILL))
    if (container.init.startTime >= 0n) await processes.watchExit(container.init)
    return lostExit(container.id, this.#options.clock)
  }

  async #kill(live: Live): Promise<void> {
    const { processes, cgroups } = this.#options.kernel
    await unlessGone(processes.kill(live.init, SIGKILL))
    // Processes of a container that shares the host's pid namespace do not die with its init; a frozen one dies when it thaws.
    await cgroups.kill(live.facts.cgroupsPath)
    await unlessGone(cgroups.thaw(live.facts.cgroupsPath))
  }

  /** Takes away what a container that runs no more left: cgroup, the runtime's state, bundle. Spawning `delete` for it would cost 4 ms. */
  async #clear(id: string, facts: BundleFacts | undefined): Promise<void> {
    const { cgroups } = this.#options.kernel
    if (facts !== undefined) {
      try {
        await cgroups.remove(facts.cgroupsPath)
      } catch (error) {
        if (!isFault(error, 'conflict')) throw error
        await this.#removeBusyCgroup(facts.cgroupsPath)
      }
    }
    await removeFolder(join(this.#tool.stateRoot, id))
    // Without its facts a bundle is none: half of one must not tell of an end that never was.
    await rm(this.#paths(id).facts, { force: true })
    await removeFolder(this.#paths(id).folder)
  }

  async #removeBusyCgroup(path: string): Promise<void> {
    const { cgroups, processes } = this.#options.kernel
    const left = await cgroups.pids(path)
    await cgroups.kill(path)
    await Promise.all(left.map((pid) => processes.watchExit(pid)))
    await cgroups.remove(path)
  }
}

function mappingOf({ linux: { uidMappings, gidMappings } }: RuntimeSpec): Pick<BundleFacts, 'mapping'> {
  return uidMappings === undefined || gidMappings === undefined ? {} : { mapping: { uidMappings, gidMappings } }
}

async function firstAnswer(stream: ConstructorParameters<typeof SyncMessages>[0] | undefined): Promise<SyncMessage | undefined> {
  if (stream === undefined) throw new Fault('internal', 'conmon has no sync pipe')
  const messages = new SyncMessages(stream)
  try {
    return await messages.next()
  } finally {
    messages.close()
  }
}

/** A signal that comes too late has done its work. */
async function unlessGone(task: Promise<void>): Promise<void> {
  try {
    await task
  } catch (error) {
    if (!isFault(error, 'notFound')) throw error
  }
}

function recovered(live: Live, paused: boolean): RecoveredContainer {
  switch (live.state) {
    case 'created':
    case 'starting':
      return { id: live.id, state: 'created', pid: live.init.pid }
    case 'running':
      return { id: live.id, state: paused ? 'paused' : 'running', pid: live.init.pid }
    case 'exited':
      return { id: live.id, state: 'exited', ...(live.exit === undefined ? {} : { exit: live.exit }) }
  }
}
