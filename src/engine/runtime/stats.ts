/** A control group's figures in the words of the runtime contract. */
import type { CgroupStats } from '#linux/contract/cgroups.ts'
import type { RuntimeStats } from '../contract/runtime.ts'

export function runtimeStats(stats: CgroupStats, readAtNs: bigint): RuntimeStats {
  return {
    readAtNs,
    cpu: {
      totalNs: stats.cpuUsageNs,
      userNs: stats.cpuUserNs,
      systemNs: stats.cpuSystemNs,
      ...(stats.cpuPerProcessorNs === undefined ? {} : { perProcessorNs: stats.cpuPerProcessorNs }),
      throttledPeriods: Number(stats.cpuThrottledPeriods),
      periods: Number(stats.cpuPeriods),
      throttledNs: stats.cpuThrottledNs,
    },
    memory: {
      usageBytes: Number(stats.memoryUsageBytes),
      ...(stats.memoryPeakBytes === undefined ? {} : { maxUsageBytes: Number(stats.memoryPeakBytes) }),
      ...(stats.memoryLimitBytes === undefined ? {} : { limitBytes: Number(stats.memoryLimitBytes) }),
      inactiveFileBytes: Number(stats.memoryInactiveFileBytes),
      counters: Object.fromEntries(Object.entries(stats.memoryStat).map(([name, value]) => [name, Number(value)])),
    },
    pids: { current: Number(stats.pids), ...(stats.pidsLimit === undefined ? {} : { limit: Number(stats.pidsLimit) }) },
    blockIo: stats.io.flatMap((device) => [
      { major: device.major, minor: device.minor, op: 'read' as const, bytes: Number(device.readBytes), operations: Number(device.readOperations) },
      { major: device.major, minor: device.minor, op: 'write' as const, bytes: Number(device.writeBytes), operations: Number(device.writeOperations) },
    ]),
  }
}
