/**
 * What every `PodRuntime` promises (`runtime.ts`), as tests: run by the simulated one and by the engine's pods on the real
 * kernel. The maker says which image is there and which commands do what is needed.
 */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { isFault } from '#base/fault.ts'
import type { ContainerConfig, ContainerStatus, PodRuntime, RuntimeEvent, SandboxConfig, SandboxStatus } from './runtime.ts'

export interface RuntimeUnderTest extends AsyncDisposable {
  readonly runtime: PodRuntime
  /** A reference that is on this machine. */
  readonly image: string
  /** Runs until stopped, ends with 0 on SIGTERM. */
  readonly runs: readonly string[]
  /** Runs and ignores SIGTERM. */
  readonly stubborn: readonly string[]
  /** Resolves when the command has set up what it does with SIGTERM: a signal before that says nothing about it. */
  readonly listens?: (containerId: string) => Promise<void>
  /** Ends at once with code 7. */
  readonly endsWithSeven: readonly string[]
  /** Cannot be started: there is no such file. */
  readonly missing: readonly string[]
  /** Executed in a running container: prints `out` and a newline, `err` to standard error, ends with 3. */
  readonly speaks: readonly string[]
  readonly logRoot: string
  /** A second view of the same pods, as after a restart of the agent and of whatever carries the runtime. */
  reopened(): Promise<PodRuntime>
}

