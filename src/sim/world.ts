/**
 * A whole cluster in virtual time: store, API server, controllers, scheduler, machines with their agents; each part can be
 * killed, cut off, slowed and started again. What the parts are is the production code; only time, randomness, network,
 * disk and containers are simulated.
 */
import type { Logger } from '#base/log.ts'
import { allKinds } from '#cluster/api/index.ts'
import type { Api } from '#cluster/apiserver/api.ts'
import { createApi } from '#cluster/apiserver/api.ts'
import { localClient } from '#cluster/apiserver/local-client.ts'
import { Informers } from '#cluster/client/informers.ts'
import type { Client } from '#cluster/contract/client.ts'
import type { ContainerConfig } from '#cluster/contract/runtime.ts'
import { Controllers } from '#cluster/controllers/index.ts'
import type { Program } from '#cluster/node/simulated/runtime.ts'
import { Scheduler } from '#cluster/scheduler/scheduler.ts'
import { openMemoryStore } from '#cluster/store/memory/store.ts'
import type { VirtualClock } from './clock.ts'
import { virtualClock } from './clock.ts'
import { simulatedCa, simulatedRanges, simulatedTokens } from './control-plane.ts'
import type { History } from './history.ts'
import { recordHistory } from './history.ts'
import type { Link, Weather } from './link.ts'
import { calm, openLink } from './link.ts'
import type { SeededRandom } from './random.ts'
import { seededRandom } from './random.ts'
import { SimulatedNode } from './simulated-node.ts'
import { slowStore } from './slow-store.ts'
import type { Transcript } from './transcript.ts'
import { recordTranscript } from './transcript.ts'

export interface WorldOptions {
  readonly seed: number
  readonly nodes: number
  readonly log: Logger
  readonly capacity: Readonly<Record<string, string>>
  readonly program: (config: ContainerConfig) => Program
}

interface Server {
  readonly api: Api
  readonly client: Client
  /** The oldest revision its caches were loaded from: older watches may be refused. */
  readonly loadedFrom: bigint
}

interface Process {
  readonly link: Link
  readonly informers: Informers
  readonly close: () => Promise<void>
}

/** The API server keeps so many revisions from before its start (`apiserver/state.ts`). */
const replayedRevisions = 2000n

export class World {
  readonly clock: VirtualClock
  readonly random: SeededRandom
  readonly history: History
  readonly transcript: Transcript
  readonly nodes: readonly SimulatedNode[]
  /** The user's own connection: no faults, but nobody answers while the server is down. */
  readonly user: Client
  readonly #options: WorldOptions
  readonly #slow = { commitMs: 0, feedMs: 0 }
  #weather: Weather = calm
  #server: Server | undefined
  #controllers: Process | undefined
  #scheduler: Process | undefined

