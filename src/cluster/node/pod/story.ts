/**
 * Plays a pod's life against a scripted world in virtual time and writes it down, one line per event, effect and change of
 * status. For the transcript tests: a transcript is read and reviewed as text.
 */
import { unreachable } from '#base/assert.ts'
import type { ContainerStatus } from '../../contract/runtime.ts'
import type { PodPlan } from './plan.ts'
import type { PodEffect, PodEvent, PodState } from './state.ts'
import { containerOf } from './state.ts'
import { podPhase, podStatus } from './status.ts'
import { newPod, step } from './step.ts'

/** What the world answers to an effect: nothing, or an event some time later. Undefined leaves it to the default. */
export type Answer = (effect: PodEffect, story: Story) => readonly { readonly afterMs: number; readonly event: PodEvent }[] | undefined

interface Pending {
  readonly atMs: number
  readonly order: number
  readonly event: PodEvent
}

export class Story {
  nowMs = Date.UTC(2026, 0, 1)
  readonly startMs = this.nowMs
  state: PodState
  readonly lines: string[] = []
  readonly #answer: Answer
  #pending: Pending[] = []
  #order = 0
  #wakeAtMs: number | undefined
  #shown = ''
  #containers = 0
  readonly #running = new Map<string, ContainerStatus>()

  constructor(plan: PodPlan, answer: Answer = () => undefined) {
    this.#answer = answer
    this.state = newPod(plan, this.nowMs)
    this.feed({ kind: 'tick' })
  }

  /** Adopts a state built elsewhere, as after a restart of the agent. */
  restart(state: PodState): void {
    this.#pending = this.#pending.filter(({ event }) => event.kind === 'container')
    this.say('--- the agent is restarted')
    this.state = state
    this.feed({ kind: 'tick' })
  }

  get transcript(): string {
    return `${this.lines.join('\n')}\n`
  }

  say(line: string): void {
    this.lines.push(`${((this.nowMs - this.startMs) / 1000).toFixed(3).padStart(9)}  ${line}`)
  }

  at(afterMs: number, event: PodEvent): void {
    this.#pending.push({ atMs: this.nowMs + afterMs, order: this.#order++, event })
  }

