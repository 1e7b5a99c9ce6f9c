/** Requests and limits as cgroup values, the pod's quality-of-service class, and who is killed first when memory runs out. Pure. */
import { milliUnits, wholeUnits } from '#schema/quantity.ts'
import type { Container, EphemeralContainer } from '../../api/core/v1/container.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { ContainerResources } from '../../contract/runtime.ts'

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort'

/** Kubernetes, "Pod Quality of Service Classes". */
export function qosClassOf({ spec }: Pod): QosClass {
  let any = false
  let guaranteed = true
  for (const { resources } of [...(spec.initContainers ?? []), ...spec.containers]) {
    for (const name of ['cpu', 'memory']) {
      const limit = resources.limits?.[name]
      const request = resources.requests?.[name] ?? limit
      if ((request !== undefined && milliUnits(request) > 0) || (limit !== undefined && milliUnits(limit) > 0)) any = true
      if (limit === undefined || request === undefined || milliUnits(limit) !== milliUnits(request)) guaranteed = false
    }
  }
  if (!any) return 'BestEffort'
  return guaranteed ? 'Guaranteed' : 'Burstable'
}

/** `kubepods/pod<uid>`, `kubepods/burstable/pod<uid>` …, as upstream lays out its cgroups. */
export function cgroupParentOf(pod: Pod): string {
  const qos = qosClassOf(pod)
  const folder = qos === 'Guaranteed' ? 'kubepods' : `kubepods/${qos.toLowerCase()}`
  return `${folder}/pod${pod.metadata.uid}`
}

const periodUs = 100_000

export function containerResources(container: Container | EphemeralContainer, qos: QosClass, memoryCapacityBytes: number): ContainerResources {
  const { limits = {}, requests = {} } = container.resources
  const cpuRequest = requests['cpu'] ?? limits['cpu']
  const cpuLimit = limits['cpu']
  const memoryRequest = requests['memory'] ?? limits['memory']
  const memoryLimit = limits['memory']
  return {
    cpuShares: cpuRequest === undefined ? 2 : Math.max(2, Math.floor((milliUnits(cpuRequest) * 1024) / 1000)),
    ...(cpuLimit === undefined || milliUnits(cpuLimit) === 0 ? {} : { cpuQuotaUs: Math.max(1000, (milliUnits(cpuLimit) * periodUs) / 1000), cpuPeriodUs: periodUs }),
    ...(memoryLimit === undefined || wholeUnits(memoryLimit) === 0n ? {} : { memoryLimitBytes: Number(wholeUnits(memoryLimit)) }),
    oomScoreAdj: oomScoreAdj(qos, memoryRequest === undefined ? 0 : Number(wholeUnits(memoryRequest)), memoryCapacityBytes),
  }
}

function oomScoreAdj(qos: QosClass, requestBytes: number, capacityBytes: number): number {
  if (qos === 'Guaranteed') return -997
  if (qos === 'BestEffort') return 1000
  return Math.min(999, Math.max(3, 1000 - Math.floor((1000 * requestBytes) / Math.max(1, capacityBytes))))
}
