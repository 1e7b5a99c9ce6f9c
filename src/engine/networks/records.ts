/**
 * What the networks room keeps on disk. Definitions of networks stand in one file below the state directory, written so that
 * they survive a power cut. Sandboxes and their endpoints stand in one small file each below the run directory without a
 * sync: the namespaces they describe do not survive a power cut either.
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Fault } from '#base/fault.ts'
import { readState, sweepUnfinished, writeState } from '#base/files.ts'
import { isRecord } from '#base/json.ts'
import type { Endpoint, Network } from '../contract/networks.ts'

const formatVersion = 1

export interface SandboxRecord {
  readonly containerId: string
  readonly netnsPath: string
  /** The user namespace that owns it, where that is not the machine's. */
  readonly usernsPath?: string
  /** It was made for this sandbox, and goes with it. */
  readonly ownsUserns?: boolean
  /** Asked for names that are not ours; absent: the host's resolvers. */
  readonly dnsServers?: readonly string[]
  readonly endpoints: readonly EndpointRecord[]
}

export interface EndpointRecord extends Endpoint {
  /** Our end of the veth; empty where there is none (macvlan). */
  readonly hostInterface: string
  readonly interfaceName: string
  readonly linkLocalAddresses?: readonly string[]
}

export interface NetworkRecord extends Omit<Network, 'createdAtNs'> {
  /** Decimal nanoseconds: JSON has no integer of that size. */
  readonly createdAtNs: string
  /** The host's interface: the bridge, or the parent of a macvlan. */
  readonly bridge: string
  /** The interface was made for this network and goes with it. */
  readonly madeDevice?: boolean
}

function isNetworkRecord(value: unknown): value is NetworkRecord {
  return isRecord(value) && ['id', 'name', 'driver', 'createdAtNs', 'bridge'].every((name) => typeof value[name] === 'string') && isRecord(value['options'])
}

function isSandboxRecord(value: unknown): value is SandboxRecord {
  return isRecord(value) && typeof value['containerId'] === 'string' && typeof value['netnsPath'] === 'string' && Array.isArray(value['endpoints']) && value['endpoints'].every(isRecord)
}

export class NetworkRecords {
  readonly #networksPath: string
  readonly #sandboxFolder: string

  constructor(stateDir: string, runDir: string) {
    this.#networksPath = join(stateDir, 'networks.json')
    this.#sandboxFolder = join(runDir, 'sandboxes')
  }

  async open(): Promise<{ readonly networks: readonly NetworkRecord[]; readonly sandboxes: readonly SandboxRecord[] }> {
    await mkdir(dirname(this.#networksPath), { recursive: true, mode: 0o700 })
    await mkdir(this.#sandboxFolder, { recursive: true, mode: 0o700 })
    await sweepUnfinished(dirname(this.#networksPath))
    const networks: unknown = (await readState(this.#networksPath, formatVersion))?.['networks'] ?? []
    if (!Array.isArray(networks) || !networks.every(isNetworkRecord)) throw new Fault('dataLoss', `${this.#networksPath} holds no list of networks`)
    const sandboxes: SandboxRecord[] = []
    for (const name of await readdir(this.#sandboxFolder)) {
      const path = join(this.#sandboxFolder, name)
      if (!name.endsWith('.json')) {
        await rm(path, { force: true })
        continue
      }
      const sandbox = (await readState(path, formatVersion))?.['sandbox']
      if (!isSandboxRecord(sandbox)) throw new Fault('dataLoss', `${path} holds no sandbox`)
      sandboxes.push(sandbox)
    }
    return { networks, sandboxes }
  }

  async saveNetworks(networks: readonly NetworkRecord[]): Promise<void> {
    await writeState(this.#networksPath, { formatVersion, networks })
  }

  async saveSandbox(sandbox: SandboxRecord): Promise<void> {
    await writeState(this.#sandboxPath(sandbox.containerId), { formatVersion, sandbox }, { durable: false })
  }

  async removeSandbox(containerId: string): Promise<void> {
    await rm(this.#sandboxPath(containerId), { force: true })
  }

  #sandboxPath(containerId: string): string {
    return join(this.#sandboxFolder, `${containerId}.json`)
  }
}
