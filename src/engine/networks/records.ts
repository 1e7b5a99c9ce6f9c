/**
 * What the networks room keeps on disk. Definitions of networks stand in one file below the state directory, written so that
 * they survive a power cut. Sandboxes and their endpoints stand in one small file each below the run directory without a
 * sync: the namespaces they describe do not survive a power cut either.
 */
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { Endpoint, Network } from '../contract/networks.ts'

const formatVersion = 1

export interface SandboxRecord {
  readonly containerId: string
  readonly netnsPath: string
  readonly endpoints: readonly EndpointRecord[]
}

export interface EndpointRecord extends Endpoint {
  readonly hostInterface: string
  readonly interfaceName: string
}

export interface NetworkRecord extends Omit<Network, 'createdAtNs'> {
  /** Decimal nanoseconds: JSON has no integer of that size. */
  readonly createdAtNs: string
  readonly bridge: string
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw new Fault('dataLoss', `${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

function versioned(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || !('formatVersion' in value)) throw new Fault('dataLoss', `${path} is no state file of the networks room`)
  if (value.formatVersion !== formatVersion) {
    throw new Fault('dataLoss', `${path} has format ${String(value.formatVersion)}; this Berth knows format ${formatVersion}: start the version that wrote it`)
  }
  return { ...value }
}

async function replaceDurably(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`
  {
    await using file = await open(temporary, 'w', 0o600)
    await file.writeFile(text)
    await file.sync()
  }
  await rename(temporary, path)
  await using folder = await open(dirname(path), 'r')
  await folder.sync()
}

export class NetworkRecords {
  readonly #networksPath: string
  readonly #sandboxFolder: string
  #writes = 0

  constructor(stateDir: string, runDir: string) {
    this.#networksPath = join(stateDir, 'networks.json')
    this.#sandboxFolder = join(runDir, 'sandboxes')
  }

  async open(): Promise<{ readonly networks: readonly NetworkRecord[]; readonly sandboxes: readonly SandboxRecord[] }> {
    await mkdir(dirname(this.#networksPath), { recursive: true, mode: 0o700 })
    await mkdir(this.#sandboxFolder, { recursive: true, mode: 0o700 })
    const stored = await readJson(this.#networksPath)
    const networks = stored === undefined ? [] : (versioned(stored, this.#networksPath)['networks'] as readonly NetworkRecord[])
    const sandboxes: SandboxRecord[] = []
    for (const name of await readdir(this.#sandboxFolder)) {
      const path = join(this.#sandboxFolder, name)
      if (!name.endsWith('.json')) await rm(path, { force: true })
      else sandboxes.push(versioned(await readJson(path), path)['sandbox'] as SandboxRecord)
    }
    return { networks, sandboxes }
  }

  async saveNetworks(networks: readonly NetworkRecord[]): Promise<void> {
    await replaceDurably(this.#networksPath, JSON.stringify({ formatVersion, networks }))
  }

  async saveSandbox(sandbox: SandboxRecord): Promise<void> {
    const path = this.#sandboxPath(sandbox.containerId)
    this.#writes += 1
    const temporary = `${path}.${this.#writes}`
    await writeFile(temporary, JSON.stringify({ formatVersion, sandbox }), { mode: 0o600 })
    await rename(temporary, path)
  }

  async removeSandbox(containerId: string): Promise<void> {
    await rm(this.#sandboxPath(containerId), { force: true })
  }

  #sandboxPath(containerId: string): string {
    return join(this.#sandboxFolder, `${containerId}.json`)
  }
}
