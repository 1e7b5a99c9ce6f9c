/** Rules of services (Kubernetes reference, "Service v1 core"): ports, addresses, types, and what may change. */
import type { FaultCause } from '#base/fault.ts'
import { duplicate, forbidden, invalid, required } from '#schema/cause.ts'
import { sameJson } from '#schema/json.ts'
import { formatProblem } from '#schema/text-formats.ts'
import { labelViolations } from '#schema/violations.ts'
import { targetPortRules } from './container-rules.ts'
import type { ServicePort, ServiceSpec } from './service.ts'

interface ServiceLike {
  readonly spec: ServiceSpec
}

export function serviceRules({ spec }: ServiceLike): readonly FaultCause[] {
  const { type, clusterIP, clusterIPs, externalName, ports = [] } = spec
  const causes: FaultCause[] = [...labelViolations(spec.selector, 'spec.selector')]
  if (type === 'ExternalName') {
    if (externalName === undefined) causes.push(required('spec.externalName'))
    else if (formatProblem('dnsSubdomain', externalName.replace(/\.$/, '')) !== undefined) causes.push(invalid('spec.externalName', externalName, formatProblem('dnsSubdomain', externalName) ?? ''))
    if (clusterIP !== undefined && clusterIP !== '') causes.push(forbidden('spec.clusterIPs', 'may not be set for ExternalName services'))
  } else if (ports.length === 0 && clusterIP !== 'None') causes.push(required('spec.ports'))
  if (type !== 'ClusterIP' && clusterIP === 'None') causes.push(invalid('spec.clusterIPs[0]', clusterIP, 'may not be set to \'None\' for LoadBalancer and NodePort services'))
  if (clusterIP !== undefined && clusterIP !== 'None' && formatProblem('ip', clusterIP) !== undefined) causes.push(invalid('spec.clusterIPs[0]', clusterIP, formatProblem('ip', clusterIP) ?? ''))
  if (clusterIPs !== undefined && clusterIPs[0] !== clusterIP) causes.push(invalid('spec.clusterIPs', clusterIPs, 'first value must match `clusterIP`'))
  if (spec.externalTrafficPolicy !== undefined && (type === 'ClusterIP' || type === 'ExternalName') && (spec.externalIPs ?? []).length === 0) {
    causes.push(invalid('spec.externalTrafficPolicy', spec.externalTrafficPolicy, 'may only be set for externally-accessible services'))
  }
  spec.externalIPs?.forEach((address, index) => {
    const problem = formatProblem('ip', address)
    if (problem !== undefined) causes.push(invalid(`spec.externalIPs[${index}]`, address, problem))
  })
  spec.loadBalancerSourceRanges?.forEach((range, index) => {
    const problem = formatProblem('cidr', range)
    if (problem !== undefined) causes.push(invalid(`spec.loadBalancerSourceRanges[${index}]`, range, problem))
  })
  return [...causes, ...servicePortRules(ports, spec)]
}

function servicePortRules(ports: readonly ServicePort[], { type, clusterIP }: ServiceSpec): FaultCause[] {
  const [names, numbers, nodePorts] = [new Set<string>(), new Set<string>(), new Set<string>()]
  const taken = (set: Set<string>, key: string): boolean => {
    if (set.has(key)) return true
    set.add(key)
    return false
  }
  return ports.flatMap((port, index) => {
    const at = `spec.ports[${index}]`
    const causes: FaultCause[] = []
    if (ports.length > 1 && port.name === undefined) causes.push(required(`${at}.name`))
    if (port.name !== undefined && taken(names, port.name)) causes.push(duplicate(`${at}.name`, port.name))
    if (taken(numbers, `${port.protocol}/${port.port}`)) causes.push(duplicate(at, { port: port.port, protocol: port.protocol }))
    causes.push(...targetPortRules(port.targetPort, `${at}.targetPort`))
    if (clusterIP === 'None' && port.targetPort !== port.port && typeof port.targetPort === 'number') {
      causes.push(invalid(`${at}.targetPort`, port.targetPort, 'must be equal to the value of \'port\' when clusterIP = None'))
    }
    if (port.nodePort === undefined) return causes
    if (type === 'ClusterIP' || type === 'ExternalName') causes.push(forbidden(`${at}.nodePort`, `may not be used when \`type\` is '${type}'`))
    if (taken(nodePorts, `${port.protocol}/${port.nodePort}`)) causes.push(duplicate(`${at}.nodePort`, port.nodePort))
    return causes
  })
}

/** The cluster address stays for as long as the service has one. */
export function serviceUpdateRules(next: ServiceLike, previous: ServiceLike): readonly FaultCause[] {
  const [after, before] = [next.spec, previous.spec]
  if (before.type === 'ExternalName' || after.type === 'ExternalName') return []
  if (before.clusterIP === undefined || sameJson(after.clusterIP, before.clusterIP)) return []
  return [invalid('spec.clusterIPs[0]', after.clusterIPs ?? after.clusterIP ?? null, 'may not change once set')]
}
