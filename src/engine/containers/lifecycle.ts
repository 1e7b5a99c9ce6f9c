/**
 * A container's life as a pure function: `step(state, command, now) → { state, effects }`. Nothing here waits, reads or writes; the
 * runner (containers.ts) stores the new state, performs the effects in order and feeds what came of them back as commands.
 *
 * Kept apart from the runner so that every order of commands, exits and failures can be tried by a test. Behaviour: Docker
 * Engine's container states and restart policies (`docker run --restart`), OCI runtime-spec "Lifecycle".
 */
import { unreachable } from '#base/assert.ts'
import { Fault } from '#base/fault.ts'
import type { ContainerState, ContainerStatus, RestartPolicy } from '../contract/containers.ts'

export interface Lifecycle extends Omit<ContainerState, 'health'> {
  /** Restarts since it last ran for ten seconds: decides the delay. */
  readonly restartStreak: number
  /** Somebody stopped it: no policy may restart it until somebody starts it. */
  readonly stoppedByUser: boolean
  /** A restart command stops and starts it: its own removal waits. */
  readonly keepOnExit: boolean
}

export const newLifecycle: Lifecycle = {
  status: 'created',
  pid: 0,
  exitCode: 0,
  oomKilled: false,
  error: '',
  startedAtNs: 0n,
  finishedAtNs: 0n,
  restartCount: 0,
  restartStreak: 0,
  stoppedByUser: false,
  keepOnExit: false,
}

export interface Policy {
  readonly restart: RestartPolicy
  readonly autoRemove: boolean
}

export type Command =
  | { readonly kind: 'start' }
  | { readonly kind: 'started'; readonly pid: number }
  | { readonly kind: 'startFailed'; readonly exitCode: number; readonly error: string }
  /** The kernel killed a process of its for want of memory. */
  | { readonly kind: 'oom' }
  | { readonly kind: 'exited'; readonly exitCode: number; readonly oomKilled: boolean; readonly finishedAtNs: bigint }
  /** The signal is sent by the caller; this notes that the exit is wanted. */
  | { readonly kind: 'stopWanted'; readonly forRestart: boolean }
  | { readonly kind: 'pause' }
  | { readonly kind: 'unpause' }
  | { readonly kind: 'restartDue' }
  | { readonly kind: 'remove' }
  | { readonly kind: 'removeFailed'; readonly error: string }

export type Effect =
  /** Make it run, then answer `started` or `startFailed`. */
  | { readonly kind: 'launch' }
  | { readonly kind: 'freeze' }
  | { readonly kind: 'thaw' }
  /** Release what a running container holds: namespaces, mounts, addresses. */
  | { readonly kind: 'cleanUp' }
  /** It is to be removed: its record goes before anything else of it does, so that nobody finds half a container. */
  | { readonly kind: 'forget' }
  | { readonly kind: 'scheduleRestart'; readonly delayMs: number }
  | { readonly kind: 'cancelRestart' }
  /** Tell those who wait: `next-exit`, and `not-running` unless it comes up again. */
  | { readonly kind: 'settleExit'; readonly exitCode: number; readonly running: boolean; readonly error?: string }
  | { readonly kind: 'publish'; readonly action: string; readonly attributes?: Readonly<Record<string, string>> }
  | { readonly kind: 'removeAll' }

export interface Stepped {
  readonly state: Lifecycle
  readonly effects: readonly Effect[]
}

/** The first restart waits 100 ms; each further one twice as long, at most a minute. A run of ten seconds starts anew. */
export function restartDelayMs(streak: number): number {
  return Math.min(60_000, 100 * 2 ** Math.min(streak, 20))
}

const settledAfterNs = 10_000_000_000n

export interface Now {
  readonly ns: bigint
  readonly policy: Policy
  /** For messages. */
  readonly id: string
}

