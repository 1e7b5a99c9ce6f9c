/** Resource limits, each seen from inside the container: what the kernel was told, and that it acts on it. Both cgroup versions. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { openKernel } from '#linux/real/kernel.ts'
import { busyboxMissing, field, messageOf, openRealEngine, type ApiClient, type RealEngine } from '../real-engine.fixture.ts'

const MB = 1 << 20
const disk = ['/dev/vda', '/dev/sda', '/dev/loop0'].find((path) => existsSync(path))

suite('resource limits', { skip: busyboxMissing }, () => {
  let real: RealEngine
  let client: ApiClient
  let v2 = false
  before(async () => {
    real = await openRealEngine(await openKernel(), { name: 'lres', subnet: '172.29.96.0/22' })
    client = real.client
    v2 = real.engine.host.cgroupMode === 'v2'
  })
  after(() => real[Symbol.asyncDispose]())

  /** Reads a limit inside: on v1 by controller, on v2 at the container's own root. */
  const limit = (v1: string, unified: string): string => `cat /sys/fs/cgroup/${v2 ? unified : v1}`
  const seen = (script: string, host: object = {}, config: object = {}): Promise<string> => client.seen(script, host, config)

  test('memory, swap and reservation stand in the cgroup', async () => {
    const host = { Memory: 64 * MB, MemorySwap: 96 * MB, MemoryReservation: 32 * MB }
    assert.equal(await seen(limit('memory/memory.limit_in_bytes', 'memory.max'), host), String(64 * MB))
    assert.equal(await seen(limit('memory/memory.memsw.limit_in_bytes', 'memory.swap.max'), host), String((v2 ? 32 : 96) * MB))
    assert.equal(await seen(limit('memory/memory.soft_limit_in_bytes', 'memory.low'), host), String(32 * MB))
  })

  test('a process above its memory is killed and the container says so', async () => {
    const id = await client.start('dd if=/dev/zero of=/dev/null bs=64M count=1', { Memory: 10 * MB, MemorySwap: 10 * MB })
    await client.call('POST', `/containers/${id}/wait`)
    const { body } = await client.call('GET', `/containers/${id}/json`)
    assert.equal(field(field(body, 'State'), 'ExitCode'), 137)
    assert.equal(field(field(body, 'State'), 'OOMKilled'), true)
    await client.remove(id)
  })

  test('without the OOM killer an allocation waits instead of dying', { skip: existsSync('/sys/fs/cgroup/cgroup.controllers') ? 'cgroup v2 has no such switch' : false }, async () => {
    assert.match(await seen('head -1 /sys/fs/cgroup/memory/memory.oom_control', { OomKillDisable: true, Memory: 16 * MB }), /oom_kill_disable 1/)
  })

  test('cgroup v2 drops what it has not, with a warning', { skip: existsSync('/sys/fs/cgroup/cgroup.controllers') ? false : 'this machine has cgroup v1' }, async () => {
    const { warnings, exitCode } = await client.run('true', { OomKillDisable: true, Memory: 16 * MB, MemorySwappiness: 10 })
    assert.equal(exitCode, 0)
    assert.equal(warnings.length, 2)
  })

  test('no more processes than the limit can be made', async () => {
    assert.equal(await seen(limit('pids/pids.max', 'pids.max'), { PidsLimit: 20 }), '20')
    const output = await seen('for i in $(seq 1 40); do sleep 5 & done 2>&1; jobs | wc -l', { PidsLimit: 20 })
    assert.match(output, /can't fork|Resource temporarily unavailable/)
  })

  test('a fraction of a CPU is throttled', async () => {
    const quota = v2 ? 'cat /sys/fs/cgroup/cpu.max' : 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us'
    assert.deepEqual((await seen(quota, { NanoCpus: 100_000_000 })).split(/\s+/), ['10000', '100000'])
    const spin = `i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; grep nr_throttled /sys/fs/cgroup/${v2 ? '' : 'cpu/'}cpu.stat`
    assert.ok(Number((await seen(spin, { NanoCpus: 100_000_000 })).split(' ')[1]) > 0)
  })

  test('shares, quota, period and cpuset stand in the cgroup', async () => {
    assert.equal(await seen(limit('cpu/cpu.shares', 'cpu.weight'), { CpuShares: 512 }), v2 ? '20' : '512')
    assert.deepEqual((await seen(v2 ? 'cat /sys/fs/cgroup/cpu.max' : 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us', { CpuQuota: 20_000, CpuPeriod: 50_000 })).split(/\s+/), ['20000', '50000'])
    assert.match(await seen('grep Cpus_allowed_list /proc/self/status; grep Mems_allowed_list /proc/self/status', { CpusetCpus: '0', CpusetMems: '0' }), /^Cpus_allowed_list:\t0\nMems_allowed_list:\t0$/)
  })

  test('rates of block devices stand in the cgroup', { skip: disk === undefined ? 'this machine has no block device' : false }, async () => {
    const host = { BlkioDeviceReadBps: [{ Path: disk, Rate: MB }], BlkioDeviceWriteBps: [{ Path: disk, Rate: 2 * MB }], BlkioDeviceReadIOps: [{ Path: disk, Rate: 100 }], BlkioDeviceWriteIOps: [{ Path: disk, Rate: 200 }] }
    const files = v2 ? 'io.max' : 'blkio/blkio.throttle.read_bps_device blkio/blkio.throttle.write_bps_device blkio/blkio.throttle.read_iops_device blkio/blkio.throttle.write_iops_device'
    const output = await seen(`cd /sys/fs/cgroup && cat ${files}`, host)
    assert.match(output, v2 ? /rbps=1048576 wbps=2097152 riops=100 wiops=200/ : /^\d+:\d+ 1048576\n\d+:\d+ 2097152\n\d+:\d+ 100\n\d+:\d+ 200$/)
  })

  test('ulimits hold; one above what this machine can give is lowered with a warning', async () => {
    assert.equal(await seen('ulimit -n; ulimit -Hn; ulimit -c', { Ulimits: [{ Name: 'nofile', Soft: 100, Hard: 200 }, { Name: 'core', Soft: 0, Hard: 0 }] }), '100\n200\n0')
    const ceiling = real.engine.host.rlimitCeilings.get('RLIMIT_NOFILE')
    const { warnings, output } = await client.run('ulimit -Hn', { Ulimits: [{ Name: 'nofile', Soft: 1000, Hard: 1_000_000 }] })
    assert.equal(output.trim(), String(ceiling ?? 1_000_000))
    assert.equal(warnings.length, ceiling === undefined ? 0 : 1)
  })

  test('an OOM score is given', async () => {
    assert.equal(await seen('cat /proc/self/oom_score_adj', { OomScoreAdj: 500 }), '500')
  })

  test('what no kernel would take is refused before anything is made', async () => {
    const refused: readonly (readonly [object, RegExp])[] = [
      [{ Memory: 1000 }, /^Minimum memory limit allowed is 6MB$/],
      [{ Memory: 64 * MB, MemorySwap: 32 * MB }, /^Minimum memoryswap limit should be larger than memory limit, see usage$/],
      [{ MemorySwap: 64 * MB }, /^You should always set the Memory limit when using Memoryswap limit, see usage$/],
      [{ Memory: 16 * MB, MemoryReservation: 32 * MB }, /^Minimum memory limit can not be less than memory reservation limit, see usage$/],
      [{ NanoCpus: 1e12 }, /^Range of CPUs is from 0.01 to \d+.00, as there are only \d+ CPUs available$/],
      [{ CpusetCpus: '0-4000' }, /^Requested CPUs are not available - requested 0-4000, available: /],
      [{ CpusetMems: 'x' }, /^Invalid value x for cpuset mems: invalid format: x$/],
      [{ OomScoreAdj: 2000 }, /^Invalid value 2000, range for oom score adj is \[-1000, 1000\]$/],
      [{ Ulimits: [{ Name: 'nofile', Soft: 20, Hard: 10 }] }, /ulimit soft limit must be less than or equal to hard limit: 20 > 10/],
    ]
    for (const [host, words] of refused) {
      const { created, refusal } = await client.run('true', host)
      assert.equal(created.status, 400, JSON.stringify(host))
      assert.match(refusal, words)
    }
    assert.deepEqual(real.engine.containers.list(), [])
  })

  test('an update changes the limits of a running container, and the next inspect shows them', async () => {
    const id = await client.start('sleep 1000', { Memory: 64 * MB })
    const update = (body: object): ReturnType<ApiClient['call']> => client.call('POST', `/containers/${id}/update`, body)
    const inside = (v1: string, unified: string): Promise<string> => client.exec(id, limit(v1, unified)).then((text) => text.trim())
    assert.deepEqual(await update({ Memory: 96 * MB, MemorySwap: 192 * MB, MemoryReservation: 24 * MB, CpuShares: 256, CpusetCpus: '0', PidsLimit: 33 }), { status: 200, body: { Warnings: [] } })
    assert.equal(await inside('memory/memory.limit_in_bytes', 'memory.max'), String(96 * MB))
    assert.equal(await inside('memory/memory.memsw.limit_in_bytes', 'memory.swap.max'), String((v2 ? 96 : 192) * MB))
    assert.equal(await inside('memory/memory.soft_limit_in_bytes', 'memory.low'), String(24 * MB))
    assert.equal(await inside('cpu/cpu.shares', 'cpu.weight'), v2 ? '10' : '256')
    assert.equal(await inside('cpuset/cpuset.cpus', 'cpuset.cpus'), '0')
    assert.equal(await inside('pids/pids.max', 'pids.max'), '33')
    assert.equal((await update({ NanoCpus: 250_000_000, PidsLimit: -1 })).status, 200)
    assert.equal((await inside('cpu/cpu.cfs_quota_us', 'cpu.max')).split(' ')[0], '25000')
    assert.equal(await inside('pids/pids.max', 'pids.max'), 'max')
    const host = field((await client.call('GET', `/containers/${id}/json`)).body, 'HostConfig')
    assert.deepEqual(['Memory', 'MemorySwap', 'MemoryReservation', 'CpuShares', 'CpusetCpus', 'NanoCpus', 'PidsLimit'].map((name) => field(host, name)), [96 * MB, 192 * MB, 24 * MB, 256, '0', 250_000_000, 0])
    const conflict = await update({ CpuQuota: 20_000 })
    assert.equal(conflict.status, 409)
    assert.match(messageOf(conflict.body), /^Cannot update container [0-9a-f]{64}: Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set$/)
    assert.match(messageOf((await update({ Memory: 512 * MB })).body), /Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time$/)
    await client.remove(id)
  })
})
