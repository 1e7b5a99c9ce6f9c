/** On a hybrid cgroup tree only runc runs beside the v2 part; with that part out of sight the limits are proven with crun as well, as `berth up` uses it. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openKernel } from '#linux/real/kernel.ts'
import { busyboxMissing } from '../real-engine.fixture.ts'

const hybrid = existsSync('/sys/fs/cgroup/unified/cgroup.controllers')
const suites = readdirSync(import.meta.dirname).filter((name) => /^limits-.*\.test\.ts$/.test(name) && name !== 'limits-crun.test.ts').map((name) => join(import.meta.dirname, name))

test('every limit holds with crun too', { skip: busyboxMissing || (!hybrid && 'no hybrid tree here: the suites use crun already') || (!existsSync('/usr/bin/crun') && 'crun is not installed') }, async () => {
  await using kernel = await openKernel()
  const script = 'umount /sys/fs/cgroup/unified && exec "$@"'
  const argv = ['unshare', '--mount', '--propagation', 'private', '--', 'sh', '-c', script, 'sh', process.execPath, '--disable-warning=ExperimentalWarning', '--test', '--test-concurrency=1', '--test-reporter=tap', ...suites]
  const env = { PATH: process.env['PATH'] ?? '', BERTH_TEST_ROOT: process.env['BERTH_TEST_ROOT'] ?? '/tmp' }
  const { exitCode, stdout, stderr } = await kernel.processes.run(argv, { env, timeoutMs: 300_000, maxOutputBytes: 4 << 20 })
  assert.equal(exitCode, 0, `${stdout.toString()}${stderr.toString()}`)
  assert.match(stdout.toString(), /^# fail 0$/m)
})
