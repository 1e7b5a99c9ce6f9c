/** `docker network connect` and `disconnect`: for a running container at once, for any container from its next start on. */
import { Fault } from '#base/fault.ts'
import type { ContainerNetworking } from '../contract/containers.ts'
import type { EndpointSpec, Networks } from '../contract/networks.ts'
import type { Entry } from './entry.ts'
import type { Launcher } from './launch.ts'
import { isLive } from './lifecycle.ts'

export interface MembershipDoor {
  readonly networks: Networks
  readonly launcher: Pick<Launcher, 'join' | 'left' | 'refreshHosts'>
}

const defaultNetworking: ContainerNetworking = { mode: 'networks', endpoints: [{ network: 'bridge' }] }

/** Changes the entry's endpoints and its record; storing it is the caller's. */
export async function joinNetwork(entry: Entry, { network, spec }: { readonly network: string; readonly spec: EndpointSpec }, { networks, launcher }: MembershipDoor): Promise<void> {
  const wanted = entry.record.spec.network ?? defaultNetworking
  if (wanted.mode !== 'networks' && wanted.mode !== 'none') throw new Fault('invalidArgument', 'container sharing network namespace with another container or host cannot be connected to any other network')
  const { name } = await networks.get(network)
  if (entry.endpoints.some(({ networkName }) => networkName === name)) throw new Fault('permissionDenied', `endpoint with name ${entry.record.name} already exists in network ${name}`)
  if (isLive(entry.record.lifecycle.status)) {
    entry.endpoints = [...entry.endpoints, await launcher.join(entry, network, spec)]
    await launcher.refreshHosts(entry)
  }
  const joined = { network: name, spec }
  const changed: ContainerNetworking = wanted.mode === 'none' ? { mode: 'networks', endpoints: [joined] } : { ...wanted, endpoints: [...wanted.endpoints, joined] }
  entry.record = { ...entry.record, spec: { ...entry.record.spec, network: changed } }
}

export async function leaveNetwork(entry: Entry, network: string, { networks, launcher }: MembershipDoor): Promise<void> {
  const wanted = entry.record.spec.network ?? defaultNetworking
  const { id: networkId, name } = await networks.get(network)
  const isIt = (endpoint: { readonly network: string }): boolean => [name, networkId, network].includes(endpoint.network)
  if (wanted.mode !== 'networks' || !wanted.endpoints.some(isIt)) throw new Fault('conflict', `container ${entry.id} is not connected to network ${name}`)
  const endpoint = entry.endpoints.find((candidate) => candidate.networkId === networkId)
  if (endpoint !== undefined) {
    await networks.disconnect(entry.id, networkId)
    entry.endpoints = entry.endpoints.filter((other) => other !== endpoint)
    launcher.left(entry, endpoint)
    await launcher.refreshHosts(entry)
  }
  const endpoints = wanted.endpoints.filter((candidate) => !isIt(candidate))
  entry.record = { ...entry.record, spec: { ...entry.record.spec, network: endpoints.length > 0 ? { ...wanted, endpoints } : { mode: 'none' } } }
}
