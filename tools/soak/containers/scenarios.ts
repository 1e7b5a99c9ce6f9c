/**
 * What users do with a container, one story each: from its creation to its removal, on an engine that may be killed at any
 * moment. Each tells the ledger what the engine has acknowledged, and throws when the engine contradicts itself.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { EngineRefusal } from '../../../src/cli/docker/connection.ts'
import { numberAt, objectAt, objectOf, textAt } from '../../../src/cli/json.ts'
import type { SeededRandom } from '../../../src/sim/random.ts'
import { type Answer, type PatientClient, readToEnd } from './client.ts'

export const image = 'soak:busybox'

/** What the engine has told its clients. */
export interface Ledger {
  /** Containers that it said exist, by id, with the state they were left in. */
  readonly kept: Map<string, { readonly name: string; readonly state: 'created' | 'running' | 'exited' }>
  readonly removed: Set<string>
}

export interface Story {
  readonly client: PatientClient
  readonly random: SeededRandom
  readonly ledger: Ledger
  /** Unique: names of what it makes begin with it. */
  readonly name: string
}

type Config = Readonly<Record<string, unknown>>

const pollMs = 25

async function create({ client, name }: Story, config: Config, hostConfig: Config = {}): Promise<string> {
  const answer = await client.ask({ method: 'POST', path: '/containers/create', query: { name }, body: { Image: image, ...config, HostConfig: hostConfig } }, [409])
  if (answer.status === 200) return textAt(answer.body, 'Id')
  // The attempt that was cut off had made it.
  if (!answer.again) throw new Error(`create ${name}: ${answer.message}`)
  return textAt((await client.ask({ method: 'GET', path: `/containers/${name}/json` })).body, 'Id')
}

async function start({ client }: Story, id: string): Promise<Answer> {
  return await client.ask({ method: 'POST', path: `/containers/${id}/start` }, [400, 404, 500])
}

async function mustStart(story: Story, id: string): Promise<void> {
  const { status, message, again } = await start(story, id)
  if (status !== 200) throw new Error(`start ${story.name}: ${status} ${message}${again ? ' (again)' : ''}`)
}

async function inspect({ client }: Story, id: string): Promise<unknown> {
  return (await client.ask({ method: 'GET', path: `/containers/${id}/json` })).body
}

/** The exit code, as `docker wait` has it. */
async function waitExit({ client }: Story, id: string): Promise<number> {
  return numberAt((await client.ask({ method: 'POST', path: `/containers/${id}/wait` })).body, 'StatusCode')
}

async function remove(story: Story, id: string, query: Readonly<Record<string, string>> = {}): Promise<void> {
  for (;;) {
    const { status, message, again } = await story.client.ask({ method: 'DELETE', path: `/containers/${id}`, query }, [404, 409])
    if (status === 200 || (status === 404 && again)) break
    if (status === 404) throw new Error(`lost: ${story.name} (${id}) was told to exist and is gone`)
    // An attempt that was cut off is still at it.
    if (!/already in progress/.test(message)) throw new Error(`rm ${story.name}: ${message}`)
    await delay(pollMs)
  }
  story.ledger.removed.add(id)
}

function expect(what: string, found: unknown, wanted: unknown): void {
  if (found !== wanted) throw new Error(`${what}: ${String(found)}, expected ${String(wanted)}`)
}

/** `docker run --rm`: the wait comes before the start and ends with the removal. */
async function runRm(story: Story): Promise<void> {
  const { client, random, ledger } = story
  const code = random.int(4)
  const anonymous = random.chance(0.3) ? { Volumes: { '/data': {} } } : {}
  const id = await create(story, { Cmd: ['sh', '-c', `echo hello; exit ${code}`], ...anonymous }, { AutoRemove: true })
  const [started, { status, body, again }] = await Promise.all([start(story, id), client.ask({ method: 'POST', path: `/containers/${id}/wait`, query: { condition: 'removed' } }, [404])])
  if (started.status !== 200 && !(started.status === 404 && started.again)) throw new Error(`start ${story.name}: ${started.message}`)
  if (status === 200) expect(`exit code of ${story.name}`, numberAt(body, 'StatusCode'), code)
  else if (!again) throw new Error(`lost: ${story.name} before it was waited for`)
  ledger.removed.add(id)
}

