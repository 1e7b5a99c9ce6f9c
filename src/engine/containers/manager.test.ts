/** The containers room over fakes of its neighbours: lives, waits, streams, restarts of the engine. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { virtualClock } from '#sim/clock.ts'
import type { Clock } from '#base/clock.ts'
import type { Containers, ContainerSpec, StreamSession } from '../contract/containers.ts'
import { createEventBus } from '../events/event-bus.ts'
import { fakeHost, fakeImages, fakeMounts, fakeNetworks, fakeRuntime, fakeSnapshots, fakeVolumes, type FakeRuntime } from './fakes.ts'
import { openContainers } from './manager.ts'


let root: string
before(() => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'ct-'))
})
after(() => rmSync(root, { recursive: true }))

interface World extends AsyncDisposable {
  readonly containers: Containers
  readonly runtime: FakeRuntime
  readonly events: ReturnType<typeof createEventBus>
  readonly stateDir: string
}

let count = 0
async function world(options: { readonly clock?: Clock; readonly runtime?: FakeRuntime; readonly stateDir?: string } = {}): Promise<World> {
  const clock = options.clock ?? systemClock
  const runtime = options.runtime ?? fakeRuntime(clock)
  const events = createEventBus({ clock })
  count += 1
  const stateDir = options.stateDir ?? join(root, String(count))
  const containers = await openContainers({
    runtime, events, clock, host: fakeHost, mounts: fakeMounts(), sockets: { sendDatagram: async () => undefined }, stateDir, images: fakeImages(), snapshots: fakeSnapshots(), networks: fakeNetworks(), volumes: fakeVolumes(), random: systemRandom, log: silentLogger,
    runDir: join(stateDir, 'run'), cgroupRoot: '/t', ps: async () => 'PID CMD\n1 init\n',
  })
  return { containers, runtime, events, stateDir, [Symbol.asyncDispose]: () => containers[Symbol.asyncDispose]() }
}

const spec = (command: readonly string[], more: Partial<ContainerSpec> = {}): ContainerSpec => ({ namespace: 'docker', image: 'bb:1', process: { command }, ...more })

async function textOf(session: StreamSession): Promise<string> {
  let text = ''
  for await (const { data } of session.output) text += data.toString()
  return text
}

test('events of a run: networks, then volumes, then the start; the end, networks, volumes', async () => {
  await using w = await world()
  const controller = new AbortController()
  const events = w.events.subscribe({ signal: controller.signal })
  const { id } = await w.containers.create(spec(['true'], { mounts: [{ type: 'volume', name: 'data', target: '/data', readonly: true }] }))
  await w.containers.start(id)
  const told: string[] = []
  for await (const { type, action, actor } of events) {
    if (type === 'container' && action === 'create') continue
    told.push(`${type} ${action}${type === 'volume' ? ` ${actor.id} ${actor.attributes['read/write'] ?? ''}` : ''}`)
    if (action === 'unmount') controller.abort()
  }
  assert.deepEqual(told.filter((each) => !each.startsWith('volume create')), ['network connect', 'volume mount data false', 'container start', 'container die', 'network disconnect', 'volume unmount data '])
})

test('ports are published in the first network that leads outside, not in an internal one before it', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['wait'], { network: { mode: 'networks', endpoints: [{ network: 'inner' }, { network: 'bridge' }], ports: [{ containerPort: 80, protocol: 'tcp', hostIp: '127.0.0.1', hostPort: 18080 }] } }))
  await w.containers.start(id)
  const published = (await w.containers.inspect(id)).endpoints.map(({ networkName, ports }) => [networkName, ports.map(({ hostPort }) => hostPort)])
  assert.deepEqual(published, [['inner', []], ['bridge', [18080]]])
  await w.containers.remove(id, { force: true })
})

test('run --rm of a program that ends at once: output, exit code and removal arrive', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['echo', 'hello'], { autoRemove: true }))
  const session = await w.containers.attach(id, { stdin: false, stdout: true, stderr: true, stream: true, logs: false })
  const removed = await w.containers.wait(id, 'removed')
  const nextExit = await w.containers.wait(id, 'next-exit')
  assert.equal(await w.containers.start(id), 'started')
  assert.equal(await textOf(session), 'hello\n')
  assert.deepEqual(await nextExit.result, { exitCode: 0 })
  assert.deepEqual(await removed.result, { exitCode: 0 })
  await assert.rejects(w.containers.inspect(id), (error) => isFault(error, 'notFound') && error.message === `No such container: ${id}`)
})

test('the exit code survives --rm for those who waited, and no folder is left', async () => {
  const w = await world()
  const { id } = await w.containers.create(spec(['false'], { autoRemove: true }))
  const { result } = await w.containers.wait(id, 'removed')
  await w.containers.start(id)
  assert.equal((await result).exitCode, 1)
  await w[Symbol.asyncDispose]()
  assert.deepEqual(readdirSync(join(w.stateDir, 'containers')), [])
})

test('a program that is not there gives 127 and Docker’s words; the container stays created', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['nosuch']))
  await assert.rejects(w.containers.start(id), (error) => isFault(error, 'invalidArgument') && error.message.includes('exec: "nosuch": executable file not found in $PATH') && error.details['exitCode'] === 127)
  const { state } = await w.containers.inspect(id)
  assert.equal(state.status, 'created')
  assert.equal(state.exitCode, 127)
  await w.containers.remove(id)
})

test('names are unique, free again after removal, and found by prefix of the id', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['true'], { name: 'web' }))
  await assert.rejects(w.containers.create(spec(['true'], { name: 'web' })), (error) => isFault(error, 'conflict') && error.message.includes(`The container name "/web" is already in use by container "${id}"`))
  assert.equal((await w.containers.inspect(id.slice(0, 12))).name, 'web')
  assert.equal((await w.containers.inspect('/web')).id, id)
  await w.containers.rename('web', 'api')
  await assert.rejects(w.containers.inspect('web'), (error) => isFault(error, 'notFound'))
  await w.containers.remove('api')
  await w.containers.create(spec(['true'], { name: 'api' }))
})

test('stop sends the stop signal, waits out the grace, then kills', async () => {
  const clock = virtualClock()
  await using w = await world({ clock })
  const polite = await w.containers.create(spec(['wait'], { stopSignal: 'SIGINT' }))
  await w.containers.start(polite.id)
  assert.equal(await w.containers.stop(polite.id), 'stopped')
  assert.equal((await w.containers.inspect(polite.id)).state.exitCode, 130)
  assert.equal(await w.containers.stop(polite.id), 'already')

  const stubborn = await w.containers.create(spec(['stubborn']))
  await w.containers.start(stubborn.id)
  let stopped = false
  const stopping = w.containers.stop(stubborn.id, { graceSeconds: 5 }).then(() => (stopped = true))
  await clock.advance(4900)
  assert.equal(stopped, false)
  await clock.advance(200)
  await stopping
  assert.equal((await w.containers.inspect(stubborn.id)).state.exitCode, 137)
})

test('a restart policy brings it up again, and a stop ends that', async () => {
  const clock = virtualClock()
  await using w = await world({ clock })
  const { id } = await w.containers.create(spec(['wait'], { restart: { name: 'always' } }))
  await w.containers.start(id)
  const { result } = await w.containers.wait(id, 'next-exit')
  w.runtime.crash(id, 5)
  assert.equal((await result).exitCode, 5)
  const running = async (): Promise<boolean> => (await w.containers.inspect(id)).state.status === 'running'
  assert.equal(await running(), false)
  while (!(await running())) await clock.advance(100)
  assert.equal((await w.containers.inspect(id)).state.restartCount, 1)
  await w.containers.stop(id)
  await clock.advance(120_000)
  assert.equal((await w.containers.inspect(id)).state.status, 'exited')
})

test('a restarted engine adopts what runs and settles what ended or vanished', async () => {
  const first = await world()
  const ids: Record<string, string> = {}
  for (const name of ['runs', 'ended', 'temporary']) {
    ids[name] = (await first.containers.create(spec(['wait'], { name, autoRemove: name === 'temporary' }))).id
    await first.containers.start(name)
  }
  await first[Symbol.asyncDispose]()
  await first.runtime.delete(ids['ended'] ?? '')
  await first.runtime.delete(ids['temporary'] ?? '')
  await using second = await world({ runtime: first.runtime, stateDir: first.stateDir })
  assert.equal((await second.containers.inspect('runs')).state.status, 'running')
  const { result } = await second.containers.wait('ended', 'not-running')
  assert.equal((await result).exitCode, 255)
  await (await second.containers.wait('ended', 'not-running')).result
  await assert.rejects(async () => {
    await (await second.containers.wait('temporary', 'removed')).result
    await second.containers.inspect('temporary')
  }, (error) => isFault(error, 'notFound'))
  await second.containers.stop('runs')
})

test('a client that detaches from a terminal leaves its input open for the next one', async () => {
  await using w = await world()
  const { id } = await w.containers.create({ ...spec(['cat']), process: { command: ['cat'], tty: true, stdin: 'once' } })
  const all = { stdin: true, stdout: true, stderr: true, stream: true, logs: false }
  const first = await w.containers.attach(id, all)
  await w.containers.start(id)
  first.close()
  const second = await w.containers.attach(id, all)
  second.stdin?.write('again')
  for await (const { data } of second.output) {
    assert.equal(data.toString(), 'again')
    break
  }
  assert.equal((await w.containers.inspect(id)).state.status, 'running')
  await w.containers.kill(id, 'KILL')
})

test('who is told of an exit has had the output', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['echo', 'first']))
  const session = await w.containers.attach(id, { stdin: false, stdout: true, stderr: true, stream: true, logs: false })
  const order: string[] = []
  const reading = textOf(session).then((text) => order.push(text))
  const { result } = await w.containers.wait(id, 'next-exit')
  await w.containers.start(id)
  await result.then(() => order.push('exit'))
  await reading
  assert.deepEqual(order, ['first\n', 'exit'])
})

test('exec: streams, exit code, and the words for what is not there', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['wait']))
  await assert.rejects(w.containers.createExec(id, { command: ['true'] }), (error) => isFault(error, 'conflict') && error.message === `Container ${id} is not running`)
  await w.containers.start(id)
  const { execId } = await w.containers.createExec(id, { command: ['cat'], stdin: true })
  const { session, exited } = await w.containers.startExec(execId)
  session?.stdin?.end('typed')
  assert.equal(session === undefined ? '' : await textOf(session), 'typed')
  assert.equal(await exited, 0)
  assert.equal(w.containers.inspectExec(execId).exitCode, 0)
  assert.throws(() => w.containers.requireStartableExec(execId), (error) => isFault(error, 'conflict') && error.message.includes('has already run'))
  const missing = await w.containers.createExec(id, { command: ['nosuch'] })
  await assert.rejects(w.containers.startExec(missing.execId), /OCI runtime exec failed: .*"nosuch": executable file not found in \$PATH/)
  assert.equal(w.containers.inspectExec(missing.execId).exitCode, 127)
  await w.containers.kill(id, 'KILL')
})

test('a size that comes while an exec is being started reaches it', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['wait']))
  await w.containers.start(id)
  const { execId } = await w.containers.createExec(id, { command: ['cat'], stdin: true, tty: true })
  const starting = w.containers.startExec(execId)
  await w.containers.resizeExec(execId, { rows: 33, columns: 99 })
  const { session, exited } = await starting
  assert.deepEqual(w.runtime.execSizes, [{ rows: 33, columns: 99 }])
  session?.stdin?.end()
  await exited
  await w.containers.kill(id, 'KILL')
})

test('logs are kept after the exit, told apart by channel', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['grumble', 'oh', 'no']))
  const { result } = await w.containers.wait(id, 'next-exit')
  await w.containers.start(id)
  assert.equal((await result).exitCode, 3)
  const entries: string[] = []
  for await (const { channel, data } of await w.containers.logs(id, { stdout: true, stderr: true, follow: true, signal: new AbortController().signal })) entries.push(`${channel}: ${data.toString()}`)
  assert.deepEqual(entries, ['stderr: oh no\n'])
})

test('pods are not shown among Docker’s containers', async () => {
  await using w = await world()
  await w.containers.create(spec(['true'], { namespace: 'k8s', name: 'pod-x' }))
  assert.deepEqual(w.containers.list(), [])
  assert.equal(w.containers.list({ namespace: 'k8s' }).length, 1)
})

test('a running container is neither removed without force nor paused twice', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['wait']))
  await w.containers.start(id)
  await assert.rejects(w.containers.remove(id), (error) => isFault(error, 'conflict') && error.message === `You cannot remove a running container ${id}. Stop the container before attempting removal or force remove`)
  await w.containers.pause(id)
  await assert.rejects(w.containers.pause(id), (error) => isFault(error, 'conflict') && error.message === `Container ${id} is already paused`)
  await w.containers.unpause(id)
  await w.containers.remove(id, { force: true })
  assert.deepEqual(w.containers.list(), [])
})

/** Lets virtual time pass until it is as wanted. */
async function passUntil(clock: ReturnType<typeof virtualClock>, wanted: () => Promise<boolean>): Promise<void> {
  while (!(await wanted())) {
    await clock.advance(20)
    // Files are real: their time is not ours.
    await stat(root)
  }
}

