/** The runtime against real conmon and crun or runc: life, streams, exec, limits, and a restart of ours in the middle of it. */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { sleep, systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import type { ContainerExit, OutputChannel, OutputSink, RuntimeFailure } from '../contract/runtime.ts'
import type { ProcessSpec, RuntimeSpec } from '../contract/runtime-spec.ts'
import { type ConmonRuntime, openRuntime } from './conmon-runtime.ts'
import { imageChanged, imageOf } from './image-of.ts'

const cgroup = `berth-rt-${process.pid}`
let kernel: Kernel & AsyncDisposable
let root: string
let runtime: ConmonRuntime
let exits: Exits
let made: string[] = []

class Exits {
  readonly #seen = new Map<string, PromiseWithResolvers<ContainerExit>>()
  count = 0

  constructor(from: ConmonRuntime) {
    from.onExit((exit) => {
      this.count += 1
      this.#entry(exit.id).resolve(exit)
    })
  }

  #entry(id: string): PromiseWithResolvers<ContainerExit> {
    const entry = this.#seen.get(id) ?? Promise.withResolvers<ContainerExit>()
    this.#seen.set(id, entry)
    return entry
  }

  of(id: string): Promise<ContainerExit> {
    return this.#entry(id).promise
  }
}

async function open(): Promise<ConmonRuntime> {
  const opened = await openRuntime({ kernel, facts: await kernel.probe(), runFolder: join(root, 'run'), cgroup, clock: systemClock, log: silentLogger })
  exits = new Exits(opened)
  return opened
}

before(async () => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'rt-'))
  for (const folder of ['proc', 'dev', 'sys', 'bin', 'tmp']) mkdirSync(join(root, 'rootfs', folder), { recursive: true })
  copyFileSync('/bin/busybox', join(root, 'rootfs/bin/busybox'))
  for (const name of ['sh', 'cat', 'echo', 'sleep', 'true', 'id', 'stty', 'yes', 'head', 'kill', 'dd', 'sync']) symlinkSync('busybox', join(root, 'rootfs/bin', name))
  kernel = await openKernel()
  runtime = await open()
})

afterEach(async () => {
  for (const id of made) await runtime.delete(id, { force: true })
  made = []
})

after(async () => {
  runtime.close()
  await kernel.cgroups.remove(cgroup)
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

function processSpec(args: readonly string[], terminal = false): ProcessSpec {
  const all = ['CAP_KILL', 'CAP_CHOWN']
  return { args, cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 }, terminal, capabilities: { bounding: all, effective: all, permitted: all }, rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1_048_576, hard: 1_048_576 }] }
}

function spec(id: string, args: readonly string[], options: { readonly terminal?: boolean; readonly memoryBytes?: number } = {}): RuntimeSpec {
  return {
    ociVersion: '1.0.2',
    process: processSpec(args, options.terminal),
    root: { path: join(root, 'rootfs') },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance', 'ptmxmode=0666'] },
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs' },
    ],
    linux: {
      namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }, { type: 'network' }],
      cgroupsPath: `/${cgroup}/docker/${id}`,
      resources: options.memoryBytes === undefined ? {} : { memory: { limit: options.memoryBytes, swap: options.memoryBytes } },
    },
  }
}

let counter = 0

async function create(args: readonly string[], options: { readonly terminal?: boolean; readonly stdin?: 'none' | 'once' | 'open'; readonly memoryBytes?: number } = {}): Promise<string> {
  counter += 1
  const id = `${'c'.repeat(60)}${String(counter).padStart(4, '0')}`
  made.push(id)
  await runtime.create({ id, spec: spec(id, args, options), stdin: options.stdin ?? 'none', logPath: join(root, `${id}.log`) })
  return id
}

async function run(args: readonly string[], options: Parameters<typeof create>[1] = {}): Promise<string> {
  const id = await create(args, options)
  await runtime.start(id)
  return id
}

/** Collects what arrives; `until` resolves when the text does. */
class Collector implements OutputSink {
  readonly text: Record<OutputChannel, string> = { stdout: '', stderr: '' }
  #wake: () => void = () => undefined

  write(channel: OutputChannel, data: Buffer): void {
    this.text[channel] += data.toString('utf8')
    this.#wake()
  }

