/** Interfaces, addresses and routes by netlink, run in a kernel worker. */
import { closeSync, openSync } from 'node:fs'
import { systemErrorCode } from '#base/fault.ts'
import { errnoFault, errnoOf } from '../../contract/errno.ts'
import type { AttachRequest, BridgeRequest, InNamespace, Link, LinkStatistics, MacvlanRequest, RouteRequest } from '../../contract/links.ts'
import { AF_INET, AF_INET6, addressBytes, addressText, macBytes, macText, parsePrefix } from '../addresses.ts'
import { type Attribute, decodeAttributes, NetlinkSocket, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, text, u32, u8 } from '../netlink.ts'
import { inNetworkNamespace, writeSysctl } from './namespaces.ts'

const RTM = { newLink: 16, delLink: 17, getLink: 18, setLink: 19, newAddress: 20, delAddress: 21, getAddress: 22, newRoute: 24, delRoute: 25 } as const
const IFLA = { address: 1, name: 3, mtu: 4, link: 5, master: 10, portInfo: 12, linkInfo: 18, statistics64: 23, afSpec: 26, netnsFd: 28 } as const
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2
const VETH_INFO_PEER = 1
const IFLA_MACVLAN_MODE = 1
const IFLA_VLAN_ID = 1
const IFLA_INET6_ADDR_GEN_MODE = 8
const IN6_ADDR_GEN_MODE_NONE = 1
const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const
const IFA = { address: 1, local: 2, broadcast: 4, flags: 8 } as const
const IFA_F_NODAD = 2
const RTA = { destination: 1, device: 4, gateway: 5, priority: 6, preferredSource: 7 } as const
const BRPORT_HAIRPIN = 4
const BRPORT_ISOLATED = 33
const IFF_UP = 1
const AF_BRIDGE = 7
const RT_TABLE_MAIN = 254
const RTPROT_STATIC = 4
const RT_SCOPE_LINK = 253
const routeTypes = { unicast: 1, blackhole: 6, unreachable: 7 } as const

/** struct ifinfomsg. `up` sets the flag and says that only this flag changes. */
function linkHeader(options: { readonly family?: number; readonly index?: number; readonly up?: boolean } = {}): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt8(options.family ?? 0, 0)
  bytes.writeInt32LE(options.index ?? 0, 4)
  if (options.up === true) {
    bytes.writeUInt32LE(IFF_UP, 8)
    bytes.writeUInt32LE(IFF_UP, 12)
  }
  return bytes
}

function checkName(name: string): void {
  if (!/^[^\s/]{1,15}$/.test(name) || Buffer.byteLength(name) > 15) throw errnoFault('EINVAL', `interface name '${name}' (1 to 15 bytes, no blank, no slash)`)
}

function inSocket<T>(where: InNamespace | undefined, work: (socket: NetlinkSocket) => T): T {
  // A socket stays in the namespace it was opened in: only the opening happens inside.
  using socket = inNetworkNamespace(where?.netns, () => new NetlinkSocket())
  return work(socket)
}

function indexOf(socket: NetlinkSocket, name: string): number {
  const payload = socket.get({ type: RTM.getLink, flags: 0, header: linkHeader(), attributes: [{ type: IFLA.name, value: text(name) }], what: `find interface ${name}` })
  return payload.readInt32LE(4)
}

function findIndex(socket: NetlinkSocket, name: string): number | undefined {
  try {
    return indexOf(socket, name)
  } catch (error) {
    if (errnoOf(error) === 'ENODEV') return undefined
    throw error
  }
}

function setUp(socket: NetlinkSocket, name: string, index: number): void {
  socket.change({ type: RTM.newLink, flags: 0, header: linkHeader({ index, up: true }), attributes: [], what: `bring ${name} up` })
}

