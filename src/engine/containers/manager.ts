/**
 * The containers of one engine, as the contract has them: asked by id or name (catalog.ts), each command taking its turn with the runner
 * (runner.ts), streams and files beside it.
 */
import { mkdir, readdir } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { Fault, inContext } from '#base/fault.ts'
import { randomHex } from '#base/random.ts'
import { hostPlatform, platformFit, platformText } from '#oci/platform.ts'
import type * as contract from '../contract/containers.ts'
import type { Image } from '../contract/images.ts'
import type { EndpointSpec } from '../contract/networks.ts'
import type { RuntimeStats, TerminalSize } from '../contract/runtime.ts'
import type { PathStat, SnapshotChange } from '../contract/snapshots.ts'
import { sessionOf } from './attach-session.ts'
import { Catalog, type ChangeCause } from './catalog.ts'
import { ContainerArchives } from './container-archives.ts'
import { logPathOf, type EntryPaths } from './entry.ts'
import { ExecTable } from './execs.ts'
import { Insight } from './insight.ts'
import { sweepLeftovers } from './leftovers.ts'
import { withoutLink } from './legacy-links.ts'
import { isLive } from './lifecycle.ts'
import { isReadableLog } from './log-options.ts'
import { readLog } from './log-reader.ts'
import { checkedName, inventName } from './names.ts'
import { joinNetwork, leaveNetwork } from './network-membership.ts'
import type { ContainersOptions } from './options.ts'
import { checkSpec, prepareContainer } from './prepare.ts'
import { RecordFiles } from './record.ts'
import { checkedResources } from './resources.ts'
import { Runner, type StopOptions } from './runner.ts'
import { signalNumber } from './signals.ts'
import { updatedRecord } from './update.ts'

/** Opens the containers of a state folder: what still runs is adopted, what ended meanwhile is settled. */
export async function openContainers(options: ContainersOptions): Promise<contract.Containers & AsyncDisposable> {
  await mkdir(`${options.runDir}/r`, { recursive: true, mode: 0o711 })
  const manager = new ContainerManager(options)
  await manager.open()
  return manager
}

class ContainerManager implements contract.Containers, AsyncDisposable {
  readonly #options: ContainersOptions
  readonly #paths: EntryPaths
  readonly #catalog: Catalog
  readonly #runner: Runner
  readonly #execs: ExecTable
  readonly #insight: Insight
  readonly #archives: ContainerArchives
  readonly #watching = new DisposableStack()

  constructor(options: ContainersOptions) {
    this.#options = options
    this.#paths = { records: new RecordFiles(`${options.stateDir}/containers`), runDir: options.runDir }
    this.#catalog = new Catalog(options, this.#paths)
    this.#execs = new ExecTable({ ...options, paths: this.#paths, entry: (id) => this.#catalog.get(id) })
    this.#runner = new Runner(options, { paths: this.#paths, catalog: this.#catalog, execs: this.#execs })
    this.#insight = new Insight(options)
    this.#archives = new ContainerArchives(options)
  }

  // ---- opening and closing ---------------------------------------------------------------------------------------------

