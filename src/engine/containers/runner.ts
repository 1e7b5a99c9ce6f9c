/**
 * What happens to containers: the pure life cycle (lifecycle.ts) is stepped, each new state stored, its effects performed. Commands on
 * one container run one after another; exits come in from the runtime and take their turn.
 */
import { unreachable } from '#base/assert.ts'
import { asFault, isFault } from '#base/fault.ts'
import { KeyedSerial, TaskGroup } from '#base/task.ts'
import type * as contract from '../contract/containers.ts'
import type { Endpoint } from '../contract/networks.ts'
import type { ContainerExit, RecoveredContainer } from '../contract/runtime.ts'
import type { Catalog, ChangeCause } from './catalog.ts'
import { HealthCare } from './container-health.ts'
import { ContainerLogs } from './container-logs.ts'
import { ownsSandbox, policyOf, rootfsPath, type Entry, type EntryPaths } from './entry.ts'
import type { ExecTable } from './execs.ts'
import { Launcher } from './launch.ts'
import { isLive, onLost, step, type Command, type Effect, type Lifecycle, type Stepped } from './lifecycle.ts'
import type { ContainersOptions } from './options.ts'
import { RecordSaver } from './record-saver.ts'
import { releaseVolumes } from './resolve-mounts.ts'
import { signalNumber } from './signals.ts'
import { Waits } from './waits.ts'

export interface StopOptions {
  readonly signal?: string
  readonly graceSeconds?: number
}

const defaultGraceSeconds = 10
const longestDrainMs = 2000

export class Runner implements AsyncDisposable {
  readonly waits = new Waits()
  readonly saver: RecordSaver
  readonly launcher: Launcher
  readonly #options: ContainersOptions
  readonly #paths: EntryPaths
  readonly #catalog: Catalog
  readonly #serial = new KeyedSerial<string>()
  readonly #health: HealthCare
  readonly #logs: ContainerLogs
  readonly #tasks: TaskGroup
  /** Removed containers whose files are still being deleted. */
  readonly #clearing = new Set<Promise<void>>()