const failing = { Test: ['CMD', 'false'], Interval: 1e9, Retries: 2 }

for (const [action, story] of [
  ['none', ['health_status: unhealthy']],
  ['kill', ['health_status: unhealthy', 'kill', 'die']],
  ['stop', ['health_status: unhealthy', 'kill', 'die', 'stop']],
  ['restart', ['health_status: unhealthy', 'kill', 'die', 'stop', 'start', 'restart']],
] as const) {
  test(`a health that fails with on-failure ${action}: ${story.join(', ')}`, async () => {
    const clock = virtualClock()
    await using w = await world({ clock })
    const seen: string[] = []
    const { id } = await w.containers.create(spec(['wait'], { healthcheck: failing, healthOnFailure: action }))
    await w.containers.start(id)
    const controller = new AbortController()
    const reading = (async () => {
      for await (const { type, action: told } of w.events.subscribe({ signal: controller.signal })) if (type === 'container' && !told.startsWith('exec_')) seen.push(told)
    })()
    await passUntil(clock, async () => seen.length >= story.length)
    controller.abort()
    await reading
    assert.deepEqual(seen, story)
    const { state } = await w.containers.inspect(id)
    assert.equal(state.status, action === 'none' || action === 'restart' ? 'running' : 'exited')
    assert.equal(state.health?.status, action === 'restart' ? 'starting' : 'unhealthy')
    if (state.status === 'running') await w.containers.kill(id, 'KILL')
  })
}