async function runThenRemove(story: Story): Promise<void> {
  const code = story.random.int(4)
  const id = await create(story, { Cmd: ['sh', '-c', `echo ${story.name}; echo to-stderr >&2; exit ${code}`] })
  await mustStart(story, id)
  expect(`exit code of ${story.name}`, await waitExit(story, id), code)
  const log = await story.client.bytes({ method: 'GET', path: `/containers/${id}/logs`, query: { stdout: '1', stderr: '1' } })
  if (!log.includes(story.name) || !log.includes('to-stderr')) throw new Error(`log of ${story.name} lacks its output: ${JSON.stringify(log.toString())}`)
  await remove(story, id)
}

async function removeVolume({ client }: Story, name: string): Promise<void> {
  const { status, again } = await client.ask({ method: 'DELETE', path: `/volumes/${name}` }, [404])
  if (status === 404 && !again) throw new Error(`lost: volume ${name}`)
}

async function namedVolume(story: Story): Promise<void> {
  const { client, random, name } = story
  const volume = `${name}-data`
  const tmpfs = random.chance(0.3)
  await client.ask({ method: 'POST', path: '/volumes/create', body: { Name: volume, ...(tmpfs ? { DriverOpts: { type: 'tmpfs', device: 'tmpfs' } } : {}) } })
  const id = await create(story, { Cmd: ['sh', '-c', 'echo kept >/data/file; exec sleep 1000'] }, { Binds: [`${volume}:/data`] })
  await mustStart(story, id)
  await remove(story, id, { force: '1' })
  await removeVolume(story, volume)
}

async function anonymousVolume(story: Story): Promise<void> {
  const id = await create(story, { Cmd: ['true'], Volumes: { '/data': {}, '/more': {} } })
  if (story.random.chance(0.7)) {
    await mustStart(story, id)
    expect(`exit code of ${story.name}`, await waitExit(story, id), 0)
  }
  await remove(story, id, { v: '1' })
}

async function userNetwork(story: Story): Promise<void> {
  const { client, name } = story
  const made = await client.ask({ method: 'POST', path: '/networks/create', body: { Name: name, CheckDuplicate: true } }, [409])
  if (made.status === 409 && !made.again) throw new Error(`network ${name}: ${made.message}`)
  const id = await create(story, { Cmd: ['sleep', '1000'] }, { NetworkMode: name })
  await mustStart(story, id)
  if (story.random.chance(0.5)) await client.ask({ method: 'POST', path: '/networks/bridge/connect', body: { Container: id } }, [403, 409])
  await remove(story, id, { force: '1' })
  const gone = await client.ask({ method: 'DELETE', path: `/networks/${name}` }, [404])
  if (gone.status === 404 && !gone.again) throw new Error(`lost: network ${name}`)
}

async function publishedPort(story: Story): Promise<void> {
  const id = await create(story, { Cmd: ['sleep', '1000'], ExposedPorts: { '80/tcp': {} } }, { PortBindings: { '80/tcp': [{ HostPort: '' }], '53/udp': [{ HostIp: '127.0.0.1', HostPort: '' }] } })
  await mustStart(story, id)
  const ports = objectAt(objectAt(await inspect(story, id), 'NetworkSettings'), 'Ports')
  expect(`published ports of ${story.name}`, Object.values(ports).filter((bindings) => Array.isArray(bindings) && bindings.length > 0).length, 2)
  if (story.random.chance(0.5)) await story.client.ask({ method: 'POST', path: `/containers/${id}/restart`, query: { t: '0' } })
  await remove(story, id, { force: '1' })
}

async function execOnce(story: Story, id: string, tty: boolean): Promise<boolean> {
  const { client, name } = story
  const { body, status } = await client.ask({ method: 'POST', path: `/containers/${id}/exec`, body: { Cmd: ['sh', '-c', `echo ${name}; exit 3`], AttachStdout: true, AttachStderr: true, Tty: tty } })
  expect('exec create', status, 200)
  const execId = textAt(body, 'Id')
  const stream = await client.hijack({ method: 'POST', path: `/exec/${execId}/start`, body: { Detach: false, Tty: tty } })
  // Execs live in the engine's memory: one that died with it is made anew.
  if (stream === undefined || (stream instanceof EngineRefusal && stream.status === 404)) return false
  if (stream instanceof EngineRefusal) throw new Error(`exec in ${name}: ${stream.message}`)
  const output = await readToEnd(stream)
  const end = await client.ask({ method: 'GET', path: `/exec/${execId}/json` }, [404])
  if (output === undefined || end.status === 404) return false
  expect(`exit code of the exec in ${name}`, numberAt(end.body, 'ExitCode'), 3)
  if (!output.includes(name)) throw new Error(`exec in ${name} said ${JSON.stringify(output.toString())}`)
  return true
}

