/** Containers' health while they run: probes through exec, the health in the record, and what becomes of a container that fails. */
import type { Clock } from '#base/clock.ts'
import type { ContainerHealth, HealthFailureAction } from '../contract/containers.ts'
import type { Entry } from './entry.ts'
import type { ExecTable } from './execs.ts'
import { healthcheckOf, HealthMonitor, startingHealth, type Healthcheck, type ProbeResult } from './health.ts'

export interface ContainerHealthOptions {
  readonly clock: Clock
  readonly execs: Pick<ExecTable, 'runToEnd'>
  readonly entry: (id: string) => Entry | undefined
  /** The entry's record holds the new health. */
  readonly onHealth: (entry: Entry, health: ContainerHealth, before: ContainerHealth) => void
  /** It became unhealthy, and its creator asked for this. */
  readonly onFailure: (entry: Entry, action: Exclude<HealthFailureAction, 'none'>) => void
}

export class HealthCare {
  readonly #options: ContainerHealthOptions
  readonly #monitor: HealthMonitor

  constructor(options: ContainerHealthOptions) {
    this.#options = options
    this.#monitor = new HealthMonitor({ clock: options.clock, probe: (id, check) => this.#probe(id, check), onHealth: (id, health, before) => this.#onHealth(id, health, before) })
  }

  /** `started`: it starts anew; otherwise it goes on after a pause, or after a restart of ours. */
  watch(entry: Entry, cause: 'started' | 'continued'): void {
    const { record } = entry
    const check = healthcheckOf(record.spec.healthcheck, record.defaults)
    if (check === undefined) return
    const last = record.health
    const health = cause === 'continued' && last !== undefined ? last : { ...startingHealth, log: last?.log ?? [] }
    entry.record = { ...record, health }
    this.#monitor.start(entry.id, check, { health, startedAtNs: record.lifecycle.startedAtNs })
  }

  /** It was paused. */
  rest(entry: Entry): void {
    this.#monitor.stop(entry.id)
  }

  /** It has ended: as in dockerd, what is not looked after is not healthy. */
  end(entry: Entry): void {
    this.#monitor.stop(entry.id)
    const { health } = entry.record
    if (health !== undefined) entry.record = { ...entry.record, health: { ...health, status: 'unhealthy' } }
  }

  close(): void {
    this.#monitor.close()
  }

  async #probe(id: string, { command, timeoutMs }: Healthcheck): Promise<ProbeResult> {
    const { clock, execs, entry } = this.#options
    const startedAtNs = clock.nowNs()
    const { exitCode, output } = await execs.runToEnd(entry(id), { command, timeoutMs })
    return { startedAtNs, endedAtNs: clock.nowNs(), exitCode, output }
  }

  #onHealth(id: string, health: ContainerHealth, before: ContainerHealth): void {
    const entry = this.#options.entry(id)
    if (entry === undefined) return
    entry.record = { ...entry.record, health }
    this.#options.onHealth(entry, health, before)
    const action = entry.record.spec.healthOnFailure ?? 'none'
    if (action !== 'none' && health.status === 'unhealthy' && before.status !== 'unhealthy') this.#options.onFailure(entry, action)
  }
}