test('health rests while the container is paused, and outlives a restart of the engine', async () => {
  const clock = virtualClock()
  const first = await world({ clock })
  const { id } = await first.containers.create(spec(['wait'], { healthcheck: failing }))
  await first.containers.start(id)
  await first.containers.pause(id)
  await clock.advance(10_000)
  assert.deepEqual((await first.containers.inspect(id)).state.health, { status: 'starting', failingStreak: 0, log: [] })
  await first.containers.unpause(id)
  await passUntil(clock, async () => (await first.containers.inspect(id)).state.health?.status === 'unhealthy')
  const before = (await first.containers.inspect(id)).state.health
  await first[Symbol.asyncDispose]()
  await using second = await world({ clock, runtime: first.runtime, stateDir: first.stateDir })
  assert.deepEqual((await second.containers.inspect(id)).state.health, before)
  await passUntil(clock, async () => ((await second.containers.inspect(id)).state.health?.failingStreak ?? 0) > 2)
  await second.containers.kill(id, 'KILL')
})

test('a first start that fails leaves those who wait for an exit waiting: the start has told it', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['nosuch']))
  const controller = new AbortController()
  const { result } = await w.containers.wait(id, 'next-exit', controller.signal)
  await assert.rejects(w.containers.start(id))
  controller.abort()
  await assert.rejects(result, (error) => isFault(error, 'canceled'))
})