async function exec(story: Story): Promise<void> {
  const id = await create(story, { Cmd: ['sleep', '1000'] })
  await mustStart(story, id)
  const tty = story.random.chance(0.3)
  for (let attempt = 0; !(await execOnce(story, id, tty)); attempt += 1) if (attempt > 50) throw new Error(`exec in ${story.name} never came to its end`)
  const { body } = await story.client.ask({ method: 'POST', path: `/containers/${id}/exec`, body: { Cmd: ['sleep', '1000'] } })
  await story.client.ask({ method: 'POST', path: `/exec/${textAt(body, 'Id')}/start`, body: { Detach: true } }, [404, 409])
  await remove(story, id, { force: '1' })
}

async function health(story: Story): Promise<void> {
  const id = await create(story, { Cmd: ['sleep', '1000'], Healthcheck: { Test: ['CMD', 'true'], Interval: 100_000_000, Timeout: 5_000_000_000 } })
  await mustStart(story, id)
  const deadline = performance.now() + 60_000
  while (textAt(objectAt(objectAt(await inspect(story, id), 'State'), 'Health'), 'Status') !== 'healthy') {
    if (performance.now() > deadline) throw new Error(`${story.name} did not become healthy`)
    await delay(100)
  }
  await remove(story, id, { force: '1' })
}

async function attach(story: Story): Promise<void> {
  const { client, name } = story
  const id = await create(story, { Cmd: ['cat'], OpenStdin: true, StdinOnce: true, AttachStdin: true })
  const stream = await client.hijack({ method: 'POST', path: `/containers/${id}/attach`, query: { stream: '1', stdin: '1', stdout: '1', stderr: '1' } })
  if (stream instanceof EngineRefusal) throw new Error(`attach ${name}: ${stream.message}`)
  if (stream === undefined) return remove(story, id, { force: '1' })
  stream.on('error', () => stream.destroy())
  const started = await start(story, id)
  expect(`start of ${name}`, started.status, 200)
  stream.end(`${name}\n`)
  const output = await readToEnd(stream)
  if (output !== undefined && !started.again && output.length > 0 && !output.includes(name)) throw new Error(`${name} echoed ${JSON.stringify(output.toString())}`)
  await remove(story, id, { force: '1' })
}

async function kill(story: Story): Promise<void> {
  const id = await create(story, { Cmd: ['sleep', '1000'] })
  await mustStart(story, id)
  const { status, again, message } = await story.client.ask({ method: 'POST', path: `/containers/${id}/kill`, query: { signal: 'KILL' } }, [409])
  if (status === 409 && !again) throw new Error(`kill ${story.name}: ${message}`)
  expect(`exit code of ${story.name}`, await waitExit(story, id), 137)
  await remove(story, id)
}

async function stopAndRestart(story: Story): Promise<void> {
  const { client, random } = story
  const policy = random.pick(['no', 'always', 'unless-stopped'])
  const id = await create(story, { Cmd: ['sleep', '1000'] }, { RestartPolicy: { Name: policy } })
  await mustStart(story, id)
  if (random.chance(0.4)) {
    const paused = await client.ask({ method: 'POST', path: `/containers/${id}/pause` }, [409])
    if (paused.status === 409 && !paused.again) throw new Error(`pause ${story.name}: ${paused.message}`)
    const resumed = await client.ask({ method: 'POST', path: `/containers/${id}/unpause` }, [409])
    if (resumed.status === 409 && !resumed.again) throw new Error(`unpause ${story.name}: ${resumed.message}`)
  }
  if (random.chance(0.5)) await client.ask({ method: 'POST', path: `/containers/${id}/restart`, query: { t: '0' } })
  expect(`${story.name} runs`, textAt(objectAt(await inspect(story, id), 'State'), 'Status'), 'running')
  // `always` means: up again when the engine comes back, also after a stop.
  if (policy === 'always' || random.chance(0.5)) await remove(story, id, { force: '1' })
  else {
    await client.ask({ method: 'POST', path: `/containers/${id}/stop`, query: { t: '0' } }, [304])
    await remove(story, id)
  }
}