function changeAddress(socket: NetlinkSocket, change: { readonly add: boolean; readonly name: string; readonly index: number; readonly address: string }): void {
  const { family, bytes, length } = parsePrefix(change.address)
  const header = Buffer.alloc(8)
  header.writeUInt8(family, 0)
  header.writeUInt8(length, 1)
  header.writeInt32LE(change.index, 4)
  const attributes: Attribute[] = [
    { type: IFA.local, value: bytes },
    { type: IFA.address, value: bytes },
  ]
  // The address must work at once, not after a second of duplicate detection.
  if (change.add && family === AF_INET6) attributes.push({ type: IFA.flags, value: u32(IFA_F_NODAD) })
  if (change.add && family === AF_INET && length < 31) attributes.push({ type: IFA.broadcast, value: broadcast(bytes, length) })
  const what = `${change.add ? 'add' : 'delete'} address ${change.address} of ${change.name}`
  socket.change({ type: change.add ? RTM.newAddress : RTM.delAddress, flags: change.add ? NLM_F_CREATE | NLM_F_REPLACE : 0, header, attributes, what })
}

function broadcast(bytes: Buffer, length: number): Buffer {
  return u32BigEndian((bytes.readUInt32BE(0) | (0xffffffff >>> length)) >>> 0)
}

function u32BigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function changeRoute(socket: NetlinkSocket, request: RouteRequest, add: boolean): void {
  const isSix = request.gateway?.includes(':') === true
  const { family, bytes, length } = parsePrefix(request.destination === 'default' && isSix ? '::/0' : request.destination)
  const type = request.type ?? 'unicast'
  const header = Buffer.alloc(12)
  header.writeUInt8(family, 0)
  header.writeUInt8(length, 1)
  header.writeUInt8(RT_TABLE_MAIN, 4)
  header.writeUInt8(add ? RTPROT_STATIC : 0, 5)
  header.writeUInt8(type === 'unicast' && request.gateway === undefined && add ? RT_SCOPE_LINK : add ? 0 : 255, 6)
  header.writeUInt8(routeTypes[type], 7)
  const attributes: Attribute[] = length === 0 ? [] : [{ type: RTA.destination, value: bytes }]
  if (request.gateway !== undefined) attributes.push({ type: RTA.gateway, value: addressBytes(request.gateway) })
  if (request.device !== undefined) attributes.push({ type: RTA.device, value: u32(indexOf(socket, request.device)) })
  if (request.source !== undefined) attributes.push({ type: RTA.preferredSource, value: addressBytes(request.source) })
  if (request.metric !== undefined) attributes.push({ type: RTA.priority, value: u32(request.metric) })
  const what = `${add ? 'add' : 'delete'} route ${request.destination}${request.gateway === undefined ? '' : ` by ${request.gateway}`}`
  socket.change({ type: add ? RTM.newRoute : RTM.delRoute, flags: add ? NLM_F_CREATE | NLM_F_REPLACE : 0, header, attributes, what })
}

/** Called with the thread inside a fresh network namespace. */
export function loopbackUp(): void {
  using socket = new NetlinkSocket()
  setUp(socket, 'lo', indexOf(socket, 'lo'))
}

export function ensureBridge(request: BridgeRequest): void {
  checkName(request.name)
  inSocket(request, (socket) => {
    const found = findIndex(socket, request.name)
    if (found === undefined) {
      const attributes: Attribute[] = [
        { type: IFLA.name, value: text(request.name) },
        { type: IFLA.linkInfo, value: [{ type: IFLA_INFO_KIND, value: text('bridge') }] },
      ]
      if (request.mtu !== undefined) attributes.push({ type: IFLA.mtu, value: u32(request.mtu) })
      if (request.mac !== undefined) attributes.push({ type: IFLA.address, value: macBytes(request.mac) })
      socket.change({ type: RTM.newLink, flags: NLM_F_CREATE | NLM_F_EXCL, header: linkHeader(), attributes, what: `create bridge ${request.name}` })
    }
    const index = found ?? indexOf(socket, request.name)
    for (const address of request.addresses) changeAddress(socket, { add: true, name: request.name, index, address })
    setUp(socket, request.name, index)
  })
}

export function attach(request: AttachRequest): { mac: string } {
  checkName(request.hostName)
  checkName(request.ifName)
  using host = new NetlinkSocket()
  createPair(host, request)
  try {
    return inSocket(request, (inside) => configureInside(inside, request))
  } catch (error) {
    deleteLink({ name: request.hostName })
    throw error
  }
}

