/** Limits, membership and figures of control groups of both versions (cgroups(7), kernel admin-guide cgroup-v1 and cgroup-v2). */
import { existsSync } from 'node:fs'
import { errnoFault } from '../../contract/errno.ts'
import type { CgroupAbilities, CgroupLimits, CgroupMode, CgroupStats } from '../../contract/cgroups.ts'
import { libc } from '../libc.ts'
import { cgroupTree, groupFolder, groupFolders, groupsBelow, makeGroup, readGroupFile, removeGroup, writeGroupFile } from './cgroupTree.ts'

export function cgroupMode(): CgroupMode {
  return cgroupTree().mode
}

/** On v1 a limit exists where its file does; on v2 where its controller does. */
export function cgroupAbilities(): CgroupAbilities {
  const { mode, controllers, roots } = cgroupTree()
  if (mode === 'v2') return abilitiesV2(roots[0] ?? '')
  const has = (controller: string, file: string): boolean => existsSync(`${controllers.get(controller) ?? '/nowhere'}/${file}`)
  const cpuset = (file: string): string => readGroupFile(`${controllers.get('cpuset') ?? '/nowhere'}/${file}`)?.trim() ?? ''
  return {
    memory: has('memory', 'memory.limit_in_bytes'),
    swap: has('memory', 'memory.memsw.limit_in_bytes'),
    swappiness: has('memory', 'memory.swappiness'),
    reservation: has('memory', 'memory.soft_limit_in_bytes'),
    oomKillDisable: has('memory', 'memory.oom_control'),
    pids: controllers.has('pids'),
    cpuShares: has('cpu', 'cpu.shares'),
    cpuQuota: has('cpu', 'cpu.cfs_quota_us'),
    cpuRealtime: has('cpu', 'cpu.rt_runtime_us'),
    blkioWeight: has('blkio', 'blkio.weight'),
    blkioWeightDevice: has('blkio', 'blkio.weight_device'),
    blkioRates: has('blkio', 'blkio.throttle.read_bps_device'),
    cpuset: controllers.has('cpuset') ? { cpus: cpuset('cpuset.cpus'), mems: cpuset('cpuset.mems') } : undefined,
  }
}

function abilitiesV2(root: string): CgroupAbilities {
  const offered = new Set((readGroupFile(`${root}/cgroup.controllers`) ?? '').trim().split(' '))
  const io = offered.has('io')
  const memory = offered.has('memory')
  const cpu = offered.has('cpu')
  return {
    memory, swap: memory, reservation: memory,
    // v2 has neither per-group swappiness nor a switch for the OOM killer.
    swappiness: false, oomKillDisable: false,
    pids: offered.has('pids'), cpuShares: cpu, cpuQuota: cpu, cpuRealtime: false,
    blkioWeight: io, blkioWeightDevice: io, blkioRates: io,
    cpuset: offered.has('cpuset') ? { cpus: readGroupFile(`${root}/cpuset.cpus.effective`)?.trim() ?? '', mems: readGroupFile(`${root}/cpuset.mems.effective`)?.trim() ?? '' } : undefined,
  }
}

export function createCgroup(request: { readonly path: string; readonly limits?: CgroupLimits }): void {
  makeGroup(request.path)
  if (request.limits !== undefined) updateCgroup({ path: request.path, limits: request.limits })
}

interface Setting {
  readonly controller: string
  readonly file: string
  readonly value: string
}

function settingsV1(limits: CgroupLimits): Setting[] {
  const settings: Setting[] = []
  const add = (controller: string, file: string, value: number | bigint | string | undefined): void => {
    if (value !== undefined) settings.push({ controller, file, value: String(value) })
  }
  add('cpu', 'cpu.shares', limits.cpuShares)
  add('cpu', 'cpu.cfs_period_us', limits.cpuPeriodUs)
  add('cpu', 'cpu.cfs_quota_us', limits.cpuQuotaUs)
  add('cpuset', 'cpuset.cpus', limits.cpusetCpus)
  add('cpuset', 'cpuset.mems', limits.cpusetMems)
  add('memory', 'memory.limit_in_bytes', limits.memoryBytes)
  add('memory', 'memory.memsw.limit_in_bytes', limits.memorySwapBytes)
  add('memory', 'memory.soft_limit_in_bytes', limits.memoryReservationBytes)
  add('pids', 'pids.max', limits.pids === undefined ? undefined : limits.pids < 0n ? 'max' : limits.pids)
  return settings
}