  async open(): Promise<void> {
    const { runtime, networks, snapshots, volumes, log } = this.#options
    const { records, leftovers } = await this.#paths.records.readAll((folder, error) => log.error({ container: folder, error: String(error) }, 'skipped an unreadable container record'))
    for (const record of records) this.#catalog.add(record)
    const ids = records.map(({ id }) => id)
    this.#watching.use(runtime.onExit((exit) => this.#runner.onExit(exit)))
    this.#watching.use(runtime.onOom((id) => this.#runner.onOom(id)))
    for (const { id, mounts } of records) for (const { type, name } of mounts) if (type === 'volume' && name !== undefined) await volumes.acquire(name, id).catch((error: unknown) => log.warn({ container: id, volume: name, error: String(error) }, 'a volume of a container is gone'))
    const found = await runtime.recover(ids)
    const live = new Set(found.filter(({ state }) => state === 'running' || state === 'paused').map(({ id }) => id))
    // What runs takes hold of its volumes before anything that does not gives up its own.
    for (const { id, mounts } of records) if (live.has(id)) for (const { type, name } of mounts) if (type === 'volume' && name !== undefined) await volumes.mount(name, id).catch((error: unknown) => log.error({ container: id, volume: name, error: String(error) }, 'a volume of a running container cannot be mounted'))
    const endpoints = await networks.recover([...live])
    const rooted = new Set(await readdir(`${this.#paths.runDir}/r`))
    // One container that cannot be brought back must not keep all others from their engine.
    const guarded = (id: string, task: Promise<void>): Promise<void> => task.catch((error: unknown) => log.error({ container: id, error: String(error) }, 'could not adopt or sweep a container'))
    for (const recovered of found) await guarded(recovered.id, this.#runner.adopt(this.#catalog.find(recovered.id), { ...recovered, rooted: rooted.has(recovered.id) }, endpoints))
    await sweepLeftovers(leftovers, new Set(ids), { launcher: this.#runner.launcher, snapshots, volumes, records: this.#paths.records, log })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watching.dispose()
    await this.#runner[Symbol.asyncDispose]()
  }

  // ---- catalog --------------------------------------------------------------------------------------------------------

  async inspect(ref: string): Promise<contract.Container> {
    return this.#catalog.view(this.#catalog.find(ref))
  }

  list(query: { readonly namespace?: contract.ContainerNamespace | 'all' } = {}): readonly contract.Container[] {
    return this.#catalog.list(query.namespace ?? 'docker')
  }

  onChange(listener: (container: contract.Container, cause: ChangeCause) => void): Disposable {
    return this.#catalog.onChange(listener)
  }

  // ---- creation ---------------------------------------------------------------------------------------------------------

  async create(wanted: contract.ContainerSpec): Promise<{ readonly id: string; readonly warnings: readonly string[] }> {
    const { images, random, clock } = this.#options
    const id = randomHex(random, 64)
    const { spec, warnings } = checkSpec(wanted, this.#options)
    const name = spec.name === undefined || spec.name === '' ? inventName(random, (taken) => this.#catalog.hasName(taken)) : checkedName(spec.name)
    this.#catalog.reserveName(name, id)
    // Who creates one mostly starts it next.
    this.#options.runtime.expect()
    try {
      const image = await images.resolve(spec.image, spec.platform === undefined ? {} : { platform: spec.platform })
      const record = await prepareContainer({ id, name, spec, image, createdAtNs: clock.nowNs() }, { ...this.#options, imageMounts: this.#runner.launcher.imageMounts, records: this.#paths.records })
      const entry = this.#catalog.add(record)
      this.#catalog.publish(entry, 'create')
      this.#catalog.notify(entry, 'created')
      return { id, warnings: [...warnings, ...foreignWarnings(spec, image)] }
    } catch (error) {
      this.#catalog.releaseName(name, id)
      throw error
    }
  }

  // ---- life -------------------------------------------------------------------------------------------------------------

  async start(ref: string): Promise<'started' | 'already'> {
    return this.#runner.start(this.#catalog.find(ref))
  }

  async stop(ref: string, options: StopOptions = {}): Promise<'stopped' | 'already'> {
    return this.#runner.stop(this.#catalog.find(ref), options)
  }

  async restart(ref: string, options: StopOptions = {}): Promise<void> {
    return this.#runner.restart(this.#catalog.find(ref), options)
  }

  async kill(ref: string, signal: string): Promise<void> {
    const number = signalNumber(signal === '' ? 'KILL' : signal)
    const entry = inContext(`Cannot kill container: ${ref}`, () => this.#catalog.find(ref))
    const ends = number === 9 || number === signalNumber(entry.effective.stopSignal)
    const gone = number === 9 ? this.#runner.waits.register(entry.id, 'not-running') : undefined
    await this.#runner.inTurn(entry, async () => {
      if (!isLive(entry.record.lifecycle.status)) throw new Fault('conflict', `Cannot kill container: ${ref}: Container ${entry.id} is not running`)
      if (ends) await this.#runner.dispatch(entry, { kind: 'stopWanted', forRestart: false })
      await this.#runner.signal(entry, number)
    })
    await gone
    await this.#runner.saver.saved(entry.id)
  }

  async pause(ref: string): Promise<void> {
    await this.#runner.command(this.#catalog.find(ref), { kind: 'pause' })
  }

  async unpause(ref: string): Promise<void> {
    await this.#runner.command(this.#catalog.find(ref), { kind: 'unpause' })
  }

  async rename(ref: string, newName: string): Promise<void> {
    const entry = this.#catalog.find(ref)
    const name = inContext('Error when allocating new name', () => checkedName(`/${newName.replace(/^\//, '')}`))
    await this.#runner.inTurn(entry, async () => {
      const oldName = entry.record.name
      if (name === oldName) throw new Fault('invalidArgument', 'Renaming a container with the same name as its current name')
      inContext('Error when allocating new name', () => this.#catalog.reserveName(name, entry.id))
      entry.record = { ...entry.record, name }
      await this.#runner.saver.now(entry)
      this.#catalog.releaseName(oldName, entry.id)
      this.#catalog.publish(entry, 'rename', { oldName: `/${oldName}` })
      this.#catalog.notify(entry, 'changed')
    })
  }

  async unlink(ref: string): Promise<void> {
    const { parent, alias } = this.#catalog.findLink(ref)
    await this.#runner.inTurn(parent, async () => {
      parent.record = withoutLink(parent.record, alias)
      await this.#runner.saver.now(parent)
      if (isLive(parent.record.lifecycle.status)) await this.#runner.launcher.refreshHosts(parent)
      this.#catalog.notify(parent, 'changed')
    })
  }

  async update(ref: string, change: { readonly resources?: contract.ContainerResources; readonly restart?: contract.RestartPolicy }): Promise<{ readonly warnings: readonly string[] }> {
    const entry = this.#catalog.find(ref)
    const { resources: changed, warnings } = checkedResources(change.resources ?? {}, this.#options.host, { update: true })
    await this.#runner.inTurn(entry, async () => {
      entry.record = await updatedRecord(entry.record, { ...change, resources: changed }, this.#options.runtime)
      await this.#runner.saver.now(entry)
      this.#catalog.publish(entry, 'update')
      this.#catalog.notify(entry, 'changed')
    })
    return { warnings }
  }

  async remove(ref: string, options: { readonly force?: boolean; readonly volumes?: boolean } = {}): Promise<void> {
    const removed = await this.#runner.remove(this.#catalog.find(ref), options)
    // `--rm` was faster.
    if (!removed && options.force !== true) throw new Fault('notFound', `No such container: ${ref}`)
  }

  async wait(ref: string, condition: contract.WaitCondition, signal?: AbortSignal): Promise<{ readonly result: Promise<contract.WaitResult> }> {
    const { id, record } = this.#catalog.find(ref)
    const { status, exitCode } = record.lifecycle
    if (condition === 'not-running' && !isLive(status) && status !== 'restarting') return { result: Promise.resolve({ exitCode }) }
    return { result: this.#runner.waits.register(id, condition, signal) }
  }

  async connectNetwork(ref: string, network: string, spec: EndpointSpec = {}): Promise<void> {
    const entry = this.#catalog.find(ref)
    await this.#runner.inTurn(entry, async () => {
      await joinNetwork(entry, { network, spec }, { networks: this.#options.networks, launcher: this.#runner.launcher })
      await this.#runner.saver.now(entry)
      this.#catalog.notify(entry, 'changed')
    })
  }

  async disconnectNetwork(ref: string, network: string): Promise<void> {
    const entry = this.#catalog.find(ref)
    await this.#runner.inTurn(entry, async () => {
      await leaveNetwork(entry, network, { networks: this.#options.networks, launcher: this.#runner.launcher })
      await this.#runner.saver.now(entry)
      this.#catalog.notify(entry, 'changed')
    })
  }

  // ---- streams ----------------------------------------------------------------------------------------------------------

  async attach(ref: string, options: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean; readonly stream: boolean; readonly logs: boolean }): Promise<contract.StreamSession> {
    const entry = this.#catalog.find(ref)
    const { status } = entry.record.lifecycle
    if (status === 'paused') throw new Fault('conflict', `Container ${entry.id} is paused, unpause the container before attach.`)
    if (status === 'restarting') throw new Fault('conflict', `Container ${entry.id} is restarting, wait until the container is running`)
    this.#catalog.publish(entry, 'attach')
    const controller = new AbortController()
    const history = options.logs ? await this.logs(ref, { stdout: options.stdout, stderr: options.stderr, follow: false, signal: controller.signal }) : undefined
    if (!options.stream) return sessionOf(history, undefined, controller)
    return sessionOf(history, await entry.hub.join(options, status === 'running'), controller)
  }

  async resize(ref: string, size: TerminalSize): Promise<void> {
    const entry = this.#catalog.find(ref)
    if (!isLive(entry.record.lifecycle.status)) throw new Fault('conflict', `Container ${entry.id} is not running`)
    await this.#options.runtime.resize(entry.id, size)
    this.#catalog.publish(entry, 'resize', { height: String(size.rows), width: String(size.columns) })
  }

  async logs(ref: string, query: contract.LogQuery): Promise<AsyncIterable<contract.LogEntry>> {
    const entry = this.#catalog.find(ref)
    const path = logPathOf(this.#paths, entry.record)
    if (path === undefined || !isReadableLog(entry.record.spec.log)) throw new Fault('unimplemented', 'configured logging driver does not support reading')
    const live = isLive(entry.record.lifecycle.status)
    return readLog(path, query, live ? entry.ended.promise : undefined)
  }

  // ---- exec -------------------------------------------------------------------------------------------------------------

  async createExec(ref: string, spec: contract.ExecSpec): Promise<{ readonly execId: string }> {
    return this.#execs.create(this.#catalog.find(ref), spec)
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
    return this.#insight.stats(this.#catalog.find(ref))
  }

  async top(ref: string, psArgs: string): ReturnType<Insight['top']> {
    const entry = this.#catalog.find(ref)
    const table = await this.#insight.top(entry, psArgs)
    this.#catalog.publish(entry, 'top')
    return table
  }

  async changes(ref: string): Promise<readonly SnapshotChange[]> {
    return this.#insight.changes(this.#catalog.find(ref))
  }

  async sizes(ref: string): ReturnType<Insight['sizes']> {
    return this.#insight.sizes(this.#catalog.find(ref))
  }

  async statPath(ref: string, path: string): Promise<PathStat> {
    return this.#archives.statPath(this.#catalog.find(ref), path, ref)
  }

  async readArchive(ref: string, path: string, options?: { readonly signal?: AbortSignal }): ReturnType<ContainerArchives['read']> {
    const entry = this.#catalog.find(ref)
    this.#catalog.publish(entry, 'archive-path')
    return this.#archives.read(entry, path, { ...options, ref })
  }

  async writeArchive(ref: string, path: string, tar: Readable, options?: contract.ArchiveWrite): Promise<void> {
    const entry = this.#catalog.find(ref)
    await this.#archives.write(entry, path, tar, { ...options, ref })
    this.#catalog.publish(entry, 'extract-to-dir')
  }

  exportRoot(ref: string, options?: { readonly signal?: AbortSignal }): ReturnType<ContainerArchives['exportRoot']> {
    const entry = this.#catalog.find(ref)
    this.#catalog.publish(entry, 'export')
    return this.#archives.exportRoot(entry, options)
  }
}

/** It may run where the machine can emulate the platform; nobody has asked for it. */
function foreignWarnings({ platform }: contract.ContainerSpec, { config }: Image): readonly string[] {
  if (platform !== undefined || platformFit(hostPlatform, config) > 0) return []
  return [`The requested image's platform (${platformText(config)}) does not match the detected host platform (${platformText(hostPlatform)}) and no specific platform was requested`]
}
