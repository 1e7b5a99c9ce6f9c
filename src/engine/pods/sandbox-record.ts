/**
 * What is kept of a pod sandbox: `<state>/pods/<id>.json`. Replaced by rename but not flushed to disk: a sandbox does not
 * outlast the machine's uptime, and within it the page cache is as good as the disk.
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { DnsConfig, HostPort, PodIdentity } from '#cluster/contract/runtime.ts'
import { Fault } from '#base/fault.ts'
import { readState, sweepUnfinished, writeState } from '#base/files.ts'
import { isRecord } from '#base/json.ts'

export interface SandboxRecord {
  /** 64 hex digits. */
  readonly id: string
  readonly pod: PodIdentity
  readonly attempt: number
  readonly state: 'ready' | 'notReady'
  readonly createdAtMs: number
  /** Empty with the node's own network and once stopped. */
  readonly address: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly hostname: string
  readonly hostNetwork: boolean
  readonly hostPid: boolean
  readonly hostIpc: boolean
  readonly dns: DnsConfig | undefined
  readonly logDirectory: string
  readonly cgroupParent: string
  readonly hostPorts: readonly HostPort[]
  /** Of the boot it was made in: after another one nothing of it is left. */
  readonly bootId: string
}

const formatVersion = 1

export class SandboxRecords {
  readonly #folder: string

  constructor(stateFolder: string) {
    this.#folder = join(stateFolder, 'pods')
  }

  async write(record: SandboxRecord): Promise<void> {
    await writeState(join(this.#folder, `${record.id}.json`), { formatVersion, ...record }, { durable: false })
  }

  async remove(id: string): Promise<void> {
    await rm(join(this.#folder, `${id}.json`), { force: true })
  }

  async readAll(onBroken: (file: string, error: unknown) => void): Promise<SandboxRecord[]> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    await sweepUnfinished(this.#folder)
    const records: SandboxRecord[] = []
    for (const name of (await readdir(this.#folder)).filter((file) => file.endsWith('.json')).sort()) {
      const path = join(this.#folder, name)
      try {
        const record = await readState(path, formatVersion)
        if (record === undefined) continue
        if (!isSandbox(record)) throw new Fault('dataLoss', `${path} is no sandbox record: a field is missing or of the wrong type`)
        records.push(record)
      } catch (error) {
        onBroken(path, error)
      }
    }
    return records
  }
}

function isSandbox(value: Readonly<Record<string, unknown>>): value is Readonly<Record<string, unknown>> & SandboxRecord {
  const texts = ['id', 'state', 'address', 'hostname', 'logDirectory', 'cgroupParent', 'bootId']
  const flags = ['hostNetwork', 'hostPid', 'hostIpc']
  return (
    texts.every((name) => typeof value[name] === 'string') &&
    flags.every((name) => typeof value[name] === 'boolean') &&
    typeof value['attempt'] === 'number' &&
    isRecord(value['pod']) &&
    isRecord(value['labels']) &&
    isRecord(value['annotations']) &&
    Array.isArray(value['hostPorts'])
  )
}