/** Throws a `conflict` fault, in Docker's words, when the command does not fit the state. */
export function step(state: Lifecycle, command: Command, now: Now): Stepped {
  switch (command.kind) {
    case 'start':
      return onStart(state, now)
    case 'started':
      return {
        state: { ...state, status: 'running', pid: command.pid, exitCode: 0, oomKilled: false, error: '', startedAtNs: now.ns, keepOnExit: false },
        effects: [{ kind: 'publish', action: 'start' }],
      }
    case 'startFailed':
      return onStartFailed(state, command, now)
    case 'oom':
      return isLive(state.status) ? { state: { ...state, oomKilled: true }, effects: [{ kind: 'publish', action: 'oom' }] } : { state, effects: [] }
    case 'exited':
      return onExited(state, command, now)
    case 'stopWanted':
      return onStopWanted(state, command.forRestart)
    case 'pause':
      if (state.status === 'paused') throw new Fault('conflict', `Container ${now.id} is already paused`)
      requireRunning(state, now.id)
      return { state: { ...state, status: 'paused' }, effects: [{ kind: 'freeze' }, { kind: 'publish', action: 'pause' }] }
    case 'unpause':
      if (state.status !== 'paused') throw new Fault('conflict', `Container ${now.id} is not paused`)
      return { state: { ...state, status: 'running' }, effects: [{ kind: 'thaw' }, { kind: 'publish', action: 'unpause' }] }
    case 'restartDue':
      return { state, effects: state.status === 'restarting' ? [{ kind: 'launch' }] : [] }
    case 'remove':
      return onRemove(state, now.id)
    case 'removeFailed':
      return { state: { ...state, status: 'dead', error: command.error }, effects: [] }
    default:
      return unreachable(command)
  }
}

export function isLive(status: ContainerStatus): boolean {
  return status === 'running' || status === 'paused'
}

function requireRunning(state: Lifecycle, id: string): void {
  if (state.status === 'restarting') throw new Fault('conflict', `Container ${id} is restarting, wait until the container is running`)
  if (!isLive(state.status)) throw new Fault('conflict', `Container ${id} is not running`)
}

function onStart(state: Lifecycle, now: Now): Stepped {
  switch (state.status) {
    case 'running':
      return { state, effects: [] }
    case 'paused':
      throw new Fault('conflict', `cannot start a paused container, try unpause instead`)
    case 'removing':
    case 'dead':
      throw new Fault('conflict', `container ${now.id} is marked for removal and cannot be started`)
    case 'restarting':
      return { state: { ...state, stoppedByUser: false, restartStreak: 0 }, effects: [{ kind: 'cancelRestart' }, { kind: 'launch' }] }
    case 'created':
    case 'exited':
      return { state: { ...state, stoppedByUser: false, restartCount: 0, restartStreak: 0 }, effects: [{ kind: 'launch' }] }
    default:
      return unreachable(state.status)
  }
}

function onStartFailed(state: Lifecycle, command: { readonly exitCode: number; readonly error: string }, now: Now): Stepped {
  const { exitCode, error } = command
  // A first start that fails leaves the container `created`, as Docker does; a restart that fails counts as an exit.
  const wasRestart = state.status === 'restarting'
  const failed: Lifecycle = { ...state, status: wasRestart ? 'exited' : state.startedAtNs === 0n ? 'created' : 'exited', pid: 0, exitCode, error, finishedAtNs: wasRestart ? now.ns : state.finishedAtNs, keepOnExit: false }
  const settled: Effect[] = [{ kind: 'cleanUp' }]
  if (wasRestart && wantsRestart(failed, now.policy)) {
    const again: Lifecycle = { ...failed, status: 'restarting', restartCount: state.restartCount + 1, restartStreak: state.restartStreak + 1 }
    return { state: again, effects: [...settled, { kind: 'scheduleRestart', delayMs: restartDelayMs(again.restartStreak) }] }
  }
  // Who waits for an exit is not told of a first start that failed: the start itself tells it.
  if (wasRestart) settled.push({ kind: 'settleExit', exitCode, running: false, error })
  if (now.policy.autoRemove) return { state: { ...failed, status: 'removing' }, effects: [...settled, { kind: 'removeAll' }] }
  return { state: failed, effects: settled }
}

