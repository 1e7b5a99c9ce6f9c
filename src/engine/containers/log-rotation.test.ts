/** Rotation with a real conmon: it goes on in the new file, nothing is lost or told twice to a follower, and the bounds hold. */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { sleep, systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { type ConmonRuntime, openRuntime } from '../runtime/conmon-runtime.ts'
import type { LogQuery } from '../contract/containers.ts'
import type { RuntimeSpec } from '../contract/runtime-spec.ts'
import { LogKeeper } from './log-keeper.ts'
import { readLog } from './log-reader.ts'

const cgroup = `berth-rot-${process.pid}`
let kernel: Kernel & AsyncDisposable
let root: string
let runtime: ConmonRuntime

before(async () => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'rot-'))
  for (const folder of ['proc', 'dev', 'bin']) mkdirSync(join(root, 'rootfs', folder), { recursive: true })
  copyFileSync('/bin/busybox', join(root, 'rootfs/bin/busybox'))
  for (const name of ['sh', 'usleep']) symlinkSync('busybox', join(root, 'rootfs/bin', name))
  kernel = await openKernel()
  runtime = await openRuntime({ kernel, facts: await kernel.probe(), runFolder: join(root, 'run'), cgroup, clock: systemClock, log: silentLogger })
})

after(async () => {
  runtime.close()
  await kernel.cgroups.remove(cgroup)
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

function writing(id: string, script: string): RuntimeSpec {
  return {
    ociVersion: '1.0.2',
    process: { args: ['sh', '-c', script], cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 }, terminal: false, capabilities: { bounding: [], effective: [], permitted: [] }, rlimits: [] },
    root: { path: join(root, 'rootfs') },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
    ],
    linux: { namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }, { type: 'network' }], cgroupsPath: `/${cgroup}/docker/${id}`, resources: {} },
  }
}

const all: LogQuery = { stdout: true, stderr: true, follow: true, signal: new AbortController().signal }
const bounds = { maxBytes: 20_000, maxFiles: 4, compress: true }

test('a container that logs for longer than its bound: a follower gets every line once, what is kept is the newest, and it is bounded', async () => {
  const id = 'd'.repeat(64)
  const folder = join(root, 'log')
  mkdirSync(folder)
  const path = join(folder, 'container.log')
  const lines = 3000
  await runtime.create({ id, spec: writing(id, `i=0; while [ $i -lt ${lines} ]; do i=$((i+1)); echo $i; [ $((i % 20)) = 0 ] && usleep 10000; done; exit 0`), stdin: 'none', logPath: path })
  const keeper = new LogKeeper({ clock: systemClock, runtime, log: silentLogger })
  const ended = Promise.withResolvers<void>()
  runtime.onExit(() => ended.resolve())
  const followed = (async () => {
    const numbers: number[] = []
    for await (const { data } of readLog(path, all, ended.promise)) numbers.push(Number(data.toString()))
    return numbers
  })()
  await runtime.start(id)
  keeper.start(id, path, bounds)
  await ended.promise
  await keeper.stop(id)
  await keeper.settle(path, bounds)
  assert.deepEqual(await followed, Array.from({ length: lines }, (_, index) => index + 1))
  const names = readdirSync(folder)
  assert.ok(names.filter((name) => name.endsWith('.gz')).length >= 2, names.join(' '))
  assert.ok(names.length <= bounds.maxFiles, names.join(' '))
  assert.ok(names.every((name) => statSync(join(folder, name)).size < 2 * bounds.maxBytes))
  const kept: number[] = []
  for await (const { data } of readLog(path, { ...all, follow: false })) kept.push(Number(data.toString()))
  assert.deepEqual(kept, Array.from({ length: kept.length }, (_, index) => lines - kept.length + index + 1))
  assert.ok(kept.length < lines)
  await keeper.close()
  await runtime.delete(id, { force: true })
})

test('a log that had outgrown its bound while we were down is rotated under a living container, which goes on in a new file', async () => {
  const id = 'e'.repeat(64)
  const folder = join(root, 'log2')
  mkdirSync(folder)
  const path = join(folder, 'container.log')
  await runtime.create({ id, spec: writing(id, 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo $i; done; while :; do echo more; usleep 10000; done'), stdin: 'none', logPath: path })
  await runtime.start(id)
  while (!existsSync(path) || statSync(path).size < 80_000) await sleep(systemClock, 5)
  const keeper = new LogKeeper({ clock: systemClock, runtime, log: silentLogger })
  keeper.start(id, path, { ...bounds, compress: false }, { adopted: true })
  while (!existsSync(`${path}.1`) || !existsSync(path) || statSync(path).size === 0) await sleep(systemClock, 5)
  assert.ok(statSync(path).size < statSync(`${path}.1`).size)
  await keeper.close()
  await runtime.delete(id, { force: true })
})