function orMax(value: bigint | undefined): string | undefined {
  return value === undefined ? undefined : value < 0n ? 'max' : String(value)
}

function settingsV2(limits: CgroupLimits): Setting[] {
  const settings: Setting[] = []
  const add = (file: string, value: string | undefined): void => {
    if (value !== undefined) settings.push({ controller: '', file, value })
  }
  // The mapping that the OCI runtimes use between the two scales.
  if (limits.cpuShares !== undefined) add('cpu.weight', String(1 + Math.floor(((limits.cpuShares - 2) * 9999) / 262142)))
  if (limits.cpuQuotaUs !== undefined || limits.cpuPeriodUs !== undefined) {
    const quota = limits.cpuQuotaUs === undefined || limits.cpuQuotaUs < 0 ? 'max' : String(limits.cpuQuotaUs)
    add('cpu.max', `${quota} ${limits.cpuPeriodUs ?? 100_000}`)
  }
  add('cpuset.cpus', limits.cpusetCpus)
  add('cpuset.mems', limits.cpusetMems)
  add('memory.max', orMax(limits.memoryBytes))
  add('memory.low', orMax(limits.memoryReservationBytes))
  // v2 counts swap alone where Docker counts memory and swap together.
  if (limits.memorySwapBytes !== undefined) add('memory.swap.max', orMax(limits.memorySwapBytes < 0n ? -1n : limits.memorySwapBytes - (limits.memoryBytes ?? 0n)))
  add('pids.max', orMax(limits.pids))
  return settings
}

export function updateCgroup(request: { readonly path: string; readonly limits: CgroupLimits }): void {
  const settings = cgroupTree().mode === 'v2' ? settingsV2(request.limits) : settingsV1(request.limits)
  const failed: Setting[] = []
  for (const setting of settings) if (!tryApply(request.path, setting)) failed.push(setting)
  // Memory and memory+swap bound each other: which must go first depends on the direction, so a refused one gets a second try.
  for (const setting of failed) apply(request.path, setting)
}

function apply(path: string, setting: Setting): void {
  const folder = groupFolder(path, setting.controller)
  if (folder === undefined) throw errnoFault('EINVAL', `set ${setting.file} (this machine has no ${setting.controller} controller)`)
  if (!existsSync(folder)) throw errnoFault('ENOENT', `set ${setting.file} of the cgroup ${path}`)
  writeGroupFile(`${folder}/${setting.file}`, setting.value)
}

function tryApply(path: string, setting: Setting): boolean {
  if (!setting.file.startsWith('memory')) {
    apply(path, setting)
    return true
  }
  try {
    apply(path, setting)
    return true
  } catch {
    return false
  }
}

export function addToCgroup(request: { readonly path: string; readonly pid: number }): void {
  for (const folder of groupFolders(request.path)) writeGroupFile(`${folder}/cgroup.procs`, String(request.pid))
}

/**
 * Runs `fork` so that the child is born in `path`. v1 places single threads, so this thread goes there and comes back at
 * once (0.1 ms): a child is nowhere else for even a moment. v2 cannot, so there the child is moved after its birth.
 */
export function bornIn(path: string | undefined, fork: () => number): number {
  if (path === undefined) return fork()
  if (cgroupTree().mode === 'v2') {
    const pid = fork()
    addToCgroup({ path, pid })
    return pid
  }
  const back = homes()
  try {
    for (const folder of groupFolders(path)) writeGroupFile(`${folder}/tasks`, '0')
    return fork()
  } finally {
    for (const folder of back) writeGroupFile(`${folder}/tasks`, '0')
  }
}

/** The file that takes the main thread into the group where it is; on v2 the whole process, which is never split there. */
export function ownGroupFile(): string {
  return `${homes()[0] ?? ''}/${cgroupTree().mode === 'v2' ? 'cgroup.procs' : 'tasks'}`
}

