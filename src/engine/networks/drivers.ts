/**
 * How a network's definition becomes interfaces. `bridge`: a bridge of the host's own that a veth of each container joins.
 * `macvlan`: an interface of the host (or a VLAN of it) that each container gets a further MAC address on; without a parent, a
 * veth pair that leads nowhere carries the frames, so that the containers reach each other and nothing else.
 */
import { Fault, isFault } from '#base/fault.ts'
import type { Links } from '#linux/contract/links.ts'
import { flagOf, macvlanModeOf, mtuOf, option } from './definition.ts'
import { macOfAddress, type NetworkLeases } from './ipam.ts'
import type { EndpointRecord, NetworkRecord } from './records.ts'

export interface NetworkDriver {
  /** The name of the host's interface for a network that is being made, and whether it may be made. */
  device(id: string, wanted: Pick<NetworkRecord, 'options' | 'internal'>, others: readonly NetworkRecord[]): string
  /** Makes the interface, or brings what is there to the definition. True: it was made now, and goes with the network. */
  ensure(record: NetworkRecord, leases: NetworkLeases): Promise<boolean>
  remove(record: NetworkRecord): Promise<void>
  /** `gateways`: default routes that this endpoint gives. */
  attach(record: NetworkRecord, endpoint: EndpointRecord, place: { readonly netns: string; readonly gateways: readonly string[] }): Promise<void>
  /** A missing interface is no error. */
  detach(endpoint: EndpointRecord, netns: string): Promise<void>
}

export function bridgeDriver(links: Links): NetworkDriver {
  return {
    device: (id, { options }) => options[option.name] || `br-${id.slice(0, 12)}`,
    async ensure(record, { ipv4, ipv6 }) {
      // A bridge of the host's own, which the user named, is used and stays.
      const named = record.options[option.name] !== undefined && record.madeDevice !== true
      const isForeign = named && (await links.list()).some(({ name }) => name === record.bridge)
      const hidden = flagOf(record, option.noGatewayAddress, false)
      const addresses = [ipv4 !== undefined && !hidden ? `${ipv4.gateway}/${ipv4.subnet.length}` : [], ipv6 === undefined ? [] : `${ipv6.gateway}/${ipv6.subnet.length}`].flat()
      await links.ensureBridge({ name: record.bridge, addresses, ...optionalMtu(record), mac: macOfAddress((ipv4 ?? ipv6)?.gateway ?? '') })
      if (ipv4 !== undefined) await links.setSysctl(`net/ipv4/conf/${record.bridge}/route_localnet`, '1')
      return !isForeign
    },
    async remove({ bridge, options, madeDevice }) {
      if (madeDevice === true || options[option.name] === undefined) await links.deleteLink(bridge)
    },
    async attach(record, endpoint, { netns, gateways }) {
      await links.attach({
        bridge: record.bridge,
        hostName: endpoint.hostInterface,
        netns,
        ifName: endpoint.interfaceName,
        mac: endpoint.macAddress,
        ...optionalMtu(record),
        addresses: addressesOf(endpoint),
        gateways,
        // Where br_netfilter is loaded, a container reaches its own published port only so.
        hairpin: true,
        isolated: !flagOf(record, option.betweenContainers, true),
      })
    },
    detach: ({ hostInterface }) => links.deleteLink(hostInterface),
  }
}

export function macvlanDriver(links: Links): NetworkDriver {
  return {
    device(id, { options, internal }, others) {
      const parent = options[option.parent]
      // As Docker has it, an internal network has no parent either.
      if (parent === undefined || parent === '' || internal) return islandOf(id)
      const user = others.find(({ driver, bridge }) => driver === 'macvlan' && bridge === parent)
      if (user !== undefined) throw new Fault('invalidArgument', `network ${islandOf(user.id)} is already using parent interface ${parent}`)
      return parent
    },
    async ensure(record) {
      const { bridge } = record
      if (bridge === islandOf(record.id)) {
        await links.ensurePair({ name: bridge, peer: `dp${bridge.slice(2)}` })
        return true
      }
      if ((await links.list()).some(({ name }) => name === bridge)) return record.madeDevice ?? false
      const vlan = /^(.+)\.(\d{1,4})$/.exec(bridge)
      const vlanId = Number(vlan?.[2] ?? 0)
      if (vlan === null) throw new Fault('invalidArgument', `invalid subinterface vlan name ${bridge}, example formatting is eth0.10`)
      if (vlanId < 1 || vlanId > 4094) throw new Fault('invalidArgument', `vlan id must be between 1-4094, received: ${vlanId}`)
      try {
        return await links.ensureVlan({ name: bridge, parent: vlan[1] ?? '', vlanId })
      } catch (error) {
        if (isFault(error, 'notFound')) throw new Fault('invalidArgument', `-o parent interface was not found on the host: ${vlan[1] ?? ''}`)
        if (isFault(error, 'unimplemented')) throw new Fault('invalidArgument', `failed to create ${bridge} vlan link: operation not supported: this kernel has no 802.1Q (module 8021q)`)
        throw error
      }
    },
    async remove(record) {
      // A parent that the host had before stays. The pair that bears our name is ours, also where a crash kept that from being recorded.
      if (record.madeDevice === true || record.bridge === islandOf(record.id)) await links.deleteLink(record.bridge)
    },
    async attach(record, endpoint, { netns, gateways }) {
      try {
        await links.attachMacvlan({ parent: record.bridge, mode: macvlanModeOf(record), netns, ifName: endpoint.interfaceName, mac: endpoint.macAddress, ...optionalMtu(record), addresses: addressesOf(endpoint), gateways })
      } catch (error) {
        if (isFault(error, 'unimplemented')) throw new Fault('invalidArgument', 'this kernel has no macvlan (module macvlan)')
        throw error
      }
    },
    detach: ({ interfaceName }, netns) => detachInside(links, interfaceName, netns),
  }
}

async function detachInside(links: Links, name: string, netns: string): Promise<void> {
  try {
    await links.deleteLink(name, { netns })
  } catch (error) {
    // The namespace took its interfaces along.
    if (!isFault(error, 'notFound')) throw error
  }
}

function islandOf(id: string): string {
  return `dm-${id.slice(0, 12)}`
}

function optionalMtu(record: NetworkRecord): { readonly mtu?: number } {
  const mtu = mtuOf(record)
  return mtu === undefined ? {} : { mtu }
}

function addressesOf({ ipv4Address, ipv4PrefixLength, ipv6Address, ipv6PrefixLength, linkLocalAddresses = [] }: EndpointRecord): string[] {
  return [
    ...(ipv4Address === '' ? [] : [`${ipv4Address}/${ipv4PrefixLength}`]),
    ...(ipv6Address === '' ? [] : [`${ipv6Address}/${ipv6PrefixLength}`]),
    ...linkLocalAddresses.map((address) => `${address}/${address.includes(':') ? 64 : 16}`),
  ]
}
