/**
 * On a machine with a hybrid cgroup tree crun works only inside the run-time mount namespace: the runtime's tests once more,
 * in there. Also what the namespace itself promises.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import type { Kernel } from '#linux/contract/kernel.ts'
import type { RunResult } from '#linux/contract/processes.ts'
import { openKernel } from '#linux/real/kernel.ts'

const script = resolve(import.meta.dirname, '../../linux/real/enter-namespace.sh')
const hybrid = existsSync('/sys/fs/cgroup/unified/cgroup.controllers')
let kernel: Kernel & AsyncDisposable
let root: string

before(async () => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'cr-'))
  kernel = await openKernel()
})

after(async () => {
  const left = await kernel.processes.run(['sh', script, 'leave', join(root, 'run'), join(root, 'state')])
  assert.equal(left.exitCode, 0, left.stderr.toString())
  assert.deepEqual(await kernel.mounts.table(root), [])
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

async function inside(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<RunResult> {
  const result = await kernel.processes.run(['sh', script, 'enter', join(root, 'run'), join(root, 'state'), ...command], { env: { PATH: process.env['PATH'] ?? '', ...env }, timeoutMs: 120_000, maxOutputBytes: 4 << 20 })
  assert.equal(result.exitCode, 0, result.stdout.toString() + result.stderr.toString())
  return result
}

test('the namespace is the same at each entry, hides the v2 tree alone, and shares what is mounted below the state folder', { skip: !hybrid }, async () => {
  const own = async (): Promise<string> => (await inside(['/bin/readlink', '/proc/self/ns/mnt'])).stdout.toString()
  const first = await own()
  assert.equal(await own(), first)
  await inside(['/bin/sh', '-c', 'test ! -e /sys/fs/cgroup/unified/cgroup.controllers && test -e /sys/fs/cgroup/memory'])
  assert.ok(existsSync('/sys/fs/cgroup/unified/cgroup.controllers'))
  const target = join(root, 'state', 'seen')
  mkdirSync(target)
  await inside(['/bin/mount', '-t', 'tmpfs', 'tmpfs', target])
  assert.equal((await kernel.mounts.table(target)).length, 1)
  await kernel.mounts.unmount(target)
  assert.equal((await inside(['/bin/cat', '/proc/self/mounts'])).stdout.toString().includes(target), false)
})

test('containers run by crun in there', { skip: (!hybrid && 'no hybrid tree here: the runtime tests use crun already') || (!existsSync('/usr/bin/crun') && 'crun is not installed') }, async () => {
  const result = await inside([process.execPath, '--disable-warning=ExperimentalWarning', '--test', '--test-reporter=tap', join(import.meta.dirname, 'runtime.test.ts')], { BERTH_TEST_ROOT: root, BERTH_TEST_RUNTIME: 'crun' })
  assert.match(result.stdout.toString(), /^# fail 0$/m)
})
