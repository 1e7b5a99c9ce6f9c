/**
 * Resource limits: what is refused (in Docker's words, in Docker's order), what this machine cannot limit and is dropped with a warning, how an
 * update joins what was set before, and how the result is written for the OCI runtime (config-linux.md, "Control groups").
 */
import { Fault } from '#base/fault.ts'
import type { ContainerResources } from '../contract/containers.ts'
import type { ResourcesSpec } from '../contract/runtime-spec.ts'
import { outsideOf } from './cpuset.ts'
import type { HostFacts } from './host.ts'

export interface CheckedResources {
  readonly resources: ContainerResources
  readonly warnings: readonly string[]
}

type Resources = { -readonly [K in keyof ContainerResources]: ContainerResources[K] }

const leastMemoryBytes = 6 * 1024 * 1024

function refuse(message: string): never {
  throw new Fault('invalidArgument', message)
}

/** `update`: what is absent keeps the value it had, so that swap may be named without memory. */
export function checkedResources(wanted: ContainerResources, host: HostFacts, { update }: { readonly update: boolean }): CheckedResources {
  const resources: Resources = { ...wanted }
  const warnings: string[] = []
  if ((resources.cpuRealtimePeriodUs || resources.cpuRealtimeRuntimeUs) && !host.limits.cpuRealtime) refuse('kernel does not support CPU real-time scheduler')
  if (resources.cpuRealtimePeriodUs && resources.cpuRealtimeRuntimeUs && resources.cpuRealtimeRuntimeUs > resources.cpuRealtimePeriodUs) refuse('cpu real-time runtime cannot be higher than cpu real-time period')
  if ((resources.cpuShares ?? 0) < 0) refuse(`invalid CPU shares (${resources.cpuShares}): value must be a positive integer`)
  checkMemory(resources, warnings, { host, update })
  checkOom(resources, warnings, host)
  checkCpu(resources, warnings, host)
  checkCpuset(resources, warnings, host)
  checkBlockIo(resources, warnings, host)
  for (const { name, soft, hard } of resources.ulimits ?? []) if (hard >= 0 && (soft > hard || soft < 0)) refuse(`invalid ulimit ${name}: ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`)
  const { oomScoreAdj = 0 } = resources
  if (oomScoreAdj < -1000 || oomScoreAdj > 1000) refuse(`Invalid value ${oomScoreAdj}, range for oom score adj is [-1000, 1000]`)
  return { resources, warnings }
}

function checkMemory(resources: Resources, warnings: string[], { host: { limits }, update }: { readonly host: HostFacts; readonly update: boolean }): void {
  if (resources.memorySwappiness === -1) delete resources.memorySwappiness
  if (resources.memoryBytes && resources.memoryBytes < leastMemoryBytes) refuse('Minimum memory limit allowed is 6MB')
  if (resources.memoryBytes && !limits.memory) {
    warnings.push('Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.')
    delete resources.memoryBytes
    resources.memorySwapBytes = -1
  }
  if (resources.memoryBytes && resources.memorySwapBytes !== -1 && !limits.swap) {
    warnings.push('Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.')
    resources.memorySwapBytes = -1
  }
  const { memoryBytes = 0, memorySwapBytes = 0 } = resources
  if (memoryBytes > 0 && memorySwapBytes > 0 && memorySwapBytes < memoryBytes) refuse('Minimum memoryswap limit should be larger than memory limit, see usage')
  if (memoryBytes === 0 && memorySwapBytes > 0 && !update) refuse('You should always set the Memory limit when using Memoryswap limit, see usage')
  if (resources.memorySwappiness !== undefined && !limits.swappiness) {
    warnings.push('Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.')
    delete resources.memorySwappiness
  }
  const { memorySwappiness = 0 } = resources
  if (memorySwappiness < 0 || memorySwappiness > 100) refuse(`Invalid value: ${memorySwappiness}, valid memory swappiness range is 0-100`)
  if ((resources.memoryReservationBytes ?? 0) > 0 && !limits.reservation) {
    warnings.push('Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.')
    delete resources.memoryReservationBytes
  }
  const { memoryReservationBytes = 0 } = resources
  if (memoryReservationBytes > 0 && memoryReservationBytes < leastMemoryBytes) refuse('Minimum memory reservation allowed is 6MB')
  if (memoryBytes > 0 && memoryReservationBytes > memoryBytes) refuse('Minimum memory limit can not be less than memory reservation limit, see usage')
}