  constructor(options: ContainersOptions, { paths, catalog, execs }: { readonly paths: EntryPaths; readonly catalog: Catalog; readonly execs: ExecTable }) {
    this.#options = options
    this.#paths = paths
    this.#catalog = catalog
    this.#tasks = new TaskGroup((error) => options.log.error({ error: String(error) }, 'a container task failed'))
    this.saver = new RecordSaver({ records: paths.records, log: options.log, isKept: (entry) => catalog.get(entry.id) === entry })
    this.launcher = new Launcher({ ...options, paths, initPath: options.initPath, find: (ref) => catalog.find(ref), entry: (id) => catalog.get(id) })
    this.#logs = new ContainerLogs({ ...options, paths })
    this.#health = new HealthCare({
      clock: options.clock,
      execs,
      entry: (id) => catalog.get(id),
      onHealth: (entry, health, before) => this.#onHealth(entry, health, before),
      onFailure: (entry, action) => this.#onHealthFailure(entry, action),
    })
  }

  // ---- turns and steps ----------------------------------------------------------------------------------------------------

  /** Runs a task when the container's earlier ones have ended. */
  inTurn<T>(entry: Entry, task: () => Promise<T>): Promise<T> {
    return this.#serial.run(entry.id, task)
  }

  /** Steps the life cycle in the container's turn. */
  command(entry: Entry, command: Command): Promise<void> {
    return this.inTurn(entry, () => this.dispatch(entry, command))
  }

  #now(entry: Entry): { readonly ns: bigint; readonly policy: ReturnType<typeof policyOf>; readonly id: string } {
    return { ns: this.#options.clock.nowNs(), policy: policyOf(entry), id: entry.id }
  }

  /** Steps the life cycle and performs what follows. Only ever called in the container's turn. */
  async dispatch(entry: Entry, command: Command): Promise<void> {
    await this.#apply(entry, step(entry.record.lifecycle, command, this.#now(entry)))
  }

  async #apply(entry: Entry, { state, effects }: Stepped): Promise<void> {
    const before = entry.record.lifecycle.status
    if (isLive(before) && !isLive(state.status)) this.#health.end(entry)
    else if (state.status === 'paused') this.#health.rest(entry)
    if (before === 'paused' && state.status === 'running') this.#health.watch(entry, 'continued')
    if (state !== entry.record.lifecycle) {
      const cause = state.status === 'running' && !isLive(before) ? 'started' : isLive(before) && !isLive(state.status) ? 'exited' : 'changed'
      await this.#store(entry, state, cause)
    }
    for (const effect of effects) await this.#perform(entry, effect)
  }

  async #perform(entry: Entry, effect: Effect): Promise<void> {
    const { clock, runtime } = this.#options
    switch (effect.kind) {
      case 'launch':
        return this.#launch(entry)
      case 'freeze':
        return runtime.pause(entry.id)
      case 'thaw':
        return runtime.resume(entry.id)
      case 'cleanUp':
        entry.ended.resolve()
        await this.launcher.cleanUp(entry, this.saver.saved(entry.id))
        entry.cleaning = Promise.all([entry.cleaning, this.#logs.leave(entry)]).then(() => undefined)
        return undefined
      case 'scheduleRestart':
        entry.restartTimer = clock.after(effect.delayMs, () => this.#tasks.spawn(() => this.command(entry, { kind: 'restartDue' })), { background: true })
        return undefined
      case 'cancelRestart':
        entry.restartTimer?.cancel()
        entry.restartTimer = undefined
        return undefined
      case 'settleExit':
        this.waits.settle(entry.id, { exitCode: effect.exitCode, ...(effect.error === undefined ? {} : { error: effect.error }) }, ['next-exit', 'not-running'])
        return undefined
      case 'publish':
        this.#catalog.publish(entry, effect.action, effect.attributes)
        return undefined
      case 'forget':
        return this.#forget(entry, { volumes: policyOf(entry).autoRemove })
      case 'removeAll':
        return this.#removeAll(entry, { volumes: policyOf(entry).autoRemove })
      default:
        return unreachable(effect)
    }
  }

  async #launch(entry: Entry): Promise<void> {
    entry.ended = Promise.withResolvers()
    try {
      await this.#logs.check(entry)
      const pid = await this.launcher.launch(entry)
      this.#logs.keep(entry)
      await this.dispatch(entry, { kind: 'started', pid })
      this.#health.watch(entry, 'started')
    } catch (error) {
      const fault = asFault(error)
      const exitCode = fault.details['exitCode']
      entry.hub.end()
      const restarting = entry.record.lifecycle.status === 'restarting'
      await this.dispatch(entry, { kind: 'startFailed', exitCode: typeof exitCode === 'number' ? exitCode : 125, error: fault.message })
      if (!restarting) throw fault
      this.#options.log.warn({ container: entry.id, error: fault.message }, 'a restart failed')
    }
  }

  onExit(exit: ContainerExit): void {
    const entry = this.#catalog.get(exit.id)
    if (entry === undefined || this.#tasks.signal.aborted) return
    const { exitCode, oomKilled, finishedAtNs } = exit
    this.#tasks.spawn(async () => {
      // Who is told of the exit may stop reading: the output goes first.
      await entry.hub.drained(longestDrainMs)
      await this.command(entry, { kind: 'exited', exitCode, oomKilled, finishedAtNs })
    })
  }

  onOom(id: string): void {
    const entry = this.#catalog.get(id)
    if (entry !== undefined && !this.#tasks.signal.aborted) this.#tasks.spawn(() => this.command(entry, { kind: 'oom' }))
  }

  /** Replaces the record in memory at once and on disk soon: a crash in between is mended by what the runtime remembers. */
  async #store(entry: Entry, lifecycle: Lifecycle, cause: ChangeCause): Promise<void> {
    entry.record = { ...entry.record, lifecycle }
    this.saver.soon(entry)
    this.#catalog.notify(entry, cause)
  }

  // ---- start and stop -----------------------------------------------------------------------------------------------------

  async start(entry: Entry): Promise<'started' | 'already'> {
    return this.inTurn(entry, async () => {
      if (entry.record.lifecycle.status === 'running' || entry.record.lifecycle.status === 'restarting') return 'already'
      await this.dispatch(entry, { kind: 'start' })
      return 'started'
    })
  }

  async stop(entry: Entry, options: StopOptions = {}): Promise<'stopped' | 'already'> {
    const { status } = entry.record.lifecycle
    if (!isLive(status) && status !== 'restarting') return 'already'
    await this.#halt(entry, { ...options, forRestart: false })
    await this.saver.saved(entry.id)
    this.#catalog.publish(entry, 'stop')
    return 'stopped'
  }

  async restart(entry: Entry, options: StopOptions = {}): Promise<void> {
    const { status } = entry.record.lifecycle
    if (isLive(status) || status === 'restarting') {
      await this.#halt(entry, { ...options, forRestart: true })
      this.#catalog.publish(entry, 'stop')
    }
    await this.command(entry, { kind: 'start' })
    this.#catalog.publish(entry, 'restart')
  }

  /** The stop signal, the grace, then SIGKILL. Resolves when it no longer runs. */
  async #halt(entry: Entry, { signal, graceSeconds, forRestart }: StopOptions & { readonly forRestart: boolean }): Promise<void> {
    const number = signalNumber(signal || entry.effective.stopSignal)
    const grace = graceSeconds ?? entry.record.spec.stopTimeoutSeconds ?? defaultGraceSeconds
    const gone = this.waits.register(entry.id, 'not-running')
    await this.inTurn(entry, async () => {
      await this.dispatch(entry, { kind: 'stopWanted', forRestart })
      await this.signal(entry, number)
    })
    if (!isLive(entry.record.lifecycle.status)) return
    if (grace < 0) {
      await gone
      return
    }
    const overdue = Promise.withResolvers<'overdue'>()
    using timer = this.#options.clock.after(grace * 1000, () => overdue.resolve('overdue'))
    void timer
    if ((await Promise.race([gone, overdue.promise])) !== 'overdue') return
    await this.inTurn(entry, () => this.signal(entry, signalNumber('KILL')))
    await gone
  }

  /** Sends a signal if it still runs; a paused one is thawed, or it could not act on it. */
  async signal(entry: Entry, number: number): Promise<void> {
    const { status } = entry.record.lifecycle
    if (!isLive(status)) return
    try {
      await this.#options.runtime.signal(entry.id, number)
    } catch (error) {
      // It ended by itself: its exit is on the way.
      if (!isFault(error, 'notFound') && !isFault(error, 'conflict')) throw error
    }
    this.#catalog.publish(entry, 'kill', { signal: String(number) })
    if (status === 'paused') await this.dispatch(entry, { kind: 'unpause' })
  }

  // ---- removal --------------------------------------------------------------------------------------------------------------

  /** False: it was removed meanwhile. With `force` it is ended first. */
  async remove(entry: Entry, options: { readonly force?: boolean; readonly volumes?: boolean }): Promise<boolean> {
    if (options.force === true && (isLive(entry.record.lifecycle.status) || entry.record.lifecycle.status === 'restarting')) await this.#halt(entry, { signal: 'KILL', graceSeconds: -1, forRestart: false })
    return this.inTurn(entry, async () => {
      if (this.#catalog.get(entry.id) === undefined) return false
      const { state } = step(entry.record.lifecycle, { kind: 'remove' }, this.#now(entry))
      entry.record = { ...entry.record, lifecycle: state }
      await this.#removeAll(entry, { volumes: options.volumes === true || policyOf(entry).autoRemove })
      return true
    })
  }

  /** Without its record it is gone, also for an engine that is killed right now. */
  async #forget({ id, record }: Entry, { volumes: withVolumes }: { readonly volumes: boolean }): Promise<void> {
    await this.saver.saved(id)
    await this.#paths.records.forget(id, { keepVolumes: !withVolumes && record.anonymousVolumes.length > 0 })
  }

  /** The name and the id are free at once; the disk is cleared behind that. */
  async #removeAll(entry: Entry, { volumes: withVolumes }: { readonly volumes: boolean }): Promise<void> {
    const { snapshots, volumes, log } = this.#options
    const { id, record } = entry
    await this.#forget(entry, { volumes: withVolumes })
    this.#catalog.delete(entry)
    await releaseVolumes(record, volumes, withVolumes, log)
    const clear = async (): Promise<void> => {
      await entry.cleaning
      if (record.lifecycle.startedAtNs === 0n) await snapshots.unmount(rootfsPath(this.#paths, id))
      if (record.mounts.some(({ type }) => type === 'image')) await this.launcher.imageMounts.remove(id)
      await snapshots.remove(id)
      await this.#paths.records.remove(id)
    }
    const clearing = clear()
      .catch((error: unknown) => log.error({ container: id, error: String(error) }, 'could not clear a removed container away'))
      .finally(() => this.#clearing.delete(clearing))
    this.#clearing.add(clearing)
    this.#catalog.publish(entry, 'destroy')
    this.#catalog.notify(entry, 'removed')
    this.waits.settle(id, { exitCode: record.lifecycle.exitCode }, ['removed', 'not-running', 'next-exit'])
    entry.hub.finish()
  }

  // ---- opening and closing --------------------------------------------------------------------------------------------------

  /** Brings one container's record and what the runtime found into agreement. */
  async adopt(entry: Entry, { state, pid = 0, exit, rooted }: RecoveredContainer & { readonly rooted: boolean }, endpoints: readonly Endpoint[]): Promise<void> {
    const { networks, clock } = this.#options
    const { lifecycle } = entry.record
    entry.endpoints = endpoints.filter(({ containerId }) => containerId === entry.id)
    if (state === 'running' || state === 'paused') {
      entry.volumes = entry.record.mounts.filter(({ type }) => type === 'volume')
      if (ownsSandbox(entry)) entry.netnsPath = (await networks.openSandbox(entry.id)).netnsPath
      await this.#store(entry, { ...lifecycle, status: state, pid, startedAtNs: lifecycle.startedAtNs || clock.nowNs() }, 'changed')
      if (state === 'running') this.#health.watch(entry, 'continued')
      this.#logs.keep(entry, { adopted: true })
      return
    }
    const isNews = exit !== undefined && lifecycle.status !== 'removing' && (lifecycle.status !== 'exited' || exit.finishedAtNs > lifecycle.finishedAtNs)
    if (state === 'exited' && exit !== undefined && isNews) {
      // It may have been started in the instant in which we were killed, and the record not know of it.
      if (!isLive(lifecycle.status)) await this.#store(entry, { ...lifecycle, status: 'running', pid, startedAtNs: exit.finishedAtNs }, 'changed')
      this.onExit(exit)
      return
    }
    if (state === 'absent' && !rooted && !isLive(lifecycle.status) && onLost(lifecycle, this.#now(entry)).effects.length === 0) return
    this.#tasks.spawn(() =>
      this.inTurn(entry, async () => {
        // Also what a launch had made that was cut short: mounts, a sandbox, a runtime container that waits for its start.
        await this.launcher.cleanUp(entry)
        await this.#apply(entry, onLost(entry.record.lifecycle, this.#now(entry)))
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#health.close()
    await this.#logs.close()
    for (const entry of this.#catalog.all()) entry.restartTimer?.cancel()
    await this.#tasks.close()
    await Promise.all([...this.#catalog.all()].map(({ cleaning }) => cleaning))
    await Promise.all([...this.#clearing, this.saver.drained()])
  }

  // ---- health ---------------------------------------------------------------------------------------------------------------

  #onHealth(entry: Entry, health: contract.ContainerHealth, before: contract.ContainerHealth): void {
    if (health.status !== before.status) {
      this.#catalog.publish(entry, `health_status: ${health.status}`)
      this.saver.soon(entry)
    }
    this.#catalog.notify(entry, 'changed')
  }

  #onHealthFailure(entry: Entry, action: Exclude<contract.HealthFailureAction, 'none'>): void {
    this.#tasks.spawn(async () => {
      switch (action) {
        case 'kill':
          // Not a wanted end: the restart policy decides what follows.
          return this.inTurn(entry, () => this.signal(entry, signalNumber('KILL')))
        case 'restart':
          return this.restart(entry)
        case 'stop':
          await this.stop(entry)
          return undefined
        default:
          return unreachable(action)
      }
    })
  }
}