function createPair(host: NetlinkSocket, request: AttachRequest): void {
  const netns = openNetns(request.netns)
  try {
    const size: Attribute[] = request.mtu === undefined ? [] : [{ type: IFLA.mtu, value: u32(request.mtu) }]
    const mac: Attribute[] = request.mac === undefined ? [] : [{ type: IFLA.address, value: macBytes(request.mac) }]
    const peer = encodePeer([{ type: IFLA.name, value: text(request.ifName) }, { type: IFLA.netnsFd, value: u32(netns) }, ...mac, ...size])
    const master: Attribute[] = request.bridge === undefined ? [] : [{ type: IFLA.master, value: u32(indexOf(host, request.bridge)) }]
    const info: Attribute = {
      type: IFLA.linkInfo,
      value: [
        { type: IFLA_INFO_KIND, value: text('veth') },
        { type: IFLA_INFO_DATA, value: [{ type: VETH_INFO_PEER, value: peer }] },
      ],
    }
    const attributes = [{ type: IFLA.name, value: text(request.hostName) }, ...size, ...master, info]
    const what = `create the veth pair ${request.hostName}, ${request.ifName} in ${request.netns}`
    host.change({ type: RTM.newLink, flags: NLM_F_CREATE | NLM_F_EXCL, header: linkHeader({ up: true }), attributes, what })
    if (request.hairpin === true || request.isolated === true) setPortModes(host, request)
  } finally {
    closeSync(netns)
  }
}

function openNetns(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw errnoFault(systemErrorCode(error) ?? 'EIO', `open the network namespace ${path}`)
  }
}

/** The peer's attribute holds a fixed header of its own before its attributes. It cannot come up yet: the kernel has not joined the ends. */
function encodePeer(attributes: readonly Attribute[]): Uint8Array {
  return Buffer.concat([linkHeader(), ...attributes.map((attribute) => encodeOne(attribute))])
}

function encodeOne(attribute: Attribute): Buffer {
  if (!(attribute.value instanceof Uint8Array)) throw errnoFault('EINVAL', 'nest an attribute in a veth peer')
  const bytes = Buffer.alloc((4 + attribute.value.length + 3) & ~3)
  bytes.writeUInt16LE(4 + attribute.value.length, 0)
  bytes.writeUInt16LE(attribute.type, 2)
  bytes.set(attribute.value, 4)
  return bytes
}

function setPortModes(host: NetlinkSocket, request: AttachRequest): void {
  const modes: Attribute[] = []
  if (request.hairpin === true) modes.push({ type: BRPORT_HAIRPIN, value: u8(1) })
  if (request.isolated === true) modes.push({ type: BRPORT_ISOLATED, value: u8(1) })
  const index = indexOf(host, request.hostName)
  host.change({ type: RTM.setLink, flags: 0, header: linkHeader({ family: AF_BRIDGE, index }), attributes: [{ type: IFLA.portInfo, value: modes }], what: `set the bridge port modes of ${request.hostName}` })
}

export function attachMacvlan(request: MacvlanRequest): { mac: string } {
  checkName(request.ifName)
  using host = new NetlinkSocket()
  const netns = openNetns(request.netns)
  try {
    const attributes: Attribute[] = [
      { type: IFLA.name, value: text(request.ifName) },
      // Looked up in our namespace, although the interface is born in the other one.
      { type: IFLA.link, value: u32(indexOf(host, request.parent)) },
      { type: IFLA.netnsFd, value: u32(netns) },
      ...(request.mtu === undefined ? [] : [{ type: IFLA.mtu, value: u32(request.mtu) }]),
      ...(request.mac === undefined ? [] : [{ type: IFLA.address, value: macBytes(request.mac) }]),
      kindOf('macvlan', [{ type: IFLA_MACVLAN_MODE, value: u32(macvlanModes[request.mode]) }]),
    ]
    host.change({ type: RTM.newLink, flags: NLM_F_CREATE | NLM_F_EXCL, header: linkHeader(), attributes, what: `create the macvlan interface ${request.ifName} on ${request.parent}` })
  } finally {
    closeSync(netns)
  }
  try {
    return inSocket(request, (inside) => configureInside(inside, request))
  } catch (error) {
    deleteLink({ name: request.ifName, netns: request.netns })
    throw error
  }
}

function kindOf(kind: string, data: readonly Attribute[]): Attribute {
  return { type: IFLA.linkInfo, value: [{ type: IFLA_INFO_KIND, value: text(kind) }, { type: IFLA_INFO_DATA, value: data }] }
}

