/** The life cycle: stories, and what holds in whatever order commands come. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import type { RestartPolicy } from '../contract/containers.ts'
import { isLive, newLifecycle, onLost, restartDelayMs, step, type Command, type Effect, type Lifecycle } from './lifecycle.ts'

const second = 1_000_000_000n

/** Plays commands and tells the effects as words. */
function play(commands: readonly (Command | 'wait10s')[], policy: { readonly restart?: RestartPolicy; readonly autoRemove?: boolean } = {}): { readonly state: Lifecycle; readonly story: string[] } {
  let state = newLifecycle
  let ns = second
  const story: string[] = []
  for (const command of commands) {
    ns += command === 'wait10s' ? 10n * second : 1n
    if (command === 'wait10s') continue
    const stepped = step(state, command.kind === 'exited' ? { ...command, finishedAtNs: ns } : command, { ns, id: 'c', policy: { restart: policy.restart ?? { name: 'no' }, autoRemove: policy.autoRemove ?? false } })
    state = stepped.state
    story.push(`${command.kind} → ${state.status}: ${stepped.effects.map(words).join(', ')}`)
  }
  return { state, story }
}

function words(effect: Effect): string {
  if (effect.kind === 'publish') return `tell ${effect.action}`
  if (effect.kind === 'scheduleRestart') return `restart in ${effect.delayMs}`
  if (effect.kind === 'settleExit') return `settle ${effect.exitCode}${effect.running ? ' (comes again)' : ''}`
  return effect.kind
}

const started: Command = { kind: 'started', pid: 7 }
const exited = (exitCode: number): Extract<Command, { kind: 'exited' }> => ({ kind: 'exited', exitCode, oomKilled: false, finishedAtNs: 0n })

test('a container that runs and ends is cleaned up before anyone is told that it no longer runs', () => {
  assert.deepEqual(play([{ kind: 'start' }, started, exited(3)]).story, ['start → created: launch', 'started → running: tell start', 'exited → exited: tell die, cleanUp, settle 3'])
})

test('memory that runs out is told once per kill, and is remembered to the end of the run', () => {
  const { story, state } = play([{ kind: 'start' }, started, { kind: 'oom' }, { kind: 'oom' }, { ...exited(0), oomKilled: true }, { kind: 'oom' }])
  assert.deepEqual(story.slice(2), ['oom → running: tell oom', 'oom → running: tell oom', 'exited → exited: tell die, cleanUp, settle 0', 'oom → exited: '])
  assert.equal(state.oomKilled, true)
  assert.equal(play([{ kind: 'start' }, started, { ...exited(137), oomKilled: true }]).story.at(-1), 'exited → exited: tell oom, tell die, cleanUp, settle 137')
  assert.equal(play([{ kind: 'start' }, started, { kind: 'oom' }, exited(1), { kind: 'start' }, started]).state.oomKilled, false)
})

test('--rm removes after the exit, and after a start that failed', () => {
  assert.deepEqual(play([{ kind: 'start' }, started, exited(0)], { autoRemove: true }).story.at(-1), 'exited → removing: tell die, forget, cleanUp, settle 0, removeAll')
  assert.equal(play([{ kind: 'start' }, { kind: 'startFailed', exitCode: 127, error: 'no such file' }], { autoRemove: true }).story.at(-1), 'startFailed → removing: cleanUp, removeAll')
})

test('a first start that fails leaves the container created', () => {
  const { state } = play([{ kind: 'start' }, { kind: 'startFailed', exitCode: 127, error: 'no such file' }])
  assert.equal(state.status, 'created')
  assert.equal(state.exitCode, 127)
  assert.equal(state.error, 'no such file')
})

test('on-failure restarts with growing delays until its count is used up', () => {
  const { story, state } = play([{ kind: 'start' }, started, exited(1), { kind: 'restartDue' }, started, exited(1), { kind: 'restartDue' }, started, exited(1)], { restart: { name: 'on-failure', maximumRetryCount: 2 } })
  assert.deepEqual(
    story.filter((line) => line.startsWith('exited')),
    ['exited → restarting: tell die, settle 1 (comes again), cleanUp, restart in 100', 'exited → restarting: tell die, settle 1 (comes again), cleanUp, restart in 200', 'exited → exited: tell die, cleanUp, settle 1'],
  )
  assert.equal(state.restartCount, 2)
})