/** The folder of this process's group (its main thread's, which never moves by our own doing) in each hierarchy. */
function homes(): string[] {
  const { mode, roots, controllers } = cgroupTree()
  const lines = (readGroupFile('/proc/self/cgroup') ?? '').split('\n').map((line) => line.split(':'))
  return roots.map((root) => {
    const line = lines.find(([, names = '']) => (mode === 'v2' ? names === '' : names.split(',').some((name) => controllers.get(name) === root)))
    return `${root}${line?.slice(2).join(':') ?? '/'}`
  })
}

export function cgroupPids(request: { readonly path: string }): number[] {
  const found = new Set<number>()
  for (const folder of [groupFolder(request.path, 'pids') ?? groupFolders(request.path)[0] ?? '']) {
    for (const group of groupsBelow(folder)) {
      for (const line of (readGroupFile(`${group}/cgroup.procs`) ?? '').split('\n')) if (line !== '') found.add(Number(line))
    }
  }
  return [...found]
}

const SIGKILL = 9
/** Rounds against a fork bomb on v1, which has no cgroup.kill. */
const killRounds = 50

export function killCgroup(request: { readonly path: string }): void {
  const folder = groupFolder(request.path, 'pids')
  if (cgroupTree().mode === 'v2' && folder !== undefined && existsSync(`${folder}/cgroup.kill`)) return writeGroupFile(`${folder}/cgroup.kill`, '1')
  const hit = new Set<number>()
  for (let round = 0; round < killRounds; round += 1) {
    const fresh = cgroupPids(request).filter((pid) => !hit.has(pid))
    if (fresh.length === 0) return
    for (const pid of fresh) {
      libc.kill(pid, SIGKILL)
      hit.add(pid)
    }
  }
}

export function freezeCgroup(request: { readonly path: string; readonly frozen: boolean }): void {
  const folder = groupFolder(request.path, 'freezer')
  if (folder === undefined || !existsSync(folder)) throw errnoFault('ENOENT', `freeze the cgroup ${request.path}`)
  if (cgroupTree().mode === 'v2') writeGroupFile(`${folder}/cgroup.freeze`, request.frozen ? '1' : '0')
  else writeGroupFile(`${folder}/freezer.state`, request.frozen ? 'FROZEN' : 'THAWED')
}

export function removeCgroup(request: { readonly path: string }): void {
  removeGroup(request.path)
}

type Figures = ReadonlyMap<string, bigint>

/** Lines `name value`. */
function figures(text: string | undefined): Figures {
  const found = new Map<string, bigint>()
  for (const line of (text ?? '').split('\n')) {
    const [name = '', value = ''] = line.split(' ')
    if (/^\d+$/.test(value)) found.set(name, BigInt(value))
  }
  return found
}

function figure(text: string | undefined): bigint | undefined {
  const value = text?.trim() ?? ''
  return /^\d+$/.test(value) ? BigInt(value) : undefined
}

export function cgroupStats(request: { readonly path: string }): CgroupStats {
  if (!groupFolders(request.path).some((folder) => existsSync(folder))) throw errnoFault('ENOENT', `read the figures of the cgroup ${request.path}`)
  return cgroupTree().mode === 'v2' ? statsV2(groupFolders(request.path)[0] ?? '') : statsV1(request.path)
}

const nsPerTick = 10_000_000n
/** v1 writes "no limit" as the largest page-aligned number. */
const unlimited = 1n << 60n