function onExited(state: Lifecycle, command: { readonly exitCode: number; readonly oomKilled: boolean; readonly finishedAtNs: bigint }, now: Now): Stepped {
  if (!isLive(state.status)) return { state, effects: [] }
  const { exitCode, finishedAtNs } = command
  const oomKilled = state.oomKilled || command.oomKilled
  const exited: Lifecycle = { ...state, status: 'exited', pid: 0, exitCode, oomKilled, finishedAtNs, error: '' }
  const effects: Effect[] = []
  if (oomKilled && !state.oomKilled) effects.push({ kind: 'publish', action: 'oom' })
  const ranNs = finishedAtNs - state.startedAtNs
  effects.push({ kind: 'publish', action: 'die', attributes: { execDuration: String((ranNs > 0n ? ranNs : 0n) / 1_000_000_000n), exitCode: String(exitCode) } })
  if (wantsRestart(exited, now.policy)) {
    const streak = ranNs >= settledAfterNs ? 0 : state.restartStreak
    effects.push({ kind: 'settleExit', exitCode, running: true }, { kind: 'cleanUp' }, { kind: 'scheduleRestart', delayMs: restartDelayMs(streak) })
    return { state: { ...exited, status: 'restarting', restartCount: state.restartCount + 1, restartStreak: streak + 1 }, effects }
  }
  if (now.policy.autoRemove && !state.keepOnExit) {
    effects.push({ kind: 'forget' }, { kind: 'cleanUp' }, { kind: 'settleExit', exitCode, running: false }, { kind: 'removeAll' })
    return { state: { ...exited, status: 'removing' }, effects }
  }
  effects.push({ kind: 'cleanUp' }, { kind: 'settleExit', exitCode, running: false })
  return { state: exited, effects }
}

function wantsRestart(exited: Lifecycle, { restart }: Policy): boolean {
  if (exited.stoppedByUser || exited.keepOnExit) return false
  switch (restart.name) {
    case 'no':
      return false
    case 'always':
    case 'unless-stopped':
      return true
    case 'on-failure':
      return exited.exitCode !== 0 && (restart.maximumRetryCount === 0 || exited.restartCount < restart.maximumRetryCount)
    default:
      return unreachable(restart)
  }
}

function onStopWanted(state: Lifecycle, forRestart: boolean): Stepped {
  if (state.status === 'restarting') {
    return {
      state: { ...state, status: 'exited', stoppedByUser: !forRestart },
      effects: [{ kind: 'cancelRestart' }, { kind: 'settleExit', exitCode: state.exitCode, running: false }],
    }
  }
  return { state: { ...state, stoppedByUser: !forRestart, keepOnExit: forRestart }, effects: [] }
}

function onRemove(state: Lifecycle, id: string): Stepped {
  switch (state.status) {
    case 'running':
      throw new Fault('conflict', `You cannot remove a running container ${id}. Stop the container before attempting removal or force remove`)
    case 'paused':
      throw new Fault('conflict', `You cannot remove a paused container ${id}. Unpause and then stop the container before attempting removal or force remove`)
    case 'restarting':
      throw new Fault('conflict', `You cannot remove a restarting container ${id}. Stop the container before attempting removal or force remove`)
    case 'removing':
      throw new Fault('conflict', `removal of container ${id} is already in progress`)
    case 'created':
    case 'exited':
    case 'dead':
      return { state: { ...state, status: 'removing' }, effects: [{ kind: 'removeAll' }] }
    default:
      return unreachable(state.status)
  }
}

/**
 * What to do with a stored container when the engine opens and the runtime knows nothing of it any more (the machine was
 * restarted): it counts as exited, and policies that ask for it bring it up.
 */
export function onLost(state: Lifecycle, now: Now): Stepped {
  if (isLive(state.status)) return onExited({ ...state, restartStreak: 0 }, { exitCode: 255, oomKilled: false, finishedAtNs: now.ns }, now)
  if (state.status === 'restarting') return { state, effects: [{ kind: 'scheduleRestart', delayMs: restartDelayMs(0) }] }
  if (state.status === 'removing') return { state, effects: [{ kind: 'removeAll' }] }
  // `always` means also after the user's stop, once the engine itself starts again.
  const { name } = now.policy.restart
  const revive = state.status === 'exited' && (name === 'always' || (name === 'unless-stopped' && !state.stoppedByUser))
  return revive ? { state: { ...state, status: 'restarting', stoppedByUser: false }, effects: [{ kind: 'scheduleRestart', delayMs: 0 }] } : { state, effects: [] }
}