  async until(channel: OutputChannel, text: string): Promise<void> {
    while (!this.text[channel].includes(text)) await new Promise<void>((resolve) => (this.#wake = resolve))
  }
}

/** A new size reaches the terminal some time after `resize`, like any signal. */
function sizeIs(wanted: string): string {
  return `until [ "$(stty size 2>/dev/null)" = "${wanted}" ]; do sleep 0.01; done; stty size`
}

function failureOf(error: unknown): RuntimeFailure['kind'] | undefined {
  // The contract says what stands there.
  return isFault(error) ? (error.details['runtimeFailure'] as RuntimeFailure | undefined)?.kind : undefined
}

test('the runtime is the one that the caller expects', async () => {
  const { name, version, conmonVersion } = await runtime.info()
  assert.equal(name, process.env['BERTH_TEST_RUNTIME'] ?? name)
  assert.match(version, /^\d/)
  assert.match(conmonVersion, /^\d/)
})

test('a container runs, logs in CRI format, tells its exit code once and leaves nothing behind', async () => {
  const id = await run(['sh', '-c', 'echo out; echo err >&2; exit 7'])
  const exit = await exits.of(id)
  assert.equal(exit.exitCode, 7)
  assert.equal(exit.oomKilled, false)
  const log = readFileSync(join(root, `${id}.log`), 'utf8')
  assert.match(log, /^\S+ stdout F out$/m)
  assert.match(log, /^\S+ stderr F err$/m)
  await assert.rejects(runtime.signal(id, 15), (error) => isFault(error, 'conflict'))
  await runtime.delete(id)
  assert.equal(existsSync(join(root, 'run/b', id)), false)
  assert.deepEqual(readdirSync(join(root, 'run/oci')), [])
  await runtime.delete(id)
  await assert.rejects(runtime.start(id), (error) => isFault(error, 'notFound'))
})

test('an attachment made before the start misses no byte, keeps the channels apart, and half-close ends stdin', async () => {
  const id = await create(['sh', '-c', 'echo first; cat; echo done >&2'], { stdin: 'once' })
  const sink = new Collector()
  const attachment = await runtime.attach(id, sink)
  await runtime.start(id)
  await sink.until('stdout', 'first\n')
  attachment.stdin?.write('typed\n')
  await sink.until('stdout', 'typed\n')
  attachment.stdin?.end()
  await exits.of(id)
  await attachment.closed
  assert.deepEqual(sink.text, { stdout: 'first\ntyped\n', stderr: 'done\n' })
})

test('a megabyte in and out through the attach socket arrives whole', async () => {
  const id = await create(['cat'], { stdin: 'once' })
  let bytes = 0
  const attachment = await runtime.attach(id, { write: (_, data) => void (bytes += data.length) })
  await runtime.start(id)
  attachment.stdin?.end(Buffer.alloc(1_000_000, 'x'))
  await exits.of(id)
  await attachment.closed
  assert.equal(bytes, 1_000_000)
})

test('a terminal is resized, and everything comes as stdout', async () => {
  const id = await create(['sh', '-c', `${sizeIs('33 99')}; read line; echo err >&2`], { terminal: true, stdin: 'open' })
  const sink = new Collector()
  const attachment = await runtime.attach(id, sink)
  await runtime.start(id)
  await runtime.resize(id, { rows: 33, columns: 99 })
  attachment.stdin?.write('go\n')
  await exits.of(id)
  await attachment.closed
  assert.match(sink.text.stdout, /33 99\r\n/)
  assert.match(sink.text.stdout, /err\r\n/)
})

test('a missing executable, a folder and a bad working directory are told apart', async () => {
  await assert.rejects(create(['no-such-program']), (error) => failureOf(error) === 'executableNotFound')
  await assert.rejects(create(['/no/such/program']), (error) => failureOf(error) === 'executableNotFound')
  await assert.rejects(create(['/tmp']), (error) => failureOf(error) === 'permissionDenied')
  for (const id of made) assert.equal(existsSync(join(root, 'run/b', id)), false)
})

test('exec runs in the container, with streams, exit code and faults; a terminal exec knows its size', async () => {
  const id = await run(['sleep', '1000'])
  const sink = new Collector()
  const exec = await runtime.exec(id, { execId: 'e1', process: processSpec(['sh', '-c', 'cat; echo err >&2; exit 5']), stdin: true, sink })
  exec.attachment?.stdin?.end('hello')
  assert.equal(await exec.exited, 5)
  assert.deepEqual(sink.text, { stdout: 'hello', stderr: 'err\n' })
  const detached = await runtime.exec(id, { execId: 'e2', process: processSpec(['true']), stdin: false, sink: undefined })
  assert.equal(await detached.exited, 0)
  const screen = new Collector()
  const terminal = await runtime.exec(id, { execId: 'e3', process: processSpec(['sh', '-c', sizeIs('11 22')], true), stdin: true, sink: screen })
  await terminal.resize({ rows: 11, columns: 22 })
  assert.equal(await terminal.exited, 0)
  assert.match(screen.text.stdout, /11 22/)
  await assert.rejects(runtime.exec(id, { execId: 'e4', process: processSpec(['no-such-program']), stdin: false, sink: new Collector() }), (error) => failureOf(error) === 'executableNotFound')
  assert.deepEqual(readdirSync(join(root, 'run/b', id, 'exec')), [])
})

test('a container is removed whole while commands are about to run in it', async () => {
  for (let round = 0; round < 10; round += 1) {
    const id = await run(['sleep', '1000'])
    const execs = Array.from({ length: 4 }, (_, index) => runtime.exec(id, { execId: `e${index}`, process: processSpec(['true']), stdin: false, sink: new Collector() }).then(({ exited }) => exited))
    await Promise.all([runtime.delete(id, { force: true }), Promise.allSettled(execs)])
    assert.equal(existsSync(join(root, 'run/b', id)), false)
  }
})

test('an exec ends with its command though a process it left holds its output, and goes on when its client leaves', async () => {
  const id = await run(['sleep', '1000'])
  const sink = new Collector()
  const leaver = await runtime.exec(id, { execId: 'e1', process: processSpec(['sh', '-c', 'sleep 1000 & echo hi']), stdin: false, sink })
  assert.equal(await leaver.exited, 0)
  assert.equal(sink.text.stdout, 'hi\n')
  const left = await runtime.exec(id, { execId: 'e2', process: processSpec(['sh', '-c', 'read line; yes | head -c 300000; exit 6']), stdin: true, sink: new Collector() })
  left.attachment?.stdin?.write('go\n')
  left.attachment?.close()
  await left.attachment?.closed
  assert.equal(await left.exited, 6)
  assert.ok(left.pid > 1)
})

test('signals, pause, figures and limits', async () => {
  const id = await run(['sh', '-c', 'trap "exit 9" TERM; echo up; while true; do sleep 0.01; done'])
  await runtime.pause(id)
  await runtime.resume(id)
  const stats = await runtime.stats(id)
  assert.ok(stats.pids.current >= 1)
  assert.ok((await runtime.processes(id)).length >= 1)
  await runtime.update(id, { memory: { limit: 200 << 20, swap: 200 << 20 } })
  assert.equal((await runtime.stats(id)).memory.limitBytes, 200 << 20)
  // The trap is set before `up` is written.
  while (!existsSync(join(root, `${id}.log`)) || !readFileSync(join(root, `${id}.log`), 'utf8').includes('up')) await sleep(systemClock, 5)
  await runtime.signal(id, 15)
  assert.equal((await exits.of(id)).exitCode, 9)
})

test('a container over its memory limit is reported as killed for it', async () => {
  const id = await run(['dd', 'if=/dev/zero', 'of=/tmp/x', 'bs=1M', 'count=64'], { memoryBytes: 16 << 20 })
  const exit = await exits.of(id)
  assert.deepEqual([exit.exitCode, exit.oomKilled], [137, true])
})

test('the log is rotated while the container writes, and no line is lost', async () => {
  const id = await create(['sh', '-c', 'echo before; read line; echo after'], { stdin: 'once' })
  const log = join(root, `${id}.log`)
  const sink = new Collector()
  const attachment = await runtime.attach(id, sink)
  await runtime.start(id)
  await sink.until('stdout', 'before')
  while (!readFileSync(log, 'utf8').includes('before')) await sleep(systemClock, 5)
  await runtime.rotateLog(id, `${log}.1`)
  while (!existsSync(log)) await sleep(systemClock, 5)
  attachment.stdin?.write('go\n')
  await exits.of(id)
  assert.match(readFileSync(`${log}.1`, 'utf8'), /F before/)
  assert.match(readFileSync(log, 'utf8'), /F after/)
})

test('containers outlive the runtime object and are adopted: running, exited meanwhile, created, unknown', async () => {
  const running = await run(['sh', '-c', 'read line; exit 4'], { stdin: 'open' })
  const ends = await run(['sleep', '1000'])
  const created = await create(['sh', '-c', 'exit 3'])
  runtime.close()
  const before = exits
  const toldBefore = before.count
  await kernel.cgroups.kill(`${cgroup}/docker/${ends}`)
  while (!existsSync(join(root, 'run/b', ends, ends))) await sleep(systemClock, 5)
  runtime = await open()
  const found = new Map((await runtime.recover([running, ends, created, 'd'.repeat(64)])).map((one) => [one.id, one]))
  assert.equal(found.get(running)?.state, 'running')
  assert.equal(found.get(ends)?.state, 'exited')
  assert.equal(found.get(ends)?.exit?.exitCode, 137)
  assert.equal(found.get(created)?.state, 'created')
  assert.equal(found.get('d'.repeat(64))?.state, 'absent')
  const sink = new Collector()
  const attachment = await runtime.attach(running, sink)
  attachment.stdin?.write('go\n')
  assert.equal((await exits.of(running)).exitCode, 4)
  await runtime.start(created)
  assert.equal((await exits.of(created)).exitCode, 3)
  assert.equal(before.count, toldBefore)
})

/** A process that starts a container and then waits to be killed, as the node process may be at any instant. */
const shortLived = `
  const { systemClock } = await import(${JSON.stringify(import.meta.resolve('#base/clock.ts'))})
  const { silentLogger } = await import(${JSON.stringify(import.meta.resolve('#base/log.ts'))})
  const { openKernel } = await import(${JSON.stringify(import.meta.resolve('#linux/real/kernel.ts'))})
  const { openRuntime } = await import(${JSON.stringify(import.meta.resolve('./conmon-runtime.ts'))})
  const { create, ...options } = JSON.parse(process.argv[1])
  const kernel = await openKernel()
  const runtime = await openRuntime({ ...options, kernel, facts: await kernel.probe(), clock: systemClock, log: silentLogger })
  await runtime.create(create)
  await runtime.start(create.id)
  await runtime.exec(create.id, { execId: 'left', process: create.spec.process, stdin: false, sink: undefined })
  process.stdout.write('started')
  process.stdin.resume()`

test('a process of ours is killed: its container runs and logs on, and the next process adopts it', async () => {
  counter += 1
  const id = `${'c'.repeat(60)}${String(counter).padStart(4, '0')}`
  const logPath = join(root, `${id}.log`)
  const script = 'trap "exit 8" TERM; while true; do echo tick; sleep 0.01; done'
  const order = { runFolder: join(root, 'run'), cgroup, create: { id, stdin: 'none', logPath, spec: spec(id, ['sh', '-c', script]) } }
  const daemon = await kernel.processes.start([process.execPath, '--disable-warning=ExperimentalWarning', '--eval', `void (async () => {${shortLived}})()`, JSON.stringify(order)], { stdio: ['pipeIn', 'pipeOut', 'inherit'] })
  for await (const _ of daemon.stdio[1] ?? []) break
  await kernel.processes.kill(daemon.pid, 9)
  assert.equal((await daemon.exited).signal, 9)
  const size = readFileSync(logPath).length
  while (readFileSync(logPath).length === size) await sleep(systemClock, 5)
  made.push(id)
  assert.deepEqual((await runtime.recover([id])).map(({ state }) => state), ['running'])
  // The shell and the command that was started beside it.
  assert.ok((await runtime.processes(id)).length >= 2)
  await runtime.signal(id, 15)
  assert.equal((await exits.of(id)).exitCode, 8)
})

test('a container of which the kernel killed a process for want of memory says so, though it ended well itself', async () => {
  const id = await run(['sh', '-c', 'dd if=/dev/zero of=/dev/null bs=64M count=1; exit 0'], { memoryBytes: 16 << 20 })
  assert.deepEqual({ ...(await exits.of(id)), finishedAtNs: 0n }, { id, exitCode: 0, oomKilled: true, finishedAtNs: 0n })
})

test('a container that lives on is told of at once when the kernel kills a process of it for want of memory, each time, and after a restart of ours', async () => {
  const eat = 'dd if=/dev/zero of=/dev/null bs=64M count=1'
  // The kernel may tell of one kill twice: what counts is that some news comes after each.
  let told = 0
  let wake = (): void => undefined
  const listen = (of: string): Disposable => runtime.onOom((which) => {
    assert.equal(which, of)
    told += 1
    wake()
  })
  const toldAfter = async (before: number): Promise<void> => {
    while (told <= before) await new Promise<void>((resolve) => (wake = resolve))
  }
  const id = await create(['sh', '-c', `${eat}; echo first; read line; trap go=1 USR1; ${eat}; echo second; while [ -z "$go" ]; do sleep 0.05; done; ${eat}; read line; exit 3`], { stdin: 'open', memoryBytes: 16 << 20 })
  const listening = listen(id)
  const output = new Collector()
  const attachment = await runtime.attach(id, output)
  await runtime.start(id)
  await output.until('stdout', 'first')
  await toldAfter(0)
  const before = told
  attachment.stdin?.write('\n')
  await output.until('stdout', 'second')
  await toldAfter(before)
  listening[Symbol.dispose]()
  attachment.close()
  runtime.close()
  const kills = async (): Promise<bigint> => (await kernel.cgroups.stats(`${cgroup}/docker/${id}`)).oomKills
  const killsBefore = await kills()
  await kernel.processes.kill(Number(readFileSync(join(root, 'run', 'b', id, 'pid'), 'utf8')), 10)
  while ((await kills()) === killsBefore) await sleep(systemClock, 5)
  runtime = await open()
  const listeningAgain = listen(id)
  const atReturn = told
  assert.equal((await runtime.recover([id]))[0]?.state, 'running')
  await toldAfter(atReturn)
  const again = await runtime.attach(id, { write: () => undefined })
  again.stdin?.write('\n')
  assert.deepEqual({ ...(await exits.of(id)), finishedAtNs: 0n }, { id, exitCode: 3, oomKilled: true, finishedAtNs: 0n })
  listeningAgain[Symbol.dispose]()
})

test('a log that nobody rotates is begun anew at its ceiling', async () => {
  counter += 1
  const id = `${'c'.repeat(60)}${String(counter).padStart(4, '0')}`
  made.push(id)
  const logPath = join(root, `${id}.log`)
  await runtime.create({ id, spec: spec(id, ['sh', '-c', 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo $i; done']), stdin: 'none', logPath, logCeilingBytes: 10_000 })
  await runtime.start(id)
  await exits.of(id)
  const log = readFileSync(logPath, 'utf8')
  assert.ok(log.length <= 10_000)
  assert.match(log, / F 2000\n$/)
})

test('a signal waits until a process executes its own program, and not for one that is gone', async () => {
  const child = await kernel.processes.start(['/bin/sh', '-c', 'read line; exec sleep 1000'], { stdio: ['pipeIn', 'null', 'null'] })
  const before = (await imageOf(child.pid)) ?? ''
  let changed = false
  const waiting = imageChanged(systemClock, child.pid, before).then(() => (changed = true))
  await sleep(systemClock, 20)
  assert.equal(changed, false)
  child.stdio[0]?.write('go\n')
  await waiting
  assert.notEqual(await imageOf(child.pid), before)
  await kernel.processes.kill(child.pid, 9)
  await child.exited
  await imageChanged(systemClock, child.pid, before)
})

test('a signal sent at once after the start does not meet the runtime', async () => {
  for (let round = 0; round < 8; round += 1) {
    // pid 1 without a handler ignores it; runc, a Go program, would end with code 2.
    const id = await run(['sleep', '1000'])
    await runtime.signal(id, 15)
    assert.equal((await runtime.processes(id)).length, 1)
    await runtime.delete(id, { force: true })
    assert.equal((await exits.of(id)).exitCode, 137)
  }
})

test('a container whose conmon is killed is killed too and reported with 137', async () => {
  const id = await run(['sleep', '1000'])
  const [init = 0] = await runtime.processes(id)
  const conmon = Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1])
  await kernel.processes.kill(conmon, 9)
  const exit = await exits.of(id)
  assert.equal(exit.exitCode, 137)
  assert.equal(await kernel.processes.identify(init), undefined)
})

test('a running container is refused without force and removed with it; an id can be used again', async () => {
  const id = await run(['sleep', '1000'])
  await assert.rejects(runtime.delete(id), (error) => isFault(error, 'conflict'))
  await assert.rejects(runtime.create({ id, spec: spec(id, ['true']), stdin: 'none', logPath: undefined }), (error) => isFault(error, 'alreadyExists'))
  await runtime.delete(id, { force: true })
  renameSync(join(root, `${id}.log`), join(root, 'old.log'))
  await runtime.create({ id, spec: spec(id, ['sh', '-c', 'exit 2']), stdin: 'none', logPath: join(root, `${id}.log`) })
  await runtime.start(id)
  assert.ok((await exits.of(id)).exitCode >= 0)
})