function checkOom(resources: Resources, warnings: string[], { limits }: HostFacts): void {
  if (resources.oomKillDisable !== undefined && !limits.oomKillDisable) {
    if (resources.oomKillDisable) warnings.push('Your kernel does not support OomKillDisable. OomKillDisable discarded.')
    delete resources.oomKillDisable
  }
  if (resources.oomKillDisable === true && !resources.memoryBytes) warnings.push('OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.')
  if (resources.pidsLimit !== undefined && !limits.pids) {
    if (resources.pidsLimit > 0) warnings.push('Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.')
    delete resources.pidsLimit
  }
}

function checkCpu(resources: Resources, warnings: string[], { limits, cpus }: HostFacts): void {
  const { nanoCpus = 0 } = resources
  if (nanoCpus > 0 && (resources.cpuPeriodUs ?? 0) > 0) refuse('Conflicting options: Nano CPUs and CPU Period cannot both be set')
  if (nanoCpus > 0 && (resources.cpuQuotaUs ?? 0) > 0) refuse('Conflicting options: Nano CPUs and CPU Quota cannot both be set')
  if (nanoCpus > 0 && !limits.cpuQuota) refuse('NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted')
  if (nanoCpus < 0 || nanoCpus > cpus * 1e9) refuse(`Range of CPUs is from 0.01 to ${cpus}.00, as there are only ${cpus} CPUs available`)
  if (resources.cpuShares && !limits.cpuShares) {
    warnings.push('Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.')
    delete resources.cpuShares
  }
  if ((resources.cpuPeriodUs || resources.cpuQuotaUs) && !limits.cpuQuota) {
    warnings.push('Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.')
    delete resources.cpuPeriodUs
    delete resources.cpuQuotaUs
  }
  if (resources.cpuPeriodUs && (resources.cpuPeriodUs < 1000 || resources.cpuPeriodUs > 1_000_000)) refuse('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)')
  if (resources.cpuQuotaUs && resources.cpuQuotaUs > 0 && resources.cpuQuotaUs < 1000) refuse('CPU cfs quota can not be less than 1ms (i.e. 1000)')
}

function checkCpuset(resources: Resources, warnings: string[], { limits: { cpuset } }: HostFacts): void {
  if (cpuset === undefined) {
    if (resources.cpusetCpus || resources.cpusetMems) warnings.push('Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.')
    delete resources.cpusetCpus
    delete resources.cpusetMems
    return
  }
  const check = (wanted: string | undefined, { available, what, things }: { readonly available: string; readonly what: string; readonly things: string }): void => {
    if (!wanted) return
    const outside = outsideOf(wanted, available)
    if (outside === 'malformed') refuse(`Invalid value ${wanted} for cpuset ${what}: invalid format: ${wanted}`)
    if (outside) refuse(`Requested ${things} are not available - requested ${wanted}, available: ${available}`)
  }
  check(resources.cpusetCpus, { available: cpuset.cpus, what: 'cpus', things: 'CPUs' })
  check(resources.cpusetMems, { available: cpuset.mems, what: 'mems', things: 'memory nodes' })
}