export function ensureVlan(request: { readonly name: string; readonly parent: string; readonly vlanId: number }): boolean {
  checkName(request.name)
  return inSocket(undefined, (socket) => {
    const found = findIndex(socket, request.name)
    if (found === undefined) {
      const id = Buffer.alloc(2)
      id.writeUInt16LE(request.vlanId)
      const attributes: Attribute[] = [{ type: IFLA.name, value: text(request.name) }, { type: IFLA.link, value: u32(indexOf(socket, request.parent)) }, kindOf('vlan', [{ type: IFLA_VLAN_ID, value: id }])]
      socket.change({ type: RTM.newLink, flags: NLM_F_CREATE | NLM_F_EXCL, header: linkHeader(), attributes, what: `create the VLAN interface ${request.name}` })
    }
    setUp(socket, request.name, found ?? indexOf(socket, request.name))
    return found === undefined
  })
}

export function ensurePair(request: { readonly name: string; readonly peer: string }): boolean {
  checkName(request.name)
  checkName(request.peer)
  return inSocket(undefined, (socket) => {
    const isNew = findIndex(socket, request.name) === undefined
    if (isNew) {
      const attributes: Attribute[] = [{ type: IFLA.name, value: text(request.name) }, kindOf('veth', [{ type: VETH_INFO_PEER, value: encodePeer([{ type: IFLA.name, value: text(request.peer) }]) }])]
      socket.change({ type: RTM.newLink, flags: NLM_F_CREATE | NLM_F_EXCL, header: linkHeader(), attributes, what: `create the veth pair ${request.name}, ${request.peer}` })
    }
    for (const name of [request.name, request.peer]) setUp(socket, name, indexOf(socket, name))
    return isNew
  })
}

function configureInside(inside: NetlinkSocket, request: Pick<AttachRequest, 'ifName' | 'addresses' | 'gateways' | 'routes'>): { mac: string } {
  const payload = inside.get({ type: RTM.getLink, flags: 0, header: linkHeader(), attributes: [{ type: IFLA.name, value: text(request.ifName) }], what: `find ${request.ifName}` })
  const index = payload.readInt32LE(4)
  for (const address of request.addresses) changeAddress(inside, { add: true, name: request.ifName, index, address })
  if (!request.addresses.some((address) => address.includes(':'))) withoutLinkLocal(inside, request.ifName, index)
  setUp(inside, request.ifName, index)
  for (const gateway of request.gateways ?? []) changeRoute(inside, { destination: 'default', gateway, device: request.ifName }, true)
  for (const route of request.routes ?? []) changeRoute(inside, route, true)
  return { mac: macText(decodeAttributes(payload.subarray(16)).get(IFLA.address) ?? Buffer.alloc(6)) }
}

/** An interface that is given no IPv6 address makes none for itself, either: else neighbours would reach what IPv4's rules keep from them. */
function withoutLinkLocal(socket: NetlinkSocket, name: string, index: number): void {
  const attributes: Attribute[] = [{ type: IFLA.afSpec, value: [{ type: AF_INET6, value: [{ type: IFLA_INET6_ADDR_GEN_MODE, value: u8(IN6_ADDR_GEN_MODE_NONE) }] }] }]
  try {
    socket.change({ type: RTM.newLink, flags: 0, header: linkHeader({ index }), attributes, what: `keep ${name} from making IPv6 addresses` })
  } catch (error) {
    // No IPv6 at all.
    if (!['EAFNOSUPPORT', 'EOPNOTSUPP', 'ENOTSUP'].includes(errnoOf(error) ?? '')) throw error
  }
}

export function deleteLink(request: InNamespace & { readonly name: string }): void {
  inSocket(request, (socket) => {
    try {
      socket.change({ type: RTM.delLink, flags: 0, header: linkHeader(), attributes: [{ type: IFLA.name, value: text(request.name) }], what: `delete interface ${request.name}` })
    } catch (error) {
      if (errnoOf(error) !== 'ENODEV') throw error
    }
  })
}

export function linkUp(request: InNamespace & { readonly name: string }): void {
  inSocket(request, (socket) => setUp(socket, request.name, indexOf(socket, request.name)))
}

export function addAddress(request: InNamespace & { readonly name: string; readonly address: string }): void {
  inSocket(request, (socket) => changeAddress(socket, { add: true, name: request.name, index: indexOf(socket, request.name), address: request.address }))
}

