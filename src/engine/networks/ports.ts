/**
 * Host ports that containers publish. Reserving is synchronous, so that two connects cannot take the same port; then the
 * kernel is asked whether a process of the host holds it, because a redirected port would silently cut that process off.
 */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { Fault, systemErrorCode } from '#base/fault.ts'
import { formatIp, parseIp, type Family } from '#base/ip.ts'
import type { PortBinding } from '../contract/networks.ts'

/** Where ports are chosen when the caller leaves the choice to us: the kernel's own default for outgoing connections. */
const chosenFrom = 32768
const chosenTo = 60999

export type PortProbe = (protocol: PortBinding['protocol'], hostIp: string, port: number) => Promise<boolean>

export class HostPorts {
  /** `tcp/8080/4` → the addresses it is taken on. */
  readonly #taken = new Map<string, Set<string>>()
  readonly #free: PortProbe
  #next = chosenFrom

  constructor(free: PortProbe = freeOnHost) {
    this.#free = free
  }

  /**
   * All or nothing: the bindings with their ports filled in. One without an address becomes one for each family that the
   * container has, with the same port. Faults: `conflict`, `resourceExhausted`, `invalidArgument`.
   */
  async reserve(bindings: readonly PortBinding[], families: readonly Family[] = [4]): Promise<readonly PortBinding[]> {
    const reserved: PortBinding[] = []
    try {
      for (const binding of bindings) reserved.push(...(await this.#reserveOne(binding, hostAddresses(binding.hostIp, families))))
      return reserved
    } catch (error) {
      this.release(reserved)
      throw error
    }
  }

  release(bindings: readonly PortBinding[]): void {
    for (const { protocol, hostIp, hostPort } of bindings) {
      const key = keyOf(protocol, hostIp, hostPort)
      const addresses = this.#taken.get(key)
      addresses?.delete(hostIp)
      if (addresses?.size === 0) this.#taken.delete(key)
    }
  }

  /** Marks ports of endpoints found after a restart. */
  restore(bindings: readonly PortBinding[]): void {
    for (const { protocol, hostIp, hostPort } of bindings) this.#mark(protocol, hostIp, hostPort)
  }

  async #reserveOne(binding: PortBinding, hostIps: readonly string[]): Promise<readonly PortBinding[]> {
    const { containerPort, protocol } = binding
    const attempts = binding.hostPort === 0 ? chosenTo - chosenFrom + 1 : (binding.hostPortEnd ?? binding.hostPort) - binding.hostPort + 1
    let failure = `Bind for ${hostIps[0] ?? ''}:${binding.hostPort} failed: port is already allocated`
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const hostPort = binding.hostPort === 0 ? this.#choose() : binding.hostPort + attempt
      if (!hostIps.every((hostIp) => this.#available(protocol, hostIp, hostPort))) continue
      const result = hostIps.map((hostIp): PortBinding => ({ containerPort, protocol, hostIp, hostPort }))
      this.restore(result)
      const held = await this.#heldByHost(result)
      if (held === undefined) return result
      this.release(result)
      failure = `failed to bind host port for ${held.hostIp}:${hostPort}/${protocol}: address already in use`
    }
    if (binding.hostPort === 0) throw new Fault('resourceExhausted', `no free ${protocol} port between ${chosenFrom} and ${chosenTo} on ${hostIps.join(' and ')}`)
    throw new Fault('conflict', failure)
  }

  /** The first binding whose port a process of the host has. */
  async #heldByHost(bindings: readonly PortBinding[]): Promise<PortBinding | undefined> {
    for (const binding of bindings) if (!(await this.#free(binding.protocol, binding.hostIp, binding.hostPort))) return binding
    return undefined
  }

  #choose(): number {
    const port = this.#next
    this.#next = port >= chosenTo ? chosenFrom : port + 1
    return port
  }

  /** A port on all addresses excludes the same port on one, and the other way round. */
  #available(protocol: string, hostIp: string, port: number): boolean {
    const addresses = this.#taken.get(keyOf(protocol, hostIp, port))
    return addresses === undefined || (!isAny(hostIp) && !addresses.has(hostIp) && ![...addresses].some(isAny))
  }

  #mark(protocol: string, hostIp: string, port: number): void {
    const key = keyOf(protocol, hostIp, port)
    const addresses = this.#taken.get(key) ?? new Set()
    addresses.add(hostIp)
    this.#taken.set(key, addresses)
  }
}

/** Ports of the two families do not meet. */
function keyOf(protocol: string, hostIp: string, port: number): string {
  return `${protocol}/${port}/${hostIp.includes(':') ? 6 : 4}`
}

export function isAny(hostIp: string): boolean {
  return hostIp === '' || hostIp === '0.0.0.0' || hostIp === '::'
}

function hostAddresses(hostIp: string, families: readonly Family[]): readonly string[] {
  if (hostIp === '') return families.map((family) => (family === 4 ? '0.0.0.0' : '::'))
  const address = parseIp(hostIp)
  if (address === undefined) throw new Fault('invalidArgument', `invalid IP address in port binding: ${hostIp}`)
  if (!families.includes(address.family)) throw new Fault('invalidArgument', `cannot publish on ${hostIp}: the container has no IPv${address.family} address on this network`)
  return [formatIp(address)]
}

/** Binds and lets go again. An address that the host does not have is the caller's mistake. */
async function freeOnHost(protocol: PortBinding['protocol'], hostIp: string, port: number): Promise<boolean> {
  if (protocol === 'sctp') return true
  try {
    await (protocol === 'tcp' ? tryListen(hostIp, port) : tryBind(hostIp, port))
    return true
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'EADDRINUSE') return false
    if (code === 'EADDRNOTAVAIL') throw new Fault('invalidArgument', `cannot publish on ${hostIp}: the host has no such address`)
    throw error
  }
}

function tryListen(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host, port, exclusive: true, ipv6Only: true }, () => server.close(() => resolve()))
  })
}

function tryBind(address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(':') ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' })
    socket.once('error', reject)
    socket.bind({ address, port, exclusive: true }, () => socket.close(() => resolve()))
  })
}
