/**
 * Health checks (`HEALTHCHECK`, `docker run --health-cmd`; Engine API `Healthcheck`): a command run in the container again and again;
 * enough failures in a row make it unhealthy, one success makes it healthy. Failures in the start period do not count.
 */
import type { Clock, Timer } from '#base/clock.ts'
import type { ContainerHealth } from '../contract/containers.ts'
import type { ContainerDefaults, HealthcheckConfig } from '../contract/images.ts'

export interface Healthcheck {
  readonly command: readonly string[]
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly startPeriodMs: number
  readonly startIntervalMs: number
  readonly retries: number
}

/** The container's own settings over the image's over the defaults; undefined where there is no check. */
export function healthcheckOf(own: HealthcheckConfig | undefined, defaults: ContainerDefaults): Healthcheck | undefined {
  const image = defaults.Healthcheck
  const test = own?.Test !== undefined && own.Test.length > 0 ? own.Test : image?.Test
  const [kind, ...rest] = test ?? []
  const command = kind === 'CMD' ? rest : kind === 'CMD-SHELL' ? [...(defaults.Shell ?? ['/bin/sh', '-c']), rest[0] ?? ''] : undefined
  if (command === undefined || command.length === 0) return undefined
  const ms = (field: 'Interval' | 'Timeout' | 'StartPeriod' | 'StartInterval', otherwiseMs: number): number => {
    const ns = own?.[field] || image?.[field] || 0
    return ns > 0 ? Math.max(1, ns / 1e6) : otherwiseMs
  }
  const intervalMs = ms('Interval', 30_000)
  // Clients that know no start interval expect none.
  return { command, intervalMs, timeoutMs: ms('Timeout', 30_000), startPeriodMs: ms('StartPeriod', 0), startIntervalMs: ms('StartInterval', Math.min(5000, intervalMs)), retries: own?.Retries || image?.Retries || 3 }
}

export interface ProbeResult {
  readonly startedAtNs: bigint
  readonly endedAtNs: bigint
  /** -1: timed out or could not run. */
  readonly exitCode: number
  readonly output: string
}

export const startingHealth: ContainerHealth = { status: 'starting', failingStreak: 0, log: [] }
const keptProbes = 5

/** Pure: what one probe makes of the health. */
export function afterProbe(health: ContainerHealth, probe: ProbeResult, rules: { readonly retries: number; readonly inStartPeriod: boolean }): ContainerHealth {
  const log = [...health.log, probe].slice(-keptProbes)
  if (probe.exitCode === 0) return { status: 'healthy', failingStreak: 0, log }
  if (rules.inStartPeriod && health.status === 'starting') return { ...health, log }
  const failingStreak = health.failingStreak + 1
  return { status: failingStreak >= rules.retries ? 'unhealthy' : health.status, failingStreak, log }
}

export interface HealthMonitorOptions {
  readonly clock: Clock
  /** Runs the command in the container; never rejects. */
  readonly probe: (id: string, check: Healthcheck) => Promise<ProbeResult>
  readonly onHealth: (id: string, health: ContainerHealth, before: ContainerHealth) => void
}

interface Watch {
  readonly check: Healthcheck
  readonly startedAtNs: bigint
  health: ContainerHealth
  timer: Timer | undefined
}

export class HealthMonitor {
  readonly #options: HealthMonitorOptions
  readonly #watches = new Map<string, Watch>()

  constructor(options: HealthMonitorOptions) {
    this.#options = options
  }

  /** Begins, or goes on, with this health: that of before a pause or a restart of ours. */
  start(id: string, check: Healthcheck, { health, startedAtNs }: { readonly health: ContainerHealth; readonly startedAtNs: bigint }): void {
    this.stop(id)
    const watch: Watch = { check, startedAtNs, health, timer: undefined }
    this.#watches.set(id, watch)
    this.#schedule(id, watch)
  }

  stop(id: string): void {
    this.#watches.get(id)?.timer?.cancel()
    this.#watches.delete(id)
  }

  close(): void {
    for (const id of [...this.#watches.keys()]) this.stop(id)
  }

  #inStartPeriod({ check, startedAtNs }: Watch): boolean {
    return Number(this.#options.clock.nowNs() - startedAtNs) / 1e6 < check.startPeriodMs
  }

  #schedule(id: string, watch: Watch): void {
    const { check } = watch
    const delayMs = this.#inStartPeriod(watch) && watch.health.status === 'starting' ? check.startIntervalMs : check.intervalMs
    watch.timer = this.#options.clock.after(delayMs, () => void this.#probe(id, watch), { background: true })
  }

  async #probe(id: string, watch: Watch): Promise<void> {
    const inStartPeriod = this.#inStartPeriod(watch)
    const result = await this.#options.probe(id, watch.check)
    // Stopped, or started anew, while it was asked.
    if (this.#watches.get(id) !== watch) return
    const before = watch.health
    watch.health = afterProbe(before, result, { retries: watch.check.retries, inStartPeriod })
    this.#options.onHealth(id, watch.health, before)
    this.#schedule(id, watch)
  }
}

/** As Go prints a duration: `30s`, `1m30s`, `500ms`. */
export function durationText(ms: number): string {
  if (ms < 1000) return `${ms}ms`
  const hours = Math.floor(ms / 3_600_000)
  const minutes = Math.floor(ms / 60_000) % 60
  const seconds = Math.round(ms % 60_000) / 1000
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}s`
}
