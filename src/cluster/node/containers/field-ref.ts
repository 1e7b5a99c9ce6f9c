/**
 * The downward API: what `fieldRef` and `resourceFieldRef` answer for environment variables and files (Kubernetes,
 * "Downward API"). Pure.
 */
import { Fault } from '#base/fault.ts'
import { milliUnits, quantityOf } from '#schema/quantity.ts'
import type { Container, EphemeralContainer } from '../../api/core/v1/container.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { ResourceFieldSelector } from '../../api/core/v1/env.ts'

export interface PodFacts {
  readonly pod: Pod
  readonly podIps: readonly string[]
  readonly hostIps: readonly string[]
  /** Taken where a container has no limit of its own. */
  readonly allocatable: Readonly<Record<string, string>>
}

/** Undefined fields answer ''; an unknown path is `invalidArgument`. */
export function fieldValue(fieldPath: string, { pod, podIps, hostIps }: PodFacts): string {
  const { metadata, spec } = pod
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(fieldPath)
  if (keyed !== null) return (keyed[1] === 'labels' ? metadata.labels : metadata.annotations)?.[keyed[2] ?? ''] ?? ''
  switch (fieldPath) {
    case 'metadata.name':
      return metadata.name
    case 'metadata.namespace':
      return metadata.namespace
    case 'metadata.uid':
      return metadata.uid
    case 'metadata.labels':
      return mapText(metadata.labels)
    case 'metadata.annotations':
      return mapText(metadata.annotations)
    case 'spec.nodeName':
      return spec.nodeName ?? ''
    case 'spec.serviceAccountName':
      return spec.serviceAccountName ?? 'default'
    case 'status.podIP':
      return podIps[0] ?? ''
    case 'status.podIPs':
      return podIps.join(',')
    case 'status.hostIP':
      return hostIps[0] ?? ''
    case 'status.hostIPs':
      return hostIps.join(',')
    default:
      throw new Fault('invalidArgument', `unsupported fieldPath: ${fieldPath}`)
  }
}

/** `key="value"` lines, sorted, as the downward API writes maps. */
function mapText(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n')
}

export function containerNamed(pod: Pod, name: string): Container | EphemeralContainer | undefined {
  const { initContainers = [], containers, ephemeralContainers = [] } = pod.spec
  return [...initContainers, ...containers, ...ephemeralContainers].find((container) => container.name === name)
}

/** A limit or request divided by the divisor and rounded up: cpu in cores (or the divisor's unit), memory in bytes. */
export function resourceValue(ref: ResourceFieldSelector, ownName: string, { pod, allocatable }: PodFacts): string {
  const container = containerNamed(pod, ref.containerName ?? ownName)
  const [which, ...rest] = ref.resource.split('.')
  const resource = rest.join('.')
  if (container === undefined || (which !== 'limits' && which !== 'requests')) throw new Fault('invalidArgument', `unsupported container resource: ${ref.resource}`)
  const own = which === 'limits' ? container.resources.limits?.[resource] : (container.resources.requests?.[resource] ?? container.resources.limits?.[resource])
  const value = own ?? (which === 'limits' ? allocatable[resource] : undefined) ?? '0'
  const divisor = ref.divisor === '0' || ref.divisor === '' ? '1' : ref.divisor
  if (resource === 'cpu') return String(ceilDivide(BigInt(milliUnits(value)), BigInt(milliUnits(divisor))))
  return String(ceilDivide(quantityOf(value).nanos, quantityOf(divisor).nanos))
}

function ceilDivide(value: bigint, divisor: bigint): bigint {
  return divisor === 0n ? 0n : (value + divisor - 1n) / divisor
}