test('a run of ten seconds resets the delay', () => {
  const { story } = play([{ kind: 'start' }, started, exited(1), { kind: 'restartDue' }, started, exited(1), { kind: 'restartDue' }, started, 'wait10s', exited(1)], { restart: { name: 'always' } })
  assert.match(story.at(-1) ?? '', /restart in 100$/)
})

test('what was stopped by somebody is not restarted by its policy', () => {
  const { state } = play([{ kind: 'start' }, started, { kind: 'stopWanted', forRestart: false }, exited(143)], { restart: { name: 'always' } })
  assert.equal(state.status, 'exited')
})

test('stopping during the back-off cancels it and settles the waiters', () => {
  const { story, state } = play([{ kind: 'start' }, started, exited(1), { kind: 'stopWanted', forRestart: false }, { kind: 'restartDue' }], { restart: { name: 'always' } })
  assert.equal(state.status, 'exited')
  assert.deepEqual(story.slice(-2), ['stopWanted → exited: cancelRestart, settle 1', 'restartDue → exited: '])
})

test('a restart command keeps a --rm container', () => {
  const { state } = play([{ kind: 'start' }, started, { kind: 'stopWanted', forRestart: true }, exited(143)], { autoRemove: true })
  assert.equal(state.status, 'exited')
})

test('after a reboot of the machine `always` comes up again and `unless-stopped` remembers its stop', () => {
  const lost = (commands: readonly Command[], restart: RestartPolicy): string => onLost(play(commands, { restart }).state, { ns: 99n * second, id: 'c', policy: { restart, autoRemove: false } }).state.status
  const stopped: readonly Command[] = [{ kind: 'start' }, started, { kind: 'stopWanted', forRestart: false }, exited(0)]
  assert.equal(lost(stopped, { name: 'always' }), 'restarting')
  assert.equal(lost(stopped, { name: 'unless-stopped' }), 'exited')
  assert.equal(lost([{ kind: 'start' }, started], { name: 'unless-stopped' }), 'restarting')
  assert.equal(lost([{ kind: 'start' }, started], { name: 'no' }), 'exited')
  assert.equal(lost([{ kind: 'start' }, started, { kind: 'startFailed', exitCode: 125, error: 'x' }], { name: 'unless-stopped' }), 'restarting')
})

test('the delay doubles up to a minute', () => {
  assert.deepEqual([0, 1, 2, 9, 10, 1000].map(restartDelayMs), [100, 200, 400, 51_200, 60_000, 60_000])
})

const commands = fc.array(
  fc.oneof(
    fc.constantFrom<Command>({ kind: 'start' }, started, { kind: 'startFailed', exitCode: 125, error: 'x' }, { kind: 'pause' }, { kind: 'unpause' }, { kind: 'restartDue' }, { kind: 'remove' }, { kind: 'stopWanted', forRestart: false }, { kind: 'stopWanted', forRestart: true }),
    fc.integer({ min: 0, max: 255 }).map(exited),
  ),
  { maxLength: 30 },
)
const policies = fc.record({
  restart: fc.constantFrom<RestartPolicy>({ name: 'no' }, { name: 'always' }, { name: 'unless-stopped' }, { name: 'on-failure', maximumRetryCount: 3 }),
  autoRemove: fc.boolean(),
})

test('in any order: a pid only while it lives, refusals change nothing, an exit of a live one settles its waiters once', () => {
  fc.assert(
    fc.property(commands, policies, (sequence, policy) => {
      let state = newLifecycle
      let ns = second
      for (const command of sequence) {
        // The runner only reports what can happen in a state.
        if (command.kind === 'started' && state.status === 'removing') continue
        ns += second
        try {
          const { state: next, effects } = step(state, command, { ns, policy, id: 'c' })
          assert.equal(next.pid !== 0, isLive(next.status))
          if (command.kind === 'exited' && isLive(state.status)) assert.equal(effects.filter(({ kind }) => kind === 'settleExit').length, 1)
          if (next.status === 'removing' && state.status !== 'removing') assert.equal(effects.at(-1)?.kind, 'removeAll')
          state = next
        } catch (error) {
          assert.ok(isFault(error, 'conflict'), String(error))
        }
      }
    }),
  )
})
