/** `docker network connect` and `disconnect`: for a running container at once, for any container from its next start on. */
import { Fault } from '#base/fault.ts'
import type { ContainerNetworking } from '../contract/containers.ts'
import type { EndpointSpec, Networks } from '../contract/networks.ts'
import type { Entry } from './entry.ts'
import type { Launcher } from './launch.ts'
import { isLive } from './lifecycle.ts'

export interface MembershipDoor {
  readonly networks: Networks
  readonly launcher: Pick<Launcher, 'join' | 'left' | 'refreshFiles'>
}

const defaultNetworking: ContainerNetworking = { mode: 'networks', endpoints: [{ network: 'bridge' }] }

/** Changes the entry's endpoints and its record; storing it is the caller's. */
export async function joinNetwork(entry: Entry, { network, spec }: { readonly network: string; readonly spec: EndpointSpec }, { networks, launcher }: MembershipDoor): Promise<void> {
  const wanted = entry.record.spec.network ?? defaultNetworking
  const { id, name, driver, configOnly } = await networks.get(network)
  if (driver === 'host' && wanted.mode !== 'host') throw new Fault('invalidArgument', 'container cannot be disconnected from host network or connected to host network')
  if (wanted.mode === 'none' || (driver === 'null' && configOnly !== true)) throw new Fault('invalidArgument', 'container cannot be connected to multiple networks with one of the networks in private (none) mode')
  if (wanted.mode !== 'networks') throw new Fault('invalidArgument', 'container sharing network namespace with another container or host cannot be connected to any other network')
  const isUp = isLive(entry.record.lifecycle.status)
  if (wanted.endpoints.some((endpoint) => [name, id].includes(endpoint.network))) {
    // A container that does not run is told nothing and keeps what it was given first, as with dockerd.
    if (!isUp) return
    throw new Fault('permissionDenied', `endpoint with name ${entry.record.name} already exists in network ${name}`)
  }
  if (isUp) {
    const before = await networks.resolver(entry.id)
    await launcher.join(entry, network, spec)
    await launcher.refreshFiles(entry, before)
  }
  entry.record = { ...entry.record, spec: { ...entry.record.spec, network: { ...wanted, endpoints: [...wanted.endpoints, { network: name, spec: { ...spec, connectedLater: true } }] } } }
}

export async function leaveNetwork(entry: Entry, network: string, { networks, launcher }: MembershipDoor): Promise<void> {
  const wanted = entry.record.spec.network ?? defaultNetworking
  const { id: networkId, name, driver } = await networks.get(network)
  const isUp = isLive(entry.record.lifecycle.status)
  if (wanted.mode === 'host' && driver === 'host') throw new Fault('invalidArgument', 'container cannot be disconnected from host network or connected to host network')
  if (wanted.mode === 'none' && driver === 'null') {
    if (isUp) launcher.left(entry, { networkId, networkName: name, driver })
    entry.record = { ...entry.record, spec: { ...entry.record.spec, network: { mode: 'networks', endpoints: [] } } }
    return
  }
  const isIt = (endpoint: { readonly network: string }): boolean => [name, networkId, network].includes(endpoint.network)
  if (wanted.mode !== 'networks' || !wanted.endpoints.some(isIt)) throw new Fault('conflict', `container ${entry.id} is not connected to ${isUp ? '' : 'the '}network ${name}`)
  const endpoint = entry.endpoints.find((candidate) => candidate.networkId === networkId)
  if (endpoint !== undefined) {
    const before = await networks.resolver(entry.id)
    await networks.disconnect(entry.id, networkId)
    entry.endpoints = entry.endpoints.filter((other) => other !== endpoint)
    launcher.left(entry, endpoint)
    await launcher.refreshFiles(entry, before)
  }
  entry.record = { ...entry.record, spec: { ...entry.record.spec, network: { ...wanted, endpoints: wanted.endpoints.filter((candidate) => !isIt(candidate)) } } }
}
