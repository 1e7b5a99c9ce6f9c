/**
 * What is kept of a pod sandbox: `<state>/pods/<id>.json`. Replaced by rename but not flushed to disk: a sandbox does not
 * outlast the machine's uptime, and within it the page cache is as good as the disk.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DnsConfig, HostPort, PodIdentity } from '#cluster/contract/runtime.ts'
import { Fault } from '#base/fault.ts'

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
    const path = join(this.#folder, `${record.id}.json`)
    await writeFile(`${path}.tmp`, JSON.stringify({ formatVersion, ...record }), { mode: 0o600 })
    await rename(`${path}.tmp`, path)
  }

  async remove(id: string): Promise<void> {
    await rm(join(this.#folder, `${id}.json`), { force: true })
  }

  async readAll(onBroken: (file: string, error: unknown) => void): Promise<SandboxRecord[]> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const records: SandboxRecord[] = []
    for (const name of (await readdir(this.#folder)).filter((file) => file.endsWith('.json')).sort()) {
      const path = join(this.#folder, name)
      try {
        records.push(parseSandbox(await readFile(path, 'utf8'), path))
      } catch (error) {
        onBroken(path, error)
      }
    }
    return records
  }
}

function parseSandbox(text: string, where: string): SandboxRecord {
  const parsed: unknown = JSON.parse(text)
  if (!isObject(parsed) || !('formatVersion' in parsed)) throw new Fault('dataLoss', `${where} is no sandbox record: it lacks 'formatVersion'`)
  if (parsed['formatVersion'] !== formatVersion) throw new Fault('unimplemented', `${where} has formatVersion ${String(parsed['formatVersion'])}; this version of Berth reads ${formatVersion}`)
  if (!isRecord(parsed)) throw new Fault('dataLoss', `${where} is no sandbox record: a field is missing or of the wrong type`)
  return parsed
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isRecord(value: Readonly<Record<string, unknown>>): value is Readonly<Record<string, unknown>> & SandboxRecord {
  const texts = ['id', 'state', 'address', 'hostname', 'logDirectory', 'cgroupParent', 'bootId']
  const flags = ['hostNetwork', 'hostPid', 'hostIpc']
  return (
    texts.every((name) => typeof value[name] === 'string') &&
    flags.every((name) => typeof value[name] === 'boolean') &&
    typeof value['attempt'] === 'number' &&
    isObject(value['pod']) &&
    isObject(value['labels']) &&
    isObject(value['annotations']) &&
    Array.isArray(value['hostPorts'])
  )
}