  constructor(options: WorldOptions) {
    this.#options = options
    this.clock = virtualClock()
    this.random = seededRandom(options.seed)
    const raw = openMemoryStore()
    this.history = recordHistory(raw, this.clock)
    this.transcript = recordTranscript(raw, this.clock)
    this.user = openLink({ clock: this.clock, random: this.random.fork('user'), server: () => this.#server?.client }).client
    this.nodes = Array.from({ length: options.nodes }, (_, index) => {
      const name = `node-${index}`
      const random = this.random.fork(name)
      return new SimulatedNode({ name, index, clock: this.clock, random, log: options.log, capacity: options.capacity, program: options.program, connect: () => this.#connect(random) })
    })
  }

  get server(): Server | undefined {
    return this.#server
  }

  /** Everything comes up; resolves when the first moment has settled. */
  async start(): Promise<void> {
    await this.startServer()
    this.startControllers()
    this.startScheduler()
    for (const node of this.nodes) node.start()
    await this.clock.settle()
  }

  #connect(random: SeededRandom): Link {
    const link = openLink({ clock: this.clock, random: random.fork('link'), server: () => this.#server?.client })
    link.weather = this.#weather
    return link
  }

  async startServer(): Promise<void> {
    if (this.#server !== undefined) return
    const { clock } = this
    const random = this.random.fork('disk')
    const store = slowStore(this.history.store, clock, {
      commitMs: () => (this.#slow.commitMs === 0 ? 0 : random.int(this.#slow.commitMs)),
      feedMs: () => (this.#slow.feedMs === 0 ? 0 : random.int(this.#slow.feedMs)),
    })
    const newest = store.revision()
    const oldest = newest > replayedRevisions ? newest - replayedRevisions : 0n
    const loadedFrom = oldest > store.compactedRevision() ? oldest : store.compactedRevision()
    const opening = createApi({ store, kinds: allKinds, clock, random: this.random.fork(`api ${newest}`), log: this.#options.log, ranges: simulatedRanges, tokens: simulatedTokens })
    // A slow feed makes opening take time, which somebody has to let pass.
    let api: Api | undefined
    void opening.then((opened) => (api = opened))
    await clock.runUntil(() => api !== undefined, 60_000)
    const opened = await opening
    this.#server = { api: opened, client: localClient({ api: opened }), loadedFrom }
  }

  stopServer(): void {
    const server = this.#server
    this.#server = undefined
    void server?.api.close()
  }

  startControllers(): void {
    if (this.#controllers !== undefined) return
    const link = this.#connect(this.random.fork(`controllers ${this.clock.nowMs()}`))
    const controllers = new Controllers({ client: link.client, clock: this.clock, log: this.#options.log, caBundle: simulatedCa })
    this.#controllers = { link, informers: controllers.informers, close: () => controllers.close() }
  }

  killControllers(): void {
    this.#controllers?.link.cut()
    void this.#controllers?.close()
    this.#controllers = undefined
  }

  startScheduler(): void {
    if (this.#scheduler !== undefined) return
    const { clock } = this
    const { log } = this.#options
    const random = this.random.fork(`scheduler ${clock.nowMs()}`)
    const link = this.#connect(random)
    const informers = new Informers({ client: link.client, clock, log })
    const scheduler = new Scheduler({ client: link.client, informers, clock, random, log })
    this.#scheduler = { link, informers, close: async () => void (await Promise.all([scheduler.close(), informers.close()])) }
  }

  killScheduler(): void {
    this.#scheduler?.link.cut()
    void this.#scheduler?.close()
    this.#scheduler = undefined
  }

  /** The caches of the controllers and of the scheduler that are up now. */
  get informers(): Informers[] {
    return [this.#controllers?.informers, this.#scheduler?.informers].flatMap((informers) => informers ?? [])
  }

  /** The links of controllers and scheduler, as far as they are up. */
  get controlLinks(): Link[] {
    return [this.#controllers?.link, this.#scheduler?.link].flatMap((link) => link ?? [])
  }

  /** The links of everything that is up now. */
  get links(): Link[] {
    return [this.#controllers?.link, this.#scheduler?.link, ...this.nodes.map(({ link }) => link)].flatMap((link) => link ?? [])
  }

  /** The weather of all present and future connections. */
  setWeather(weather: Weather): void {
    this.#weather = weather
    for (const link of this.links) link.weather = weather
  }

  setSlowness(slow: { readonly commitMs: number; readonly feedMs: number }): void {
    Object.assign(this.#slow, slow)
  }

  /** Everything is up, connected and quick again. */
  async heal(): Promise<void> {
    this.setSlowness({ commitMs: 0, feedMs: 0 })
    this.setWeather(calm)
    for (const link of this.links) link.partitioned = false
    await this.startServer()
    this.startControllers()
    this.startScheduler()
    for (const node of this.nodes) node.start()
  }

  async close(): Promise<void> {
    this.killControllers()
    this.killScheduler()
    for (const node of this.nodes) node.killAgent()
    this.stopServer()
    await this.clock.settle()
    this.transcript.close()
    this.history.close()
  }
}