  feed(event: PodEvent): void {
    if (event.kind !== 'tick') this.say(`< ${eventText(event)}`)
    if (event.kind === 'container') this.#running.set(event.status.name, event.status)
    const { state, effects, wakeAtMs } = step(this.state, event, this.nowMs)
    this.state = state
    this.#wakeAtMs = wakeAtMs
    for (const effect of effects) {
      this.say(`> ${effectText(effect)}`)
      for (const { afterMs, event: result } of this.#answer(effect, this) ?? this.usual(effect)) this.at(afterMs, result)
    }
    this.#show()
  }

  /** Lets time pass. */
  run(ms: number): void {
    const endMs = this.nowMs + ms
    for (;;) {
      this.#pending.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
      const next = this.#pending[0]
      const nextMs = Math.min(next?.atMs ?? Infinity, this.#wakeAtMs ?? Infinity)
      if (nextMs > endMs) break
      this.nowMs = nextMs
      if (next !== undefined && next.atMs === nextMs) {
        this.#pending.shift()
        this.feed(next.event)
      } else {
        this.#wakeAtMs = undefined
        this.feed({ kind: 'tick' })
      }
    }
    this.nowMs = endMs
  }

  /** The container's process ends by itself. */
  exit(name: string, exitCode: number, extra: Partial<ContainerStatus> = {}): PodEvent {
    const status = this.#running.get(name)
    if (status === undefined) throw new Error(`container ${name} does not run`)
    return { kind: 'container', status: { ...status, state: 'exited', exitCode, finishedAtMs: this.nowMs, ...extra } }
  }

  runningStatus(name: string): ContainerStatus | undefined {
    return this.#running.get(name)
  }

  /** How a world answers in which everything works. */
  usual(effect: PodEffect): { afterMs: number; event: PodEvent }[] {
    const one = (afterMs: number, event: PodEvent): { afterMs: number; event: PodEvent }[] => [{ afterMs, event }]
    switch (effect.kind) {
      case 'prepareVolumes':
        return one(5, { kind: 'volumes' })
      case 'runSandbox':
        return one(10, {
          kind: 'sandbox',
          status: { id: `s${effect.attempt}`, pod: this.state.plan.identity, attempt: effect.attempt, state: 'ready', createdAtMs: this.nowMs, ips: [`10.42.0.${5 + effect.attempt}`], labels: {}, annotations: {} },
        })
      case 'stopSandbox':
        return one(10, { kind: 'sandboxStopped' })
      case 'ensureImage':
        return one(20, { kind: 'image', container: effect.container, imageId: 'sha256:1', message: 'Container image already present on machine' })
      case 'startContainer':
        return one(30, { kind: 'container', status: this.#started(effect) })
      case 'stopContainer': {
        const killed = effect.graceMs < 50
        const status = this.#running.get(effect.container)
        if (status === undefined || status.state !== 'running') return []
        const afterMs = Math.min(50, effect.graceMs)
        return one(afterMs, { kind: 'container', status: { ...status, state: 'exited', exitCode: killed ? 137 : 143, finishedAtMs: this.nowMs + afterMs } })
      }
      case 'hook':
        return one(10, { kind: 'hook', container: effect.container, containerId: effect.containerId, hook: effect.hook })
      case 'probe':
        return one(1, { kind: 'probe', container: effect.container, containerId: effect.containerId, probe: effect.probe, ok: true, message: '' })
      case 'takeDownVolumes':
        return one(5, { kind: 'volumesDown' })
      case 'dispose':
        return one(5, { kind: 'disposed' })
      case 'deletePod':
        return [{ afterMs: 5, event: { kind: 'apiDeleted' } }, { afterMs: 6, event: { kind: 'removed' } }]
      case 'removeSandbox':
      case 'removeContainer':
      case 'record':
      case 'forget':
        return []
      default:
        return unreachable(effect)
    }
  }

  #started(effect: Extract<PodEffect, { kind: 'startContainer' }>): ContainerStatus {
    this.#containers += 1
    const image = this.state.plan.containers.find(({ name }) => name === effect.container)?.image ?? ''
    return {
      id: `c${this.#containers}`, sandboxId: effect.sandboxId, pod: this.state.plan.identity, name: effect.container, attempt: effect.attempt, state: 'running',
      createdAtMs: this.nowMs, startedAtMs: this.nowMs + 30, imageId: effect.imageId, imageReference: image, logPath: '', labels: {}, annotations: {},
    }
  }

  #show(): void {
    const status = podStatus(this.state, { nowMs: this.nowMs, hostIps: ['192.0.2.1'], previous: undefined })
    const each = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].map(({ name, state, ready, restartCount }) => {
      const reason = state.waiting?.reason ?? (state.terminated === undefined ? 'Running' : `${state.terminated.reason}(${state.terminated.exitCode})`)
      return `${name}=${reason}${ready ? ',ready' : ''}${restartCount > 0 ? `,restarts=${restartCount}` : ''}`
    })
    const ready = status.conditions?.find(({ type }) => type === 'Ready')?.status === 'True' ? ' Ready' : ''
    const shown = `${podPhase(this.state)}${ready}: ${each.join(' ')}`
    if (shown !== this.#shown) this.say(`= ${shown}`)
    this.#shown = shown
  }

  get idOf(): (name: string) => string {
    return (name) => containerOf(this.state, name)?.instance?.id ?? ''
  }
}

function eventText(event: PodEvent): string {
  switch (event.kind) {
    case 'container':
      return `container ${event.status.name}#${event.status.attempt} ${event.status.state}${event.status.state === 'exited' ? ` ${event.status.exitCode}` : ''}`
    case 'plan':
      return event.plan.deletionGraceMs === undefined ? 'plan' : `plan: deletion with ${event.plan.deletionGraceMs / 1000} s of grace`
    case 'probe':
      return `${event.probe} probe of ${event.container}: ${event.ok ? 'ok' : 'failed'}`
    case 'image':
    case 'imageFailed':
    case 'startFailed':
    case 'stopFailed':
      return `${event.kind} ${event.container}`
    case 'hook':
      return `${event.hook} hook of ${event.container}: ${event.error ?? 'ok'}`
    case 'sandbox':
      return `sandbox #${event.status.attempt} ${event.status.state}`
    default:
      return `${event.kind}${'error' in event && event.error !== undefined ? `: ${event.error}` : ''}`
  }
}

function effectText(effect: PodEffect): string {
  switch (effect.kind) {
    case 'record':
      return `${effect.type} ${effect.reason}: ${effect.message}`
    case 'startContainer':
      return `startContainer ${effect.container}#${effect.attempt}`
    case 'stopContainer':
      return `stopContainer ${effect.container} within ${effect.graceMs} ms`
    case 'hook':
      return `${effect.hook} hook of ${effect.container}`
    case 'probe':
      return `${effect.probe} probe of ${effect.container}`
    case 'ensureImage':
      return `ensureImage ${effect.container}`
    case 'runSandbox':
      return `runSandbox #${effect.attempt}`
    case 'removeContainer':
      return `removeContainer ${effect.containerId}`
    default:
      return effect.kind
  }
}
