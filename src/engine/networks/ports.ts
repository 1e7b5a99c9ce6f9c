/**
 * Host ports that containers publish. Reserving is synchronous, so that two connects cannot take the same port; then the
 * kernel is asked whether a process of the host holds it, because a redirected port would silently cut that process off.
 */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { PortBinding } from '../contract/networks.ts'

/** Where ports are chosen when the caller leaves the choice to us: the kernel's own default for outgoing connections. */
const chosenFrom = 32768
const chosenTo = 60999

export type PortProbe = (protocol: PortBinding['protocol'], hostIp: string, port: number) => Promise<boolean>

export class HostPorts {
  /** `tcp/8080` → the addresses it is taken on. */
  readonly #taken = new Map<string, Set<string>>()
  readonly #free: PortProbe
  #next = chosenFrom

  constructor(free: PortProbe = freeOnHost) {
    this.#free = free
  }

  /** All or nothing: the bindings with their ports filled in. Faults: `conflict`, `resourceExhausted`, `invalidArgument`. */
  async reserve(bindings: readonly PortBinding[]): Promise<readonly PortBinding[]> {
    const reserved: PortBinding[] = []
    try {
      for (const binding of bindings) reserved.push(await this.#reserveOne(binding))
      return reserved
    } catch (error) {
      this.release(reserved)
      throw error
    }
  }

  release(bindings: readonly PortBinding[]): void {
    for (const { protocol, hostIp, hostPort } of bindings) {
      const key = `${protocol}/${hostPort}`
      const addresses = this.#taken.get(key)
      addresses?.delete(anyAddress(hostIp))
      if (addresses?.size === 0) this.#taken.delete(key)
    }
  }

  /** Marks ports of endpoints found after a restart. */
  restore(bindings: readonly PortBinding[]): void {
    for (const { protocol, hostIp, hostPort } of bindings) this.#mark(protocol, anyAddress(hostIp), hostPort)
  }

  async #reserveOne(binding: PortBinding): Promise<PortBinding> {
    const hostIp = anyAddress(binding.hostIp)
    const { containerPort, protocol } = binding
    const attempts = binding.hostPort === 0 ? chosenTo - chosenFrom + 1 : (binding.hostPortEnd ?? binding.hostPort) - binding.hostPort + 1
    let inUseBy = 'port is already allocated'
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const hostPort = binding.hostPort === 0 ? this.#choose() : binding.hostPort + attempt
      if (!this.#available(protocol, hostIp, hostPort)) continue
      this.#mark(protocol, hostIp, hostPort)
      const result: PortBinding = { containerPort, protocol, hostIp, hostPort }
      if (await this.#free(protocol, hostIp, hostPort)) return result
      this.release([result])
      inUseBy = 'address already in use by a process of the host'
    }
    if (binding.hostPort === 0) throw new Fault('resourceExhausted', `no free ${protocol} port between ${chosenFrom} and ${chosenTo} on ${hostIp}`)
    throw new Fault('conflict', `Bind for ${hostIp}:${binding.hostPort} failed: ${inUseBy}`)
  }

  #choose(): number {
    const port = this.#next
    this.#next = port >= chosenTo ? chosenFrom : port + 1
    return port
  }

  /** A port on all addresses excludes the same port on one, and the other way round. */
  #available(protocol: string, hostIp: string, port: number): boolean {
    const addresses = this.#taken.get(`${protocol}/${port}`)
    return addresses === undefined || (hostIp !== '0.0.0.0' && !addresses.has('0.0.0.0') && !addresses.has(hostIp))
  }

  #mark(protocol: string, hostIp: string, port: number): void {
    const key = `${protocol}/${port}`
    const addresses = this.#taken.get(key) ?? new Set()
    addresses.add(hostIp)
    this.#taken.set(key, addresses)
  }
}

function anyAddress(hostIp: string): string {
  return hostIp === '' ? '0.0.0.0' : hostIp
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
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()))
  })
}

function tryBind(address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4')
    socket.once('error', reject)
    socket.bind({ address, port, exclusive: true }, () => socket.close(() => resolve()))
  })
}
