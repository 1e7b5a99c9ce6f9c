/** Resource limits as `HostConfig` writes them; those that `POST /containers/ID/update` can change stand apart. */
import type { ContainerResources, DeviceRate } from '../../contract/containers.ts'
import type { JsonInput } from '../json-input.ts'

export function changeableLimitsFrom(host: JsonInput): ContainerResources {
  const numbers = {
    memoryBytes: host.number('Memory'),
    memoryReservationBytes: host.number('MemoryReservation'),
    memorySwapBytes: host.number('MemorySwap'),
    nanoCpus: host.number('NanoCpus') ?? host.number('NanoCPUs'),
    cpuShares: host.number('CpuShares'),
    cpuQuotaUs: host.number('CpuQuota'),
    cpuPeriodUs: host.number('CpuPeriod'),
    cpuRealtimePeriodUs: host.number('CpuRealtimePeriod'),
    cpuRealtimeRuntimeUs: host.number('CpuRealtimeRuntime'),
    blkioWeight: host.number('BlkioWeight'),
  }
  const given = Object.fromEntries(Object.entries(numbers).filter(([, value]) => value !== undefined && value !== 0))
  return {
    ...given,
    ...(host.string('CpusetCpus') ? { cpusetCpus: host.string('CpusetCpus') ?? '' } : {}),
    ...(host.string('CpusetMems') ? { cpusetMems: host.string('CpusetMems') ?? '' } : {}),
  }
}

export function resourcesFrom(host: JsonInput): ContainerResources {
  const ulimits = host.objects('Ulimits').map((limit) => ({ name: limit.string('Name') ?? '', soft: limit.number('Soft') ?? 0, hard: limit.number('Hard') ?? 0 }))
  const [swappiness, oomKillDisable] = [host.number('MemorySwappiness'), host.boolean('OomKillDisable')]
  const oomScoreAdj = host.number('OomScoreAdj')
  return {
    ...changeableLimitsFrom(host),
    ...pidsLimitFrom(host, { update: false }),
    ...(oomScoreAdj ? { oomScoreAdj } : {}),
    ...(swappiness === undefined ? {} : { memorySwappiness: swappiness }),
    ...(oomKillDisable === undefined ? {} : { oomKillDisable }),
    ...(ulimits.length > 0 ? { ulimits } : {}),
    ...devicesFrom(host),
  }
}

/** 0 and below mean "no limit": nothing at a creation, and the end of the old limit in an update. */
export function pidsLimitFrom(host: JsonInput, { update }: { readonly update: boolean }): Pick<ContainerResources, 'pidsLimit'> {
  const limit = host.number('PidsLimit')
  if (limit === undefined || (limit <= 0 && !update)) return {}
  return { pidsLimit: Math.max(limit, 0) }
}

function devicesFrom(host: JsonInput): ContainerResources {
  const weights = host.objects('BlkioWeightDevice').map((device) => ({ path: device.string('Path') ?? '', weight: device.number('Weight') ?? 0 }))
  const rates = (field: string): DeviceRate[] => host.objects(field).map((device) => ({ path: device.string('Path') ?? '', rate: device.number('Rate') ?? 0 }))
  const lists = { blkioReadBps: rates('BlkioDeviceReadBps'), blkioWriteBps: rates('BlkioDeviceWriteBps'), blkioReadIops: rates('BlkioDeviceReadIOps'), blkioWriteIops: rates('BlkioDeviceWriteIOps') }
  return { ...(weights.length > 0 ? { blkioWeightDevices: weights } : {}), ...Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0)) }
}
