/**
 * The containers of one engine: a table of entries, the pure life cycle (lifecycle.ts) and a runner that stores each new state and
 * performs its effects. Commands on one container run one after another; exits come in from the runtime and take their turn.
 */
import { mkdir, readdir } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { unreachable } from '#base/assert.ts'
import { asFault, Fault, inContext, isFault } from '#base/fault.ts'
import { randomHex } from '#base/random.ts'
import { KeyedSerial, TaskGroup } from '#base/task.ts'
import type * as contract from '../contract/containers.ts'
import type { Endpoint, EndpointSpec } from '../contract/networks.ts'
import type { ContainerExit, RecoveredContainer, RuntimeStats, TerminalSize } from '../contract/runtime.ts'
import type { PathStat, SnapshotChange } from '../contract/snapshots.ts'
import { sessionOf } from './attach-session.ts'
import { ContainerArchives } from './container-archives.ts'
import { HealthCare } from './container-health.ts'
import { ContainerLogs } from './container-logs.ts'
import { effectiveOfRecord, logPathOf, networkFilePaths, ownsSandbox, policyOf, rootfsPath, viewOf, type Entry, type EntryPaths } from './entry.ts'
import { eventAttributes } from './event-attributes.ts'
import { ExecTable } from './execs.ts'
import { findEntry, findLink } from './find-entry.ts'
import { Insight } from './insight.ts'
import { Launcher } from './launch.ts'
import { withoutLink } from './legacy-links.ts'
import { readLog } from './log-reader.ts'
import { sweepLeftovers } from './leftovers.ts'
import { isLive, onLost, step, type Command, type Effect, type Lifecycle, type Stepped } from './lifecycle.ts'
import { checkedName, inventName } from './names.ts'
import type { ContainersOptions } from './options.ts'
import { joinNetwork, leaveNetwork } from './network-membership.ts'
import { checkSpec, prepareContainer } from './prepare.ts'
import { RecordFiles, type ContainerRecord } from './record.ts'
import { isReadableLog } from './log-options.ts'
import { releaseVolumes } from './resolve-mounts.ts'
import { checkedResources } from './resources.ts'
import { signalNumber } from './signals.ts'
import { StreamHub } from './stream-hub.ts'
import { updatedRecord } from './update.ts'
import { RecordSaver } from './record-saver.ts'
import { Waits } from './waits.ts'

type ChangeCause = 'created' | 'started' | 'exited' | 'removed' | 'changed'

/** Opens the containers of a state folder: what still runs is adopted, what ended meanwhile is settled. */
export async function openContainers(options: ContainersOptions): Promise<contract.Containers & AsyncDisposable> {
  await mkdir(`${options.runDir}/r`, { recursive: true, mode: 0o711 })
  const manager = new ContainerManager(options)
  await manager.open()
  return manager
}

const defaultGraceSeconds = 10
const longestDrainMs = 2000

class ContainerManager implements contract.Containers, AsyncDisposable {
  readonly #options: ContainersOptions
  readonly #paths: EntryPaths
  readonly #entries = new Map<string, Entry>()
  readonly #names = new Map<string, string>()
  readonly #serial = new KeyedSerial<string>()
  readonly #waits = new Waits()
  readonly #execs: ExecTable
  readonly #insight: Insight
  readonly #archives: ContainerArchives
  readonly #launcher: Launcher
  readonly #health: HealthCare
  readonly #logs: ContainerLogs
  readonly #tasks: TaskGroup
  readonly #listeners = new Set<(container: contract.Container, cause: ChangeCause) => void>()
  readonly #saver: RecordSaver
  /** Removed containers whose files are still being deleted. */
  readonly #clearing = new Set<Promise<void>>()
  readonly #watching = new DisposableStack()