export function deleteAddress(request: InNamespace & { readonly name: string; readonly address: string }): void {
  inSocket(request, (socket) => {
    try {
      changeAddress(socket, { add: false, name: request.name, index: indexOf(socket, request.name), address: request.address })
    } catch (error) {
      if (errnoOf(error) !== 'EADDRNOTAVAIL') throw error
    }
  })
}

export function addRoute(request: InNamespace & { readonly route: RouteRequest }): void {
  inSocket(request, (socket) => changeRoute(socket, request.route, true))
}

export function deleteRoute(request: InNamespace & { readonly route: RouteRequest }): void {
  inSocket(request, (socket) => {
    try {
      changeRoute(socket, request.route, false)
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error
    }
  })
}

interface RawLink {
  readonly index: number
  readonly up: boolean
  readonly attributes: ReadonlyMap<number, Buffer>
}

function dumpLinks(socket: NetlinkSocket): RawLink[] {
  const payloads = socket.dump({ type: RTM.getLink, flags: 0, header: linkHeader(), attributes: [], what: 'list interfaces' })
  return payloads.map((payload) => ({ index: payload.readInt32LE(4), up: (payload.readUInt32LE(8) & IFF_UP) !== 0, attributes: decodeAttributes(payload.subarray(16)) }))
}

function nameOf(link: RawLink): string {
  return zeroEnded(link.attributes.get(IFLA.name))
}

function zeroEnded(bytes: Buffer | undefined): string {
  return bytes === undefined ? '' : bytes.toString('utf8', 0, bytes.length - 1)
}

export function listLinks(request: InNamespace): Link[] {
  return inSocket(request, (socket) => {
    const links = dumpLinks(socket)
    const names = new Map(links.map((link) => [link.index, nameOf(link)]))
    const addresses = dumpAddresses(socket)
    return links.map((link) => {
      const info = link.attributes.get(IFLA.linkInfo)
      const master = names.get(link.attributes.get(IFLA.master)?.readUInt32LE(0) ?? 0)
      return {
        index: link.index,
        name: nameOf(link),
        kind: info === undefined ? '' : zeroEnded(decodeAttributes(info).get(IFLA_INFO_KIND)),
        mac: macText(link.attributes.get(IFLA.address) ?? Buffer.alloc(0)),
        mtu: link.attributes.get(IFLA.mtu)?.readUInt32LE(0) ?? 0,
        up: link.up,
        ...(master === undefined ? {} : { master }),
        addresses: addresses.get(link.index) ?? [],
      }
    })
  })
}

function dumpAddresses(socket: NetlinkSocket): Map<number, string[]> {
  const found = new Map<number, string[]>()
  for (const payload of socket.dump({ type: RTM.getAddress, flags: 0, header: Buffer.alloc(8), attributes: [], what: 'list addresses' })) {
    const attributes = decodeAttributes(payload.subarray(8))
    const bytes = attributes.get(IFA.local) ?? attributes.get(IFA.address)
    if (bytes === undefined) continue
    const index = payload.readInt32LE(4)
    found.set(index, [...(found.get(index) ?? []), `${addressText(bytes)}/${payload.readUInt8(1)}`])
  }
  return found
}

export function linkStatistics(request: InNamespace): LinkStatistics[] {
  return inSocket(request, (socket) =>
    dumpLinks(socket).flatMap((link) => {
      const bytes = link.attributes.get(IFLA.statistics64)
      if (bytes === undefined) return []
      // struct rtnl_link_stats64 begins: rx, tx packets; rx, tx bytes; rx, tx errors; rx, tx dropped.
      const [rxPackets = 0n, txPackets = 0n, rxBytes = 0n, txBytes = 0n, rxErrors = 0n, txErrors = 0n, rxDropped = 0n, txDropped = 0n] = [0, 1, 2, 3, 4, 5, 6, 7].map((at) => bytes.readBigUInt64LE(at * 8))
      return [{ name: nameOf(link), rxBytes, rxPackets, rxErrors, rxDropped, txBytes, txPackets, txErrors, txDropped }]
    }),
  )
}

export function setSysctl(request: InNamespace & { readonly name: string; readonly value: string }): void {
  inNetworkNamespace(request.netns, () => writeSysctl(request.name, request.value))
}
