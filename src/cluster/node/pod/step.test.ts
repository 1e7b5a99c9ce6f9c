/**
 * Stories of pods. Each is compared with its transcript in `transcripts/`, which is reviewed as text; after a wanted change
 * run with BERTH_UPDATE_TRANSCRIPTS=1 and read the difference.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { ContainerStatus } from '../../contract/runtime.ts'
import { adoptPod } from './adopt.ts'
import type { ContainerPlan, PodPlan } from './plan.ts'
import { containerOf } from './state.ts'
import type { Answer } from './story.ts'
import { Story } from './story.ts'
import { podStatus } from './status.ts'
import { step } from './step.ts'

const folder = join(import.meta.dirname, 'transcripts')

function compare(name: string, story: Story): void {
  const path = join(folder, `${name}.txt`)
  if (process.env['BERTH_UPDATE_TRANSCRIPTS'] === '1') {
    mkdirSync(folder, { recursive: true })
    writeFileSync(path, story.transcript)
  }
  assert.equal(story.transcript, readFileSync(path, 'utf8'))
}

function app(name: string, more: Partial<ContainerPlan> = {}): ContainerPlan {
  return { name, kind: 'app', image: 'nginx', restartPolicy: 'Always', probes: {}, postStart: false, preStop: false, ...more }
}

function pod(containers: readonly ContainerPlan[], more: Partial<PodPlan> = {}): PodPlan {
  const identity = { namespace: 'default', name: 'web', uid: 'u1' }
  return { identity, containers, restartPolicy: 'Always', graceMs: 30_000, hostNetwork: false, readinessGates: [], ...more }
}

const probe = { initialDelayMs: 0, periodMs: 5000, timeoutMs: 1000, successThreshold: 1, failureThreshold: 2 }

test('a pod starts, is deleted, and leaves the machine before it leaves the API', () => {
  const plan = pod([app('web'), app('log')])
  const story = new Story(plan)
  story.run(1000)
  story.feed({ kind: 'plan', plan: { ...plan, deletionGraceMs: 30_000 } })
  story.run(10_000)
  compare('start-and-delete', story)
})

test('a crashing container is restarted with a delay that doubles', () => {
  const story = new Story(pod([app('web')]), (effect, self) => {
    if (effect.kind !== 'startContainer') return undefined
    const started = self.usual(effect)
    const [first] = started
    if (first?.event.kind !== 'container') return started
    const finishedAtMs = self.nowMs + 1030
    return [...started, { afterMs: 1030, event: { kind: 'container', status: { ...first.event.status, state: 'exited', exitCode: 1, finishedAtMs } } }]
  })
  story.run(60_000)
  compare('crash-loop', story)
})

test('init containers run one after the other, a sidecar starts among them and ends last', () => {
  const finishing: Answer = (effect, self) => {
    if (effect.kind !== 'startContainer' || !effect.container.startsWith('init')) return undefined
    const started = self.usual(effect)
    const [first] = started
    if (first?.event.kind !== 'container') return started
    return [...started, { afterMs: 500, event: { kind: 'container', status: { ...first.event.status, state: 'exited', exitCode: 0, finishedAtMs: self.nowMs + 500 } } }]
  }
  const init = (name: string): ContainerPlan => app(name, { kind: 'init', restartPolicy: 'Never' })
  const plan = pod([init('init-a'), app('side', { kind: 'sidecar' }), init('init-b'), app('job', { restartPolicy: 'Never' })], { restartPolicy: 'Never' })
  const story = new Story(plan, finishing)
  story.run(3000)
  story.feed(story.exit('job', 0))
  story.run(3000)
  compare('init-and-sidecar', story)
})

test('a failing init container of a pod that never restarts fails the pod', () => {
  const story = new Story(pod([app('prepare', { kind: 'init', restartPolicy: 'Never' }), app('web', { restartPolicy: 'Never' })], { restartPolicy: 'Never' }))
  story.run(1000)
  story.feed(story.exit('prepare', 3))
  story.run(1000)
  compare('init-failure', story)
})

test('an image that cannot be pulled is tried again with back-off', () => {
  let pulls = 0
  const story = new Story(pod([app('web', { image: 'nowhere/none' })]), (effect) => {
    if (effect.kind !== 'ensureImage') return undefined
    pulls += 1
    if (pulls > 2) return undefined
    return [{ afterMs: 100, event: { kind: 'imageFailed', container: effect.container, reason: 'ErrImagePull', message: 'Failed to pull image "nowhere/none": not found' } }]
  })
  story.run(40_000)
  compare('image-pull-back-off', story)
})

test('startup, readiness and liveness probes: ready after the first success, restarted after the second failure', () => {
  let healthy = false
  const story = new Story(pod([app('web', { probes: { startup: { ...probe, periodMs: 1000, failureThreshold: 10 }, readiness: probe, liveness: probe } })], { graceMs: 10_000 }), (effect, self) => {
    if (effect.kind !== 'probe') return undefined
    const ok = effect.probe === 'startup' ? self.nowMs - self.startMs > 2000 : healthy
    return [{ afterMs: 1, event: { kind: 'probe', container: effect.container, containerId: effect.containerId, probe: effect.probe, ok, message: 'HTTP probe failed with statuscode: 503' } }]
  })
  healthy = true
  story.run(9000)
  healthy = false
  story.run(8000)
  compare('probes', story)
})

test('preStop takes its time from the grace; a shorter second deletion shortens it', () => {
  const plan = pod([app('web', { preStop: true })])
  const story = new Story(plan, (effect, self) => {
    if (effect.kind === 'hook') return []
    if (effect.kind !== 'stopContainer') return undefined
    // Ignores SIGTERM.
    const status = self.runningStatus('web')
    if (status === undefined) return []
    return [{ afterMs: effect.graceMs, event: { kind: 'container', status: { ...status, state: 'exited', exitCode: 137, finishedAtMs: self.nowMs + effect.graceMs } } }]
  })
  story.run(1000)
  story.feed({ kind: 'plan', plan: { ...plan, deletionGraceMs: 30_000 } })
  story.run(5000)
  story.feed({ kind: 'plan', plan: { ...plan, deletionGraceMs: 3000 } })
  story.run(20_000)
  compare('pre-stop', story)
})

test('a failed postStart hook stops the container, which is then restarted', () => {
  let hooks = 0
  const story = new Story(pod([app('web', { postStart: true })]), (effect) => {
    if (effect.kind !== 'hook') return undefined
    hooks += 1
    return hooks > 1 ? undefined : [{ afterMs: 10, event: { kind: 'hook', container: 'web', containerId: effect.containerId, hook: 'postStart', error: 'PostStartHook failed: exit code 1' } }]
  })
  story.run(5000)
  compare('post-start-failure', story)
})

test('a lost sandbox is made anew and everything in it is restarted', () => {
  const story = new Story(pod([app('prepare', { kind: 'init', restartPolicy: 'OnFailure' }), app('web')]))
  story.run(500)
  story.feed(story.exit('prepare', 0))
  story.run(1000)
  story.feed({ kind: 'sandbox', status: { id: 's0', pod: story.state.plan.identity, attempt: 0, state: 'notReady', createdAtMs: 0, ips: [], labels: {}, annotations: {} } })
  story.run(500)
  story.feed(story.exit('prepare', 0))
  story.run(1000)
  compare('sandbox-lost', story)
})

test('a job that runs past its deadline fails with DeadlineExceeded', () => {
  const story = new Story(pod([app('job', { restartPolicy: 'Never' })], { restartPolicy: 'Never', activeDeadlineMs: 5000 }))
  story.run(10_000)
  compare('deadline', story)
  const status = podStatus(story.state, { nowMs: story.nowMs, hostIps: [], previous: undefined })
  assert.equal(status.phase, 'Failed')
  assert.equal(status.reason, 'DeadlineExceeded')
})

test('a missing ConfigMap delays the mount and the container until it is there', () => {
  let tries = 0
  const story = new Story(pod([app('web')]), (effect) => {
    if (effect.kind !== 'prepareVolumes') return undefined
    tries += 1
    return tries > 3 ? undefined : [{ afterMs: 1, event: { kind: 'volumes', error: 'MountVolume.SetUp failed for volume "c" : configmap "c" not found' } }]
  })
  story.run(10_000)
  compare('missing-volume', story)
})

function statusOf(story: Story, name: string): ContainerStatus {
  const status = story.runningStatus(name)
  assert.ok(status)
  return status
}

test('after a restart of the agent running containers are taken over untouched, and still become restarted when they end', () => {
  const plan = pod([app('web', { probes: { readiness: probe } })])
  const story = new Story(plan)
  story.run(1000)
  const previous = podStatus(story.state, { nowMs: story.nowMs, hostIps: ['192.0.2.1'], previous: undefined })
  const sandboxes = [{ id: 's0', pod: plan.identity, attempt: 0, state: 'ready' as const, createdAtMs: story.startMs, ips: ['10.42.0.5'], labels: {}, annotations: {} }]
  const adopted = adoptPod(plan, { sandboxes, containers: [statusOf(story, 'web')] }, { previous, nowMs: story.nowMs })
  assert.deepEqual(adopted.discard, { sandboxes: [], containers: [] })
  assert.equal(containerOf(adopted.state, 'web')?.ready, true, 'ready until the probe says otherwise')
  story.restart(adopted.state)
  story.run(2000)
  story.feed(story.exit('web', 1))
  story.run(1000)
  compare('adopted', story)
})

test('a finished pod is never run again, whatever the runtime has forgotten', () => {
  const plan = pod([app('job', { restartPolicy: 'Never' })], { restartPolicy: 'Never', finalPhase: 'Succeeded' })
  const { state } = adoptPod(plan, { sandboxes: [], containers: [] }, { previous: undefined, nowMs: 0 })
  const { effects } = step(state, { kind: 'tick' }, 0)
  assert.deepEqual(effects.map(({ kind }) => kind), ['takeDownVolumes'])
})

test('a container that the API saw running and the runtime has forgotten counts as ended: a Never pod fails instead of running twice', () => {
  const plan = pod([app('job', { restartPolicy: 'Never' })], { restartPolicy: 'Never' })
  const reported = { name: 'job', state: { running: {} }, lastState: {}, ready: true, restartCount: 0, image: 'nginx', imageID: '', containerID: 'berth://c9' }
  const { state } = adoptPod(plan, { sandboxes: [], containers: [] }, { previous: { phase: 'Running', containerStatuses: [reported] }, nowMs: 0 })
  const { state: after } = step(state, { kind: 'tick' }, 0)
  assert.equal(podStatus(after, { nowMs: 0, hostIps: [], previous: undefined }).phase, 'Failed')
})

test('late and repeated reports change nothing', () => {
  const story = new Story(pod([app('web')]))
  story.run(1000)
  const running = statusOf(story, 'web')
  const exit = story.exit('web', 1)
  story.feed(exit)
  story.run(100)
  const before = structuredClone(story.state.containers)
  story.feed(exit)
  story.feed({ kind: 'container', status: running })
  story.feed({ kind: 'containerGone', id: 'unknown' })
  assert.deepEqual(story.state.containers, before)
})

test('the same events give the same effects, and the state given in is left as it was', () => {
  const plan = pod([app('web'), app('other')])
  const a = new Story(plan)
  const frozen = structuredClone(a.state)
  step(a.state, { kind: 'volumes' }, a.nowMs)
  assert.deepEqual(a.state, frozen)
  const b = new Story(plan)
  a.run(2000)
  b.run(2000)
  assert.equal(a.transcript, b.transcript)
})
