/** One sample of `docker stats` (Engine API `ContainerStats`): the runtime's counters, the host's CPU time, the interfaces' counters. */
import { readFile } from 'node:fs/promises'
import { rfc3339Nano } from '#base/clock.ts'
import { systemErrorCode } from '#base/fault.ts'
import type { Container } from '../contract/containers.ts'
import type { RuntimeStats } from '../contract/runtime.ts'
import type { EngineBackend } from './backend.ts'

export interface StatsSample {
  readonly json: object
  readonly readAt: string
  readonly cpu: object
}

const emptyCpu = { cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 }, throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 } }
const never = '0001-01-01T00:00:00Z'

export async function statsJson(backend: EngineBackend, id: string, previous: StatsSample | undefined): Promise<StatsSample> {
  const { containers, system, clock } = backend
  const container = await containers.inspect(id)
  const [stats, systemCpuNs, networks] = await Promise.all([containers.stats(id), systemCpuTimeNs(), ownsNetwork(container) ? networkCounters(container.state.pid) : undefined])
  const readAt = stats === undefined ? never : rfc3339Nano(clock.nowNs())
  const cpu = stats === undefined ? emptyCpu : cpuJson(stats, systemCpuNs, system.cpus)
  const json = {
    read: readAt,
    preread: previous?.readAt ?? never,
    pids_stats: stats === undefined ? {} : { current: stats.pids.current, ...(stats.pids.limit === undefined ? {} : { limit: stats.pids.limit }) },
    blkio_stats: blkioJson(stats),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpu,
    precpu_stats: previous?.cpu ?? emptyCpu,
    memory_stats: stats === undefined ? {} : memoryJson(stats, system.memoryBytes, system.cgroupMode === 'v2'),
    name: `/${container.name}`,
    id,
    ...(networks === undefined ? {} : { networks }),
  }
  return { json, readAt, cpu }
}

function cpuJson({ cpu }: RuntimeStats, systemCpuNs: bigint, cpus: number): object {
  return {
    cpu_usage: { total_usage: cpu.totalNs, ...(cpu.perProcessorNs === undefined ? {} : { percpu_usage: cpu.perProcessorNs.slice(0, cpus) }), usage_in_kernelmode: cpu.systemNs, usage_in_usermode: cpu.userNs },
    system_cpu_usage: systemCpuNs,
    online_cpus: cpus,
    throttling_data: { periods: cpu.periods, throttled_periods: cpu.throttledPeriods, throttled_time: cpu.throttledNs },
  }
}

function memoryJson({ memory }: RuntimeStats, hostBytes: number, v2: boolean): object {
  const limit = memory.limitBytes === undefined || memory.limitBytes > hostBytes ? hostBytes : memory.limitBytes
  return { usage: memory.usageBytes, ...(v2 || memory.maxUsageBytes === undefined ? {} : { max_usage: memory.maxUsageBytes }), stats: memory.counters, limit }
}

const blkioLists = ['io_service_bytes_recursive', 'io_serviced_recursive', 'io_queue_recursive', 'io_service_time_recursive', 'io_wait_time_recursive', 'io_merged_recursive', 'io_time_recursive', 'sectors_recursive']

function blkioJson(stats: RuntimeStats | undefined): object {
  if (stats === undefined) return Object.fromEntries(blkioLists.map((name) => [name, null]))
  const rows = stats.blockIo
  const entry = (value: (row: (typeof rows)[number]) => number): object[] => rows.map((row) => ({ major: row.major, minor: row.minor, op: row.op, value: value(row) }))
  return {
    io_service_bytes_recursive: entry(({ bytes }) => bytes),
    io_serviced_recursive: entry(({ operations }) => operations),
    io_queue_recursive: [],
    io_service_time_recursive: [],
    io_wait_time_recursive: [],
    io_merged_recursive: [],
    io_time_recursive: [],
    sectors_recursive: [],
  }
}

/** proc(5) /proc/stat counts in ticks of 10 ms; guest time is part of user time already. */
async function systemCpuTimeNs(): Promise<bigint> {
  const text = await readFile('/proc/stat', 'utf8')
  const ticks = text.slice(0, text.indexOf('\n')).trim().split(/\s+/).slice(1, 8)
  return ticks.reduce((sum, tick) => sum + BigInt(tick), 0n) * 10_000_000n
}

/** The host's interfaces, another container's or none are not its own. */
function ownsNetwork({ spec }: Container): boolean {
  return (spec.network?.mode ?? 'networks') === 'networks'
}

/** The interfaces that the container's process sees, without `lo`. */
async function networkCounters(pid: number): Promise<Record<string, object> | undefined> {
  if (pid === 0) return undefined
  let text: string
  try {
    text = await readFile(`/proc/${pid}/net/dev`, 'utf8')
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EINVAL') return undefined
    throw error
  }
  const networks: Record<string, object> = {}
  for (const line of text.split('\n').slice(2)) {
    const [name, counters] = line.split(':')
    if (name === undefined || counters === undefined || name.trim() === 'lo') continue
    const numbers = counters.trim().split(/\s+/).map(Number)
    const [rxBytes, rxPackets, rxErrors, rxDropped] = numbers
    const [txBytes, txPackets, txErrors, txDropped] = numbers.slice(8)
    networks[name.trim()] = { rx_bytes: rxBytes, rx_packets: rxPackets, rx_errors: rxErrors, rx_dropped: rxDropped, tx_bytes: txBytes, tx_packets: txPackets, tx_errors: txErrors, tx_dropped: txDropped }
  }
  return networks
}
