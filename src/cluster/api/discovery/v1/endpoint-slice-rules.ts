/** Rules of endpoint slices (Kubernetes reference, "EndpointSlice v1 discovery.k8s.io"). */
import type { FaultCause } from '#base/fault.ts'
import { duplicate, invalid, tooMany } from '#schema/cause.ts'
import { formatProblem, ipFamilyOf } from '#schema/text-formats.ts'
import type { Endpoint, EndpointPort } from './endpoint-slice.ts'

interface SliceLike {
  readonly addressType: string
  readonly endpoints: readonly Endpoint[]
  readonly ports: readonly EndpointPort[]
}

const mostEndpoints = 1000
const mostAddresses = 100
const mostPorts = 20_000

export function endpointSliceRules({ addressType, endpoints, ports }: SliceLike): readonly FaultCause[] {
  const causes: FaultCause[] = []
  if (endpoints.length > mostEndpoints) causes.push(tooMany('endpoints', endpoints.length, mostEndpoints))
  if (ports.length > mostPorts) causes.push(tooMany('ports', ports.length, mostPorts))
  endpoints.forEach(({ addresses, hostname }, index) => {
    if (addresses.length > mostAddresses) causes.push(tooMany(`endpoints[${index}].addresses`, addresses.length, mostAddresses))
    addresses.forEach((address, position) => causes.push(...addressRules(addressType, address, `endpoints[${index}].addresses[${position}]`)))
    const problem = hostname === undefined ? undefined : formatProblem('dnsLabel', hostname)
    if (problem !== undefined) causes.push(invalid(`endpoints[${index}].hostname`, hostname, problem))
  })
  const names = new Set<string>()
  ports.forEach(({ name }, index) => {
    if (names.has(name)) causes.push(duplicate(`ports[${index}].name`, name))
    names.add(name)
  })
  return causes
}

function addressRules(type: string, address: string, path: string): FaultCause[] {
  if (type === 'FQDN') {
    const problem = formatProblem('dnsSubdomain', address)
    return problem === undefined ? [] : [invalid(path, address, problem)]
  }
  const family = type === 'IPv4' ? 4 : 6
  return ipFamilyOf(address) === family ? [] : [invalid(path, address, `must be an IPv${family} address`)]
}
