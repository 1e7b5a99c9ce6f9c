/** Where a node's kubelet listens, from what the node reports. */
import { Fault } from '#base/fault.ts'
import type { Node } from '../../api/core/v1/node.ts'

const defaultPort = 10250

export function kubeletAddress({ metadata, status }: Node): { readonly host: string; readonly port: number } {
  const addresses = status.addresses ?? []
  const address = ['InternalIP', 'Hostname', 'ExternalIP'].map((wanted) => addresses.find(({ type }) => type === wanted)).find((found) => found !== undefined)
  if (address === undefined) throw new Fault('unavailable', `node ${metadata.name} has reported no address to reach its kubelet at`)
  return { host: address.address, port: status.daemonEndpoints?.kubeletEndpoint?.Port ?? defaultPort }
}