function statsV1(path: string): CgroupStats {
  const read = (controller: string, file: string): string | undefined => {
    const folder = groupFolder(path, controller)
    return folder === undefined ? undefined : readGroupFile(`${folder}/${file}`)
  }
  const cpu = figures(read('cpu', 'cpu.stat'))
  const account = figures(read('cpuacct', 'cpuacct.stat'))
  const memory = figures(read('memory', 'memory.stat'))
  const limit = figure(read('memory', 'memory.limit_in_bytes'))
  const peak = figure(read('memory', 'memory.max_usage_in_bytes'))
  const processors = read('cpuacct', 'cpuacct.usage_percpu')?.trim()
  return {
    cpuUsageNs: figure(read('cpuacct', 'cpuacct.usage')) ?? 0n,
    cpuUserNs: (account.get('user') ?? 0n) * nsPerTick,
    cpuSystemNs: (account.get('system') ?? 0n) * nsPerTick,
    ...(processors === undefined ? {} : { cpuPerProcessorNs: processors.split(/\s+/).map(BigInt) }),
    cpuPeriods: cpu.get('nr_periods') ?? 0n,
    cpuThrottledPeriods: cpu.get('nr_throttled') ?? 0n,
    cpuThrottledNs: cpu.get('throttled_time') ?? 0n,
    memoryUsageBytes: figure(read('memory', 'memory.usage_in_bytes')) ?? 0n,
    ...(peak === undefined ? {} : { memoryPeakBytes: peak }),
    memoryLimitBytes: limit === undefined || limit > unlimited ? undefined : limit,
    memoryInactiveFileBytes: memory.get('total_inactive_file') ?? 0n,
    memoryStat: Object.fromEntries(memory),
    oomKills: figures(read('memory', 'memory.oom_control')).get('oom_kill') ?? 0n,
    pids: figure(read('pids', 'pids.current')) ?? 0n,
    pidsLimit: figure(read('pids', 'pids.max')),
    io: ioV1(read('blkio', 'blkio.throttle.io_service_bytes_recursive'), read('blkio', 'blkio.throttle.io_serviced_recursive')),
  }
}

type Io = CgroupStats['io'][number]

/** Lines `8:0 Read 4096`. */
function ioV1(bytes: string | undefined, operations: string | undefined): Io[] {
  const values = new Map<string, bigint>()
  const devices = new Set<string>()
  const take = (kind: string, text: string | undefined): void => {
    for (const line of (text ?? '').split('\n')) {
      const [device = '', word = '', value = ''] = line.split(' ')
      if (!/^\d+:\d+$/.test(device) || !/^\d+$/.test(value)) continue
      devices.add(device)
      values.set(`${device} ${kind} ${word}`, BigInt(value))
    }
  }
  take('bytes', bytes)
  take('operations', operations)
  return [...devices].map((device) => {
    const [major, minor] = device.split(':').map(Number)
    const value = (key: string): bigint => values.get(`${device} ${key}`) ?? 0n
    return {
      major: major ?? 0,
      minor: minor ?? 0,
      readBytes: value('bytes Read'),
      writeBytes: value('bytes Write'),
      readOperations: value('operations Read'),
      writeOperations: value('operations Write'),
    }
  })
}

function statsV2(folder: string): CgroupStats {
  const read = (file: string): string | undefined => readGroupFile(`${folder}/${file}`)
  const cpu = figures(read('cpu.stat'))
  const memory = figures(read('memory.stat'))
  return {
    cpuUsageNs: (cpu.get('usage_usec') ?? 0n) * 1000n,
    cpuUserNs: (cpu.get('user_usec') ?? 0n) * 1000n,
    cpuSystemNs: (cpu.get('system_usec') ?? 0n) * 1000n,
    cpuPeriods: cpu.get('nr_periods') ?? 0n,
    cpuThrottledPeriods: cpu.get('nr_throttled') ?? 0n,
    cpuThrottledNs: (cpu.get('throttled_usec') ?? 0n) * 1000n,
    memoryUsageBytes: figure(read('memory.current')) ?? 0n,
    memoryLimitBytes: figure(read('memory.max')),
    memoryInactiveFileBytes: memory.get('inactive_file') ?? 0n,
    memoryStat: Object.fromEntries(memory),
    oomKills: figures(read('memory.events')).get('oom_kill') ?? 0n,
    pids: figure(read('pids.current')) ?? 0n,
    pidsLimit: figure(read('pids.max')),
    io: ioV2(read('io.stat')),
  }
}

/** Lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`. */
function ioV2(text: string | undefined): Io[] {
  return (text ?? '').split('\n').flatMap((line) => {
    const [device = '', ...pairs] = line.split(' ')
    const [major, minor] = device.split(':').map(Number)
    if (major === undefined || minor === undefined) return []
    const values = new Map(pairs.map((pair): [string, string] => [pair.split('=')[0] ?? '', pair.split('=')[1] ?? '0']))
    const value = (key: string): bigint => BigInt(values.get(key) ?? '0')
    return [{ major, minor, readBytes: value('rbytes'), writeBytes: value('wbytes'), readOperations: value('rios'), writeOperations: value('wios') }]
  })
}