  constructor(options: ContainersOptions) {
    this.#options = options
    this.#paths = { records: new RecordFiles(`${options.stateDir}/containers`), runDir: options.runDir }
    this.#tasks = new TaskGroup((error) => options.log.error({ error: String(error) }, 'a container task failed'))
    this.#saver = new RecordSaver({ records: this.#paths.records, log: options.log, isKept: (entry) => this.#entries.get(entry.id) === entry })
    this.#launcher = new Launcher({ ...options, paths: this.#paths, initPath: options.initPath, find: (ref) => this.#find(ref), entry: (id) => this.#entries.get(id) })
    this.#logs = new ContainerLogs({ ...options, paths: this.#paths })
    this.#insight = new Insight(options)
    this.#archives = new ContainerArchives(options)
    this.#execs = new ExecTable({ ...options, paths: this.#paths, entry: (id) => this.#entries.get(id) })
    this.#health = new HealthCare({
      clock: options.clock,
      execs: this.#execs,
      entry: (id) => this.#entries.get(id),
      onHealth: (entry, health, before) => this.#onHealth(entry, health, before),
      onFailure: (entry, action) => this.#onHealthFailure(entry, action),
    })
  }

  // ---- opening and closing ---------------------------------------------------------------------------------------------

  async open(): Promise<void> {
    const { runtime, networks, snapshots, volumes, log } = this.#options
    const { records, leftovers } = await this.#paths.records.readAll((folder, error) => log.error({ container: folder, error: String(error) }, 'skipped an unreadable container record'))
    for (const record of records) this.#add(record)
    const ids = records.map(({ id }) => id)
    this.#watching.use(runtime.onExit((exit) => this.#onExit(exit)))
    this.#watching.use(runtime.onOom((id) => this.#onOom(id)))
    for (const { id, mounts } of records) for (const { type, name } of mounts) if (type === 'volume' && name !== undefined) await volumes.acquire(name, id).catch((error: unknown) => log.warn({ container: id, volume: name, error: String(error) }, 'a volume of a container is gone'))
    const found = await runtime.recover(ids)
    const live = new Set(found.filter(({ state }) => state === 'running' || state === 'paused').map(({ id }) => id))
    // What runs takes hold of its volumes before anything that does not gives up its own.
    for (const { id, mounts } of records) if (live.has(id)) for (const { type, name } of mounts) if (type === 'volume' && name !== undefined) await volumes.mount(name, id).catch((error: unknown) => log.error({ container: id, volume: name, error: String(error) }, 'a volume of a running container cannot be mounted'))
    const endpoints = await networks.recover([...live])
    const rooted = new Set(await readdir(`${this.#paths.runDir}/r`))
    // One container that cannot be brought back must not keep all others from their engine.
    const guarded = (id: string, task: Promise<void>): Promise<void> => task.catch((error: unknown) => log.error({ container: id, error: String(error) }, 'could not adopt or sweep a container'))
    for (const recovered of found) await guarded(recovered.id, this.#adopt(this.#find(recovered.id), { ...recovered, rooted: rooted.has(recovered.id) }, endpoints))
    await sweepLeftovers(leftovers, new Set(ids), { launcher: this.#launcher, snapshots, volumes, records: this.#paths.records, log })
  }

  /** Brings one container's record and what the runtime found into agreement. */
  async #adopt(entry: Entry, { state, pid = 0, exit, rooted }: RecoveredContainer & { readonly rooted: boolean }, endpoints: readonly Endpoint[]): Promise<void> {
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
      this.#onExit(exit)
      return
    }
    if (state === 'absent' && !rooted && !isLive(lifecycle.status) && onLost(lifecycle, this.#now(entry)).effects.length === 0) return
    this.#tasks.spawn(() =>
      this.#serial.run(entry.id, async () => {
        // Also what a launch had made that was cut short: mounts, a sandbox, a runtime container that waits for its start.
        await this.#launcher.cleanUp(entry)
        await this.#apply(entry, onLost(entry.record.lifecycle, this.#now(entry)))
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watching.dispose()
    this.#health.close()
    await this.#logs.close()
    for (const entry of this.#entries.values()) entry.restartTimer?.cancel()
    await this.#tasks.close()
    await Promise.all([...this.#entries.values()].map(({ cleaning }) => cleaning))
    await Promise.all([...this.#clearing, this.#saver.drained()])
  }

  // ---- catalog --------------------------------------------------------------------------------------------------------

  async inspect(ref: string): Promise<contract.Container> {
    return this.#view(this.#find(ref))
  }

  list(query: { readonly namespace?: contract.ContainerNamespace | 'all' } = {}): readonly contract.Container[] {
    const namespace = query.namespace ?? 'docker'
    return [...this.#entries.values()]
      .filter(({ record }) => namespace === 'all' || record.spec.namespace === namespace)
      .sort((a, b) => (a.record.createdAtNs < b.record.createdAtNs ? 1 : -1))
      .map((entry) => this.#view(entry))
  }

  onChange(listener: (container: contract.Container, cause: ChangeCause) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) }
  }

  #find(ref: string): Entry {
    return findEntry(ref, { entries: this.#entries, names: this.#names })
  }

  #add(record: ContainerRecord): Entry {
    const { clock, runtime, log, host } = this.#options
    const stdin = record.spec.process?.stdin ?? 'none'
    const entry: Entry = {
      id: record.id,
      record,
      effective: effectiveOfRecord(record, host),
      hub: new StreamHub({ clock, runtime, id: record.id, hasStdin: stdin !== 'none', endStdinWithClient: stdin === 'once' && record.spec.process?.tty !== true, onStdinError: (error) => log.debug({ container: record.id, error: error.message }, 'the container closed its input') }),
      execIds: new Set(),
      networkFiles: networkFilePaths(this.#paths, record.id),
      endpoints: [],
      netnsPath: undefined,
      volumes: [],
      restartTimer: undefined,
      cleaning: Promise.resolve(),
      ended: Promise.withResolvers(),
    }
    this.#entries.set(record.id, entry)
    this.#names.set(record.name, record.id)
    return entry
  }

  // ---- the runner -----------------------------------------------------------------------------------------------------

  #now(entry: Entry): { readonly ns: bigint; readonly policy: ReturnType<typeof policyOf>; readonly id: string } {
    return { ns: this.#options.clock.nowNs(), policy: policyOf(entry), id: entry.id }
  }

  /** Steps the life cycle and performs what follows. Only ever called in the container's turn. */
  async #dispatch(entry: Entry, command: Command): Promise<void> {
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
        await this.#launcher.cleanUp(entry, this.#saver.saved(entry.id))
        entry.cleaning = Promise.all([entry.cleaning, this.#logs.leave(entry)]).then(() => undefined)
        return undefined
      case 'scheduleRestart':
        entry.restartTimer = clock.after(effect.delayMs, () => this.#tasks.spawn(() => this.#inTurn(entry, { kind: 'restartDue' })), { background: true })
        return undefined
      case 'cancelRestart':
        entry.restartTimer?.cancel()
        entry.restartTimer = undefined
        return undefined
      case 'settleExit':
        this.#waits.settle(entry.id, { exitCode: effect.exitCode, ...(effect.error === undefined ? {} : { error: effect.error }) }, ['next-exit', 'not-running'])
        return undefined
      case 'publish':
        this.#publish(entry, effect.action, effect.attributes)
        return undefined
      case 'forget':
        return this.#forget(entry, { volumes: policyOf(entry).autoRemove })
      case 'removeAll':
        return this.#removeAll(entry, { volumes: policyOf(entry).autoRemove })
      default:
        return unreachable(effect)
    }
  }

  #inTurn(entry: Entry, command: Command): Promise<void> {
    return this.#serial.run(entry.id, () => this.#dispatch(entry, command))
  }

  async #launch(entry: Entry): Promise<void> {
    entry.ended = Promise.withResolvers()
    try {
      await this.#logs.check(entry)
      const pid = await this.#launcher.launch(entry)
      this.#logs.keep(entry)
      await this.#dispatch(entry, { kind: 'started', pid })
      this.#health.watch(entry, 'started')
    } catch (error) {
      const fault = asFault(error)
      const exitCode = fault.details['exitCode']
      entry.hub.end()
      const restarting = entry.record.lifecycle.status === 'restarting'
      await this.#dispatch(entry, { kind: 'startFailed', exitCode: typeof exitCode === 'number' ? exitCode : 125, error: fault.message })
      if (!restarting) throw fault
      this.#options.log.warn({ container: entry.id, error: fault.message }, 'a restart failed')
    }
  }

  #onExit(exit: ContainerExit): void {
    const entry = this.#entries.get(exit.id)
    if (entry === undefined || this.#tasks.signal.aborted) return
    const { exitCode, oomKilled, finishedAtNs } = exit
    this.#tasks.spawn(async () => {
      // Who is told of the exit may stop reading: the output goes first.
      await entry.hub.drained(longestDrainMs)
      await this.#inTurn(entry, { kind: 'exited', exitCode, oomKilled, finishedAtNs })
    })
  }

  #onOom(id: string): void {
    const entry = this.#entries.get(id)
    if (entry !== undefined && !this.#tasks.signal.aborted) this.#tasks.spawn(() => this.#inTurn(entry, { kind: 'oom' }))
  }

  /** Replaces the record in memory at once and on disk soon: a crash in between is mended by what the runtime remembers. */
  async #store(entry: Entry, lifecycle: Lifecycle, cause: ChangeCause): Promise<void> {
    entry.record = { ...entry.record, lifecycle }
    this.#saver.soon(entry)
    this.#notify(entry, cause)
  }

  #notify(entry: Entry, cause: ChangeCause): void {
    if (this.#listeners.size === 0) return
    const view = this.#view(entry)
    for (const listener of this.#listeners) listener(view, cause)
  }

  #publish(entry: Entry, action: string, attributes: Readonly<Record<string, string>> = {}): void {
    this.#options.events.publish({ type: 'container', action, actor: { id: entry.id, attributes: { ...eventAttributes(entry), ...attributes } }, namespace: entry.record.spec.namespace })
  }

  /** Without its record it is gone, also for an engine that is killed right now. */
  async #forget({ id, record }: Entry, { volumes: withVolumes }: { readonly volumes: boolean }): Promise<void> {
    await this.#saver.saved(id)
    await this.#paths.records.forget(id, { keepVolumes: !withVolumes && record.anonymousVolumes.length > 0 })
  }

  /** The name and the id are free at once; the disk is cleared behind that. */
  async #removeAll(entry: Entry, { volumes: withVolumes }: { readonly volumes: boolean }): Promise<void> {
    const { snapshots, volumes, log } = this.#options
    const { id, record } = entry
    await this.#forget(entry, { volumes: withVolumes })
    this.#entries.delete(id)
    if (this.#names.get(record.name) === id) this.#names.delete(record.name)
    await releaseVolumes(record, volumes, withVolumes, log)
    const clear = async (): Promise<void> => {
      await entry.cleaning
      if (record.lifecycle.startedAtNs === 0n) await snapshots.unmount(rootfsPath(this.#paths, id))
      if (record.mounts.some(({ type }) => type === 'image')) await this.#launcher.imageMounts.remove(id)
      await snapshots.remove(id)
      await this.#paths.records.remove(id)
    }
    const clearing = clear()
      .catch((error: unknown) => log.error({ container: id, error: String(error) }, 'could not clear a removed container away'))
      .finally(() => this.#clearing.delete(clearing))
    this.#clearing.add(clearing)
    this.#publish(entry, 'destroy')
    this.#notify(entry, 'removed')
    this.#waits.settle(id, { exitCode: record.lifecycle.exitCode }, ['removed', 'not-running', 'next-exit'])
    entry.hub.finish()
  }

  // ---- health -----------------------------------------------------------------------------------------------------------

  #onHealth(entry: Entry, health: contract.ContainerHealth, before: contract.ContainerHealth): void {
    if (health.status !== before.status) {
      this.#publish(entry, `health_status: ${health.status}`)
      this.#saver.soon(entry)
    }
    this.#notify(entry, 'changed')
  }

  #onHealthFailure(entry: Entry, action: Exclude<contract.HealthFailureAction, 'none'>): void {
    this.#tasks.spawn(async () => {
      switch (action) {
        case 'kill':
          // Not a wanted end: the restart policy decides what follows.
          return this.#serial.run(entry.id, () => this.#signal(entry, signalNumber('KILL')))
        case 'restart':
          return this.restart(entry.id)
        case 'stop':
          await this.stop(entry.id)
          return undefined
        default:
          return unreachable(action)
      }
    })
  }

  #view(entry: Entry): contract.Container {
    return viewOf(entry, this.#paths)
  }

  // ---- creation ---------------------------------------------------------------------------------------------------------

  async create(wanted: contract.ContainerSpec): Promise<{ readonly id: string; readonly warnings: readonly string[] }> {
    const { images, random, clock } = this.#options
    const id = randomHex(random, 64)
    const { spec, warnings } = checkSpec(wanted, this.#options)
    const name = spec.name === undefined || spec.name === '' ? inventName(random, (taken) => this.#names.has(taken)) : checkedName(spec.name)
    this.#reserve(name, id)
    // Who creates one mostly starts it next.
    this.#options.runtime.expect()
    try {
      const image = await images.resolve(spec.image)
      const record = await prepareContainer({ id, name, spec, image, createdAtNs: clock.nowNs() }, { ...this.#options, imageMounts: this.#launcher.imageMounts, records: this.#paths.records })
      const entry = this.#add(record)
      this.#publish(entry, 'create')
      this.#notify(entry, 'created')
      return { id, warnings }
    } catch (error) {
      if (this.#names.get(name) === id) this.#names.delete(name)
      throw error
    }
  }

  #reserve(name: string, id: string): void {
    const holder = this.#names.get(name)
    if (holder !== undefined) throw new Fault('conflict', `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`)
    this.#names.set(name, id)
  }

  // ---- life -------------------------------------------------------------------------------------------------------------

  async start(ref: string): Promise<'started' | 'already'> {
    const entry = this.#find(ref)
    return this.#serial.run(entry.id, async () => {
      if (entry.record.lifecycle.status === 'running' || entry.record.lifecycle.status === 'restarting') return 'already'
      await this.#dispatch(entry, { kind: 'start' })
      return 'started'
    })
  }

  async stop(ref: string, options: { readonly signal?: string; readonly graceSeconds?: number } = {}): Promise<'stopped' | 'already'> {
    const entry = this.#find(ref)
    const { status } = entry.record.lifecycle
    if (!isLive(status) && status !== 'restarting') return 'already'
    await this.#halt(entry, { ...options, forRestart: false })
    await this.#saver.saved(entry.id)
    this.#publish(entry, 'stop')
    return 'stopped'
  }

  async restart(ref: string, options: { readonly signal?: string; readonly graceSeconds?: number } = {}): Promise<void> {
    const entry = this.#find(ref)
    const { status } = entry.record.lifecycle
    if (isLive(status) || status === 'restarting') {
      await this.#halt(entry, { ...options, forRestart: true })
      this.#publish(entry, 'stop')
    }
    await this.#serial.run(entry.id, () => this.#dispatch(entry, { kind: 'start' }))
    this.#publish(entry, 'restart')
  }

  /** The stop signal, the grace, then SIGKILL. Resolves when it no longer runs. */
  async #halt(entry: Entry, { signal, graceSeconds, forRestart }: { readonly signal?: string; readonly graceSeconds?: number; readonly forRestart: boolean }): Promise<void> {
    const number = signalNumber(signal || entry.effective.stopSignal)
    const grace = graceSeconds ?? entry.record.spec.stopTimeoutSeconds ?? defaultGraceSeconds
    const gone = this.#waits.register(entry.id, 'not-running')
    await this.#serial.run(entry.id, async () => {
      await this.#dispatch(entry, { kind: 'stopWanted', forRestart })
      await this.#signal(entry, number)
    })
    if (!this.#waitable(entry)) return
    if (grace < 0) {
      await gone
      return
    }
    const overdue = Promise.withResolvers<'overdue'>()
    using timer = this.#options.clock.after(grace * 1000, () => overdue.resolve('overdue'))
    void timer
    if ((await Promise.race([gone, overdue.promise])) !== 'overdue') return
    await this.#serial.run(entry.id, () => this.#signal(entry, signalNumber('KILL')))
    await gone
  }

  #waitable({ record }: Entry): boolean {
    return isLive(record.lifecycle.status)
  }

  /** Sends a signal if it still runs; a paused one is thawed, or it could not act on it. */
  async #signal(entry: Entry, number: number): Promise<void> {
    const { status } = entry.record.lifecycle
    if (!isLive(status)) return
    try {
      await this.#options.runtime.signal(entry.id, number)
    } catch (error) {
      // It ended by itself: its exit is on the way.
      if (!isFault(error, 'notFound') && !isFault(error, 'conflict')) throw error
    }
    this.#publish(entry, 'kill', { signal: String(number) })
    if (status === 'paused') await this.#dispatch(entry, { kind: 'unpause' })
  }

  async kill(ref: string, signal: string): Promise<void> {
    const number = signalNumber(signal === '' ? 'KILL' : signal)
    const entry = inContext(`Cannot kill container: ${ref}`, () => this.#find(ref))
    const ends = number === 9 || number === signalNumber(entry.effective.stopSignal)
    const gone = number === 9 ? this.#waits.register(entry.id, 'not-running') : undefined
    await this.#serial.run(entry.id, async () => {
      if (!isLive(entry.record.lifecycle.status)) throw new Fault('conflict', `Cannot kill container: ${ref}: Container ${entry.id} is not running`)
      if (ends) await this.#dispatch(entry, { kind: 'stopWanted', forRestart: false })
      await this.#signal(entry, number)
    })
    await gone
    await this.#saver.saved(entry.id)
  }

  async pause(ref: string): Promise<void> {
    await this.#inTurn(this.#find(ref), { kind: 'pause' })
  }

  async unpause(ref: string): Promise<void> {
    await this.#inTurn(this.#find(ref), { kind: 'unpause' })
  }

  async rename(ref: string, newName: string): Promise<void> {
    const entry = this.#find(ref)
    const name = inContext('Error when allocating new name', () => checkedName(`/${newName.replace(/^\//, '')}`))
    await this.#serial.run(entry.id, async () => {
      const oldName = entry.record.name
      if (name === oldName) throw new Fault('invalidArgument', 'Renaming a container with the same name as its current name')
      inContext('Error when allocating new name', () => this.#reserve(name, entry.id))
      entry.record = { ...entry.record, name }
      await this.#saver.now(entry)
      this.#names.delete(oldName)
      this.#publish(entry, 'rename', { oldName: `/${oldName}` })
      this.#notify(entry, 'changed')
    })
  }

  async unlink(ref: string): Promise<void> {
    const { parent, alias } = findLink(ref, { entries: this.#entries, names: this.#names })
    await this.#serial.run(parent.id, async () => {
      parent.record = withoutLink(parent.record, alias)
      await this.#saver.now(parent)
      if (isLive(parent.record.lifecycle.status)) await this.#launcher.refreshHosts(parent)
      this.#notify(parent, 'changed')
    })
  }

  async update(ref: string, change: { readonly resources?: contract.ContainerResources; readonly restart?: contract.RestartPolicy }): Promise<{ readonly warnings: readonly string[] }> {
    const entry = this.#find(ref)
    const { resources: changed, warnings } = checkedResources(change.resources ?? {}, this.#options.host, { update: true })
    await this.#serial.run(entry.id, async () => {
      entry.record = await updatedRecord(entry.record, { ...change, resources: changed }, this.#options.runtime)
      await this.#saver.now(entry)
      this.#publish(entry, 'update')
      this.#notify(entry, 'changed')
    })
    return { warnings }
  }

  async remove(ref: string, options: { readonly force?: boolean; readonly volumes?: boolean } = {}): Promise<void> {
    const entry = this.#find(ref)
    if (options.force === true && (isLive(entry.record.lifecycle.status) || entry.record.lifecycle.status === 'restarting')) await this.#halt(entry, { signal: 'KILL', graceSeconds: -1, forRestart: false })
    await this.#serial.run(entry.id, async () => {
      // `--rm` was faster.
      if (!this.#entries.has(entry.id)) {
        if (options.force === true) return
        throw new Fault('notFound', `No such container: ${ref}`)
      }
      const { state } = step(entry.record.lifecycle, { kind: 'remove' }, this.#now(entry))
      entry.record = { ...entry.record, lifecycle: state }
      await this.#removeAll(entry, { volumes: options.volumes === true || policyOf(entry).autoRemove })
    })
  }

  async wait(ref: string, condition: contract.WaitCondition, signal?: AbortSignal): Promise<{ readonly result: Promise<contract.WaitResult> }> {
    const { id, record } = this.#find(ref)
    const { status, exitCode } = record.lifecycle
    if (condition === 'not-running' && !isLive(status) && status !== 'restarting') return { result: Promise.resolve({ exitCode }) }
    return { result: this.#waits.register(id, condition, signal) }
  }

  async connectNetwork(ref: string, network: string, spec: EndpointSpec = {}): Promise<void> {
    const entry = this.#find(ref)
    await this.#serial.run(entry.id, async () => {
      await joinNetwork(entry, { network, spec }, { networks: this.#options.networks, launcher: this.#launcher })
      await this.#saver.now(entry)
      this.#notify(entry, 'changed')
    })
  }

  async disconnectNetwork(ref: string, network: string): Promise<void> {
    const entry = this.#find(ref)
    await this.#serial.run(entry.id, async () => {
      await leaveNetwork(entry, network, { networks: this.#options.networks, launcher: this.#launcher })
      await this.#saver.now(entry)
      this.#notify(entry, 'changed')
    })
  }

  // ---- streams ----------------------------------------------------------------------------------------------------------

  async attach(ref: string, options: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean; readonly stream: boolean; readonly logs: boolean }): Promise<contract.StreamSession> {
    const entry = this.#find(ref)
    const { status } = entry.record.lifecycle
    if (status === 'paused') throw new Fault('conflict', `Container ${entry.id} is paused, unpause the container before attach.`)
    if (status === 'restarting') throw new Fault('conflict', `Container ${entry.id} is restarting, wait until the container is running`)
    this.#publish(entry, 'attach')
    const controller = new AbortController()
    const history = options.logs ? await this.logs(ref, { stdout: options.stdout, stderr: options.stderr, follow: false, signal: controller.signal }) : undefined
    if (!options.stream) return sessionOf(history, undefined, controller)
    return sessionOf(history, await entry.hub.join(options, status === 'running'), controller)
  }

  async resize(ref: string, size: TerminalSize): Promise<void> {
    const entry = this.#find(ref)
    if (!isLive(entry.record.lifecycle.status)) throw new Fault('conflict', `Container ${entry.id} is not running`)
    await this.#options.runtime.resize(entry.id, size)
    this.#publish(entry, 'resize', { height: String(size.rows), width: String(size.columns) })
  }

  async logs(ref: string, query: contract.LogQuery): Promise<AsyncIterable<contract.LogEntry>> {
    const entry = this.#find(ref)
    const path = logPathOf(this.#paths, entry.record)
    if (path === undefined || !isReadableLog(entry.record.spec.log)) throw new Fault('unimplemented', 'configured logging driver does not support reading')
    const live = isLive(entry.record.lifecycle.status)
    return readLog(path, query, live ? entry.ended.promise : undefined)
  }

  // ---- exec -------------------------------------------------------------------------------------------------------------

  async createExec(ref: string, spec: contract.ExecSpec): Promise<{ readonly execId: string }> {
    return this.#execs.create(this.#find(ref), spec)
  }

  startExec(execId: string): Promise<{ readonly session: contract.StreamSession | undefined; readonly exited: Promise<number> }> {
    return this.#execs.start(execId)
  }

  resizeExec(execId: string, size: TerminalSize): Promise<void> {
    return this.#execs.resize(execId, size)
  }

  inspectExec(execId: string): contract.ExecState {
    return this.#execs.inspect(execId)
  }

  requireStartableExec(execId: string): contract.ExecState {
    return this.#execs.requireStartable(execId)
  }

  // ---- insight and files --------------------------------------------------------------------------------------------------

  async stats(ref: string): Promise<RuntimeStats | undefined> {
    return this.#insight.stats(this.#find(ref))
  }

  async top(ref: string, psArgs: string): ReturnType<Insight['top']> {
    const entry = this.#find(ref)
    const table = await this.#insight.top(entry, psArgs)
    this.#publish(entry, 'top')
    return table
  }

  async changes(ref: string): Promise<readonly SnapshotChange[]> {
    return this.#insight.changes(this.#find(ref))
  }

  async sizes(ref: string): ReturnType<Insight['sizes']> {
    return this.#insight.sizes(this.#find(ref))
  }

  async statPath(ref: string, path: string): Promise<PathStat> {
    return this.#archives.statPath(this.#find(ref), path, ref)
  }

  async readArchive(ref: string, path: string, options?: { readonly signal?: AbortSignal }): ReturnType<ContainerArchives['read']> {
    const entry = this.#find(ref)
    this.#publish(entry, 'archive-path')
    return this.#archives.read(entry, path, { ...options, ref })
  }

  async writeArchive(ref: string, path: string, tar: Readable, options?: contract.ArchiveWrite): Promise<void> {
    const entry = this.#find(ref)
    await this.#archives.write(entry, path, tar, { ...options, ref })
    this.#publish(entry, 'extract-to-dir')
  }

  exportRoot(ref: string, options?: { readonly signal?: AbortSignal }): ReturnType<ContainerArchives['exportRoot']> {
    const entry = this.#find(ref)
    this.#publish(entry, 'export')
    return this.#archives.exportRoot(entry, options)
  }
}