export function podRuntimeSuite(name: string, make: () => Promise<RuntimeUnderTest>): void {
  let under: RuntimeUnderTest
  let runtime: PodRuntime
  let count = 0

  before(async () => {
    under = await make()
    runtime = under.runtime
  })

  after(() => under[Symbol.asyncDispose]())

  afterEach(async () => {
    for (const { id } of await runtime.sandboxes()) await runtime.removeSandbox(id)
  })

  const sandboxConfig = (): SandboxConfig => {
    count += 1
    const pod = { namespace: 'default', name: `suite-${count}`, uid: `suite-uid-${count}` }
    return {
      pod, attempt: 0, hostname: pod.name, labels: { app: 'suite' }, annotations: { note: 'kept' }, hostNetwork: false, hostPid: false, hostIpc: false, shareProcessNamespace: false,
      sysctls: {}, logDirectory: `${under.logRoot}/${pod.uid}`, cgroupParent: `kubepods/pod${pod.uid}`, hostPorts: [],
    }
  }

  const containerConfig = (command: readonly string[], more: Partial<ContainerConfig> = {}): ContainerConfig => ({
    name: 'main', attempt: 0, image: under.image, imageReference: under.image, command, env: [], mounts: [], resources: {},
    security: { privileged: false, readOnlyRootFilesystem: false, noNewPrivileges: false, supplementalGroups: [], capabilities: { add: [], drop: [] }, seccomp: { type: 'RuntimeDefault' }, unmaskedProc: false },
    tty: false, stdin: false, stdinOnce: false, logPath: 'main/0.log', labels: { part: 'main' }, annotations: { restart: '0' }, ...more,
  })

  const started = async (command: readonly string[]): Promise<{ sandbox: SandboxStatus; id: string }> => {
    const sandbox = await runtime.runSandbox(sandboxConfig())
    const id = await runtime.createContainer(sandbox.id, containerConfig(command))
    await runtime.startContainer(id)
    return { sandbox, id }
  }

  /** Waits for the exit by events, looking before and after each. */
  const exited = async (id: string): Promise<ContainerStatus> => {
    const stop = new AbortController()
    const events = runtime.events(stop.signal)[Symbol.asyncIterator]()
    try {
      for (let next = events.next(); ; next = events.next()) {
        const status = await runtime.container(id)
        if (status.state === 'exited') return status
        await next
      }
    } finally {
      stop.abort()
    }
  }

  test(`${name}: a sandbox has an address of its own, is listed with its labels, and is not made twice`, async () => {
    const config = sandboxConfig()
    const first = await runtime.runSandbox(config)
    const second = await runtime.runSandbox(sandboxConfig())
    assert.equal(first.state, 'ready')
    assert.match(first.ips[0] ?? '', /^\d+\.\d+\.\d+\.\d+$/)
    assert.notEqual(first.ips[0], second.ips[0])
    assert.deepEqual([first.pod, first.labels, first.annotations], [config.pod, config.labels, config.annotations])
    assert.deepEqual((await runtime.sandboxes()).map(({ id }) => id).sort(), [first.id, second.id].sort())
    await assert.rejects(runtime.runSandbox(config), (error) => isFault(error, 'alreadyExists'))
  })

  test(`${name}: a stopped sandbox has no address and stays listed until removed; both calls are idempotent`, async () => {
    const { sandbox, id } = await started(under.runs)
    await runtime.stopSandbox(sandbox.id)
    await runtime.stopSandbox(sandbox.id)
    const status = await runtime.sandbox(sandbox.id)
    assert.deepEqual([status.state, status.ips], ['notReady', []])
    assert.equal((await runtime.container(id)).state, 'exited')
    await runtime.removeSandbox(sandbox.id)
    await runtime.removeSandbox(sandbox.id)
    await assert.rejects(runtime.sandbox(sandbox.id), (error) => isFault(error, 'notFound'))
    await assert.rejects(runtime.container(id), (error) => isFault(error, 'notFound'))
  })

  test(`${name}: a container goes from created over running to exited, with its code, and stays listed`, async () => {
    const sandbox = await runtime.runSandbox(sandboxConfig())
    const id = await runtime.createContainer(sandbox.id, containerConfig(under.endsWithSeven))
    assert.match(id, /^[0-9a-f]{64}$/)
    assert.equal((await runtime.container(id)).state, 'created')
    await assert.rejects(runtime.createContainer(sandbox.id, containerConfig(under.runs)), (error) => isFault(error, 'alreadyExists'))
    await runtime.startContainer(id)
    const status = await exited(id)
    assert.equal(status.exitCode, 7)
    // A file's time tells the end, the clock tells the start: the two may differ by a tick or more.
    const tickMs = 500
    assert.ok((status.startedAtMs ?? 0) >= status.createdAtMs - tickMs && (status.finishedAtMs ?? 0) >= (status.startedAtMs ?? 0) - tickMs)
    assert.deepEqual([status.name, status.attempt, status.imageReference, status.labels['part'], status.annotations['restart']], ['main', 0, under.image, 'main', '0'])
    assert.ok(status.logPath.endsWith('/main/0.log'))
    assert.equal((await runtime.containers()).length, 1)
    await runtime.removeContainer(id)
    await runtime.removeContainer(id)
    assert.deepEqual(await runtime.containers(), [])
  })

  test(`${name}: stopping asks first and kills after the grace; stopping again is success`, async () => {
    const polite = await started(under.runs)
    await under.listens?.(polite.id)
    await runtime.stopContainer(polite.id, { graceMs: 10_000 })
    assert.equal((await runtime.container(polite.id)).exitCode, 0)
    await runtime.stopContainer(polite.id, { graceMs: 0 })
    const stubborn = await started(under.stubborn)
    await under.listens?.(stubborn.id)
    await runtime.stopContainer(stubborn.id, { graceMs: 200 })
    assert.equal((await runtime.container(stubborn.id)).exitCode, 137)
    await runtime.stopContainer('0'.repeat(64), { graceMs: 0 })
  })

  test(`${name}: a command that is not there is refused at the start, and the container is listed as exited`, async () => {
    const sandbox = await runtime.runSandbox(sandboxConfig())
    const id = await runtime.createContainer(sandbox.id, containerConfig(under.missing))
    await assert.rejects(runtime.startContainer(id), (error) => isFault(error))
    const status = await runtime.container(id)
    assert.equal(status.state, 'exited')
    assert.ok([126, 127, 128].includes(status.exitCode ?? 0), `exit code ${status.exitCode}`)
  })

  test(`${name}: a command is run in a running container only, and answers its streams and its code`, async () => {
    const { id } = await started(under.runs)
    const { exitCode, stdout, stderr } = await runtime.runCommand(id, under.speaks)
    assert.deepEqual([exitCode, stdout.toString(), stderr.toString().trim()], [3, 'out\n', 'err'])
    await runtime.stopContainer(id, { graceMs: 0 })
    await assert.rejects(runtime.runCommand(id, under.speaks), (error) => isFault(error, 'conflict'))
  })

  test(`${name}: exec gives the streams that were asked for and the exit code`, async () => {
    const { id } = await started(under.runs)
    const session = await runtime.exec(id, { command: under.speaks, tty: false, stdin: false, stdout: true, stderr: true })
    const read = async (stream: AsyncIterable<unknown> | undefined): Promise<string> => {
      let text = ''
      for await (const chunk of stream ?? []) text += String(chunk)
      return text
    }
    assert.deepEqual((await Promise.all([read(session.stdout), read(session.stderr)])).map((text) => text.trim()), ['out', 'err'])
    assert.equal(await session.exit, 3)
  })

  test(`${name}: events tell of starts, exits and stopped sandboxes, and end quietly with their signal`, async () => {
    const stop = new AbortController()
    const seen: RuntimeEvent[] = []
    const reading = (async (): Promise<void> => {
      for await (const event of runtime.events(stop.signal)) {
        seen.push(event)
        if (event.kind === 'sandboxStopped') stop.abort()
      }
    })()
    const { sandbox, id } = await started(under.endsWithSeven)
    await exited(id)
    await runtime.stopSandbox(sandbox.id)
    await reading
    assert.ok(seen.some((event) => event.kind === 'exited' && event.containerId === id && event.podUid === sandbox.pod.uid))
    assert.ok(seen.some((event) => event.kind === 'sandboxStopped' && event.sandboxId === sandbox.id))
  })

  test(`${name}: after a restart everything is listed as it was, and what runs runs on`, async () => {
    const { sandbox, id } = await started(under.runs)
    const before = await runtime.container(id)
    runtime = await under.reopened()
    const after = await runtime.container(id)
    assert.deepEqual([after.state, after.startedAtMs, after.labels, after.attempt], ['running', before.startedAtMs, before.labels, 0])
    assert.deepEqual((await runtime.sandbox(sandbox.id)).ips, sandbox.ips)
    await runtime.stopContainer(id, { graceMs: 10_000 })
    assert.equal((await runtime.container(id)).exitCode, 0)
  })

  test(`${name}: images are found by reference and by id, and an unknown one is undefined`, async () => {
    const image = await runtime.imageStatus(under.image)
    assert.match(image?.id ?? '', /^sha256:[0-9a-f]{64}$/)
    assert.equal((await runtime.imageStatus(image?.id ?? ''))?.id, image?.id)
    assert.equal(await runtime.imageStatus('localhost:1/none/at:all'), undefined)
    const sandbox = await runtime.runSandbox(sandboxConfig())
    await assert.rejects(runtime.createContainer(sandbox.id, containerConfig(under.runs, { image: 'localhost:1/none/at:all' })), (error) => isFault(error, 'notFound'))
  })
}