test('a restart that waits counts already, is running to a start, and is ended by a stop', async () => {
  const clock = virtualClock()
  await using w = await world({ clock })
  const { id } = await w.containers.create(spec(['wait'], { restart: { name: 'always' } }))
  await w.containers.start(id)
  const { result } = await w.containers.wait(id, 'next-exit')
  w.runtime.crash(id, 5)
  await result
  const { state } = await w.containers.inspect(id)
  assert.equal(state.status, 'restarting')
  assert.equal(state.restartCount, 1)
  assert.equal(await w.containers.start(id), 'already')
  assert.equal(await w.containers.stop(id), 'stopped')
  assert.equal((await w.containers.inspect(id)).state.status, 'exited')
})

test('exec tells its start before it runs, and no death of what never lived', async () => {
  await using w = await world()
  const { id } = await w.containers.create(spec(['wait']))
  await w.containers.start(id)
  const controller = new AbortController()
  const events = w.events.subscribe({ signal: controller.signal })
  const { execId } = await w.containers.createExec(id, { command: ['nosuch'] })
  await assert.rejects(w.containers.startExec(execId))
  const { execId: second } = await w.containers.createExec(id, { command: ['echo', 'x'] })
  await (await w.containers.startExec(second)).exited
  controller.abort()
  const told: string[] = []
  for await (const { action } of events) told.push(action)
  assert.deepEqual(told, ['exec_create: nosuch ', 'exec_start: nosuch ', 'exec_create: echo x', 'exec_start: echo x', 'exec_die'])
  await w.containers.kill(id, 'KILL')
})