async function restartPolicy(story: Story): Promise<void> {
  const id = await create(story, { Cmd: ['sh', '-c', 'exit 1'] }, { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } })
  await mustStart(story, id)
  // A wait ends with the first exit; the policy goes on.
  expect(`exit code of ${story.name}`, await waitExit(story, id), 1)
  const deadline = performance.now() + 60_000
  while (textAt(objectAt(await inspect(story, id), 'State'), 'Status') !== 'exited') {
    if (performance.now() > deadline) throw new Error(`${story.name} did not come to its last exit`)
    await delay(pollMs)
  }
  await remove(story, id)
}

async function neverStarted(story: Story): Promise<void> {
  await remove(story, await create(story, { Cmd: ['true'] }))
}

async function startFails(story: Story): Promise<void> {
  const id = await create(story, { Cmd: ['/no/such/program'] })
  const { status } = await start(story, id)
  if (status === 200) throw new Error(`${story.name} started a program that is not there`)
  await remove(story, id)
}

/** Left behind on purpose: the engine must still know it at the end, whatever happened to it meanwhile. */
async function keep(story: Story): Promise<void> {
  const { ledger, name, random } = story
  const state = random.pick(['created', 'running', 'exited'] as const)
  const id = await create(story, { Cmd: state === 'running' ? ['sleep', '10000'] : ['sh', '-c', 'exit 5'] })
  if (state !== 'created') await mustStart(story, id)
  if (state === 'exited') expect(`exit code of ${name}`, await waitExit(story, id), 5)
  ledger.kept.set(id, { name, state })
}

const stories: readonly (readonly [weight: number, tell: (story: Story) => Promise<void>])[] = [
  [22, runRm], [14, runThenRemove], [8, namedVolume], [7, anonymousVolume], [7, userNetwork], [8, publishedPort], [8, exec], [3, health],
  [6, attach], [6, kill], [5, stopAndRestart], [2, restartPolicy], [2, neverStarted], [2, startFails], [1, keep],
]

export async function tellStory(story: Story): Promise<void> {
  let at = story.random.int(stories.reduce((sum, [weight]) => sum + weight, 0))
  for (const [weight, tell] of stories) {
    if (at < weight) return tell(story)
    at -= weight
  }
}

/** What was kept stands as it was left; nobody else is there. */
export async function verifyKept(client: PatientClient, ledger: Ledger): Promise<string[]> {
  const { body } = await client.ask({ method: 'GET', path: '/containers/json', query: { all: '1' } })
  const listed = new Map((Array.isArray(body) ? body : []).map((row: unknown) => [textAt(row, 'Id'), objectOf(row)]))
  const problems: string[] = []
  for (const [id, { name, state }] of ledger.kept) {
    const row = listed.get(id)
    if (row === undefined) problems.push(`lost: ${name} (${id}), left ${state}`)
    else if (textAt(row, 'State') !== state) problems.push(`${name} was left ${state} and is ${textAt(row, 'State')}`)
    else if (state === 'exited') {
      const code = numberAt(objectAt((await client.ask({ method: 'GET', path: `/containers/${id}/json` })).body, 'State'), 'ExitCode')
      if (code !== 5) problems.push(`${name} ended with 5 and is told to have ended with ${code}`)
    }
  }
  for (const [id, row] of listed) if (!ledger.kept.has(id)) problems.push(`${ledger.removed.has(id) ? 'back from the dead' : 'unknown container'}: ${id} ${JSON.stringify(row['Names'])} ${textAt(row, 'Status')}`)
  return problems
}

export async function removeKept(client: PatientClient, ledger: Ledger): Promise<void> {
  for (const id of ledger.kept.keys()) await client.ask({ method: 'DELETE', path: `/containers/${id}`, query: { force: '1', v: '1' } }, [404])
  ledger.kept.clear()
}