function checkBlockIo(resources: Resources, warnings: string[], { limits }: HostFacts): void {
  if (resources.blkioWeight && !limits.blkioWeight) {
    warnings.push('Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.')
    delete resources.blkioWeight
  }
  if (resources.blkioWeight && (resources.blkioWeight < 10 || resources.blkioWeight > 1000)) refuse('Range of blkio weight is from 10 to 1000')
  if (resources.blkioWeightDevices?.length && !limits.blkioWeightDevice) {
    warnings.push('Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.')
    delete resources.blkioWeightDevices
  }
  const rates = [
    ['blkioReadBps', 'BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.'],
    ['blkioWriteBps', 'BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.'],
    ['blkioReadIops', 'IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.'],
    ['blkioWriteIops', 'IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.'],
  ] as const
  for (const [field, words] of rates) {
    if (!resources[field]?.length || limits.blkioRates) continue
    warnings.push(`Your kernel does not support ${words}`)
    delete resources[field]
  }
}

/** Without a word about swap, as much again as the memory may be swapped. */
export function withDefaultSwap(resources: ContainerResources): ContainerResources {
  return resources.memoryBytes && !resources.memorySwapBytes ? { ...resources, memorySwapBytes: resources.memoryBytes * 2 } : resources
}

/** What holds after an update. Refuses what contradicts the limits that were set before. */
export function updatedResources(before: ContainerResources, change: ContainerResources): ContainerResources {
  const conflict = (message: string): never => {
    throw new Fault('conflict', message)
  }
  if (change.nanoCpus && before.cpuPeriodUs) conflict('Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set')
  if (change.nanoCpus && before.cpuQuotaUs) conflict('Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set')
  if (change.cpuPeriodUs && before.nanoCpus) conflict('Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set')
  if (change.cpuQuotaUs && before.nanoCpus) conflict('Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set')
  const swap = before.memorySwapBytes ?? 0
  if (change.memoryBytes && change.memoryBytes > swap && swap !== -1 && !change.memorySwapBytes) conflict('Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time')
  return { ...before, ...change }
}

type BlockIo = NonNullable<ResourcesSpec['blockIO']>

/** Limits as the runtime wants them. Nothing is written for what was not asked for, so that the parent's limits hold. */
export function resourcesOf(wanted: ContainerResources, blockIO: BlockIo = {}): ResourcesSpec {
  const memory = {
    ...(wanted.memoryBytes ? { limit: wanted.memoryBytes } : {}),
    ...(wanted.memoryReservationBytes ? { reservation: wanted.memoryReservationBytes } : {}),
    ...(wanted.memorySwapBytes ? { swap: wanted.memorySwapBytes } : {}),
    ...(wanted.memorySwappiness === undefined || wanted.memorySwappiness < 0 ? {} : { swappiness: wanted.memorySwappiness }),
    ...(wanted.oomKillDisable === true ? { disableOOMKiller: true } : {}),
  }
  const period = wanted.nanoCpus ? 100_000 : wanted.cpuPeriodUs
  const quota = wanted.nanoCpus ? Math.floor(wanted.nanoCpus / 10_000) : wanted.cpuQuotaUs
  const cpu = {
    ...(wanted.cpuShares ? { shares: wanted.cpuShares } : {}),
    ...(quota ? { quota } : {}),
    ...(period ? { period } : {}),
    ...(wanted.cpuRealtimePeriodUs ? { realtimePeriod: wanted.cpuRealtimePeriodUs } : {}),
    ...(wanted.cpuRealtimeRuntimeUs ? { realtimeRuntime: wanted.cpuRealtimeRuntimeUs } : {}),
    ...(wanted.cpusetCpus ? { cpus: wanted.cpusetCpus } : {}),
    ...(wanted.cpusetMems ? { mems: wanted.cpusetMems } : {}),
  }
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    // Runtimes take -1 for "no longer limited".
    ...(wanted.pidsLimit === undefined ? {} : { pids: { limit: wanted.pidsLimit <= 0 ? -1 : wanted.pidsLimit } }),
    ...(Object.keys(blockIO).length > 0 ? { blockIO } : {}),
  }
}
