/**
 * What is kept of a container on disk: `<state>/containers/<id>/record.json`, one JSON object with `formatVersion`, replaced
 * atomically (write, fsync, rename, fsync of the folder). A version newer than ours is refused by name.
 */
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Fault } from '#base/fault.ts'
import { readState, readTextIfThere, syncFolder, writeFileAtomically, writeState } from '#base/files.ts'
import { parseJson } from '#base/json.ts'
import type { ContainerHealth, ContainerSpec, ResolvedMount } from '../contract/containers.ts'
import type { ChainId, ContainerDefaults, ImageId } from '../contract/images.ts'
import type { Lifecycle } from './lifecycle.ts'

export interface ContainerRecord {
  readonly id: string
  readonly name: string
  readonly createdAtNs: bigint
  readonly spec: ContainerSpec
  readonly imageId: ImageId
  readonly topLayer: ChainId | undefined
  /** The image's defaults at creation: the image itself may go. */
  readonly defaults: ContainerDefaults
  readonly mounts: readonly ResolvedMount[]
  /** Names of volumes that go with the container. */
  readonly anonymousVolumes: readonly string[]
  readonly lifecycle: Lifecycle
  /** That of the last run; kept on disk when its status changes. */
  readonly health?: ContainerHealth | undefined
}

const formatVersion = 1

function serialiseRecord(record: ContainerRecord): string {
  return `${JSON.stringify({ formatVersion, ...record }, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))}\n`
}

export function parseRecord(text: string, where: string): ContainerRecord {
  const parsed = parseJson(text, where)
  if (typeof parsed !== 'object' || parsed === null || !('formatVersion' in parsed)) throw new Fault('dataLoss', `${where} is no container record: it lacks 'formatVersion'`)
  if (parsed.formatVersion !== formatVersion) {
    throw new Fault('unimplemented', `${where} has formatVersion ${String(parsed.formatVersion)}; this version of Berth reads ${formatVersion}. Start the version that wrote it`)
  }
  const revived: unknown = JSON.parse(text, (key, value: unknown) => (key.endsWith('Ns') && typeof value === 'string' && /^-?\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value))
  if (!isRecord(revived)) throw new Fault('dataLoss', `${where} is no container record: id, name, spec or lifecycle is missing`)
  return revived
}

function isRecord(value: unknown): value is ContainerRecord {
  if (typeof value !== 'object' || value === null) return false
  const fields: Readonly<Record<string, (inner: unknown) => boolean>> = {
    id: (inner) => typeof inner === 'string' && /^[0-9a-f]{64}$/.test(inner),
    name: (inner) => typeof inner === 'string',
    createdAtNs: (inner) => typeof inner === 'bigint',
    spec: (inner) => typeof inner === 'object' && inner !== null && 'namespace' in inner && 'image' in inner,
    imageId: (inner) => typeof inner === 'string',
    defaults: (inner) => typeof inner === 'object' && inner !== null,
    mounts: (inner) => Array.isArray(inner),
    anonymousVolumes: (inner) => Array.isArray(inner),
    lifecycle: (inner) => typeof inner === 'object' && inner !== null && 'status' in inner && 'startedAtNs' in inner,
  }
  const entries = new Map<string, unknown>(Object.entries(value))
  return Object.entries(fields).every(([name, holds]) => holds(entries.get(name)))
}

/** A record that is written and does not count yet. */
export interface StagedRecord {
  commit(): Promise<void>
}

export class RecordFiles {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  folder(id: string): string {
    return join(this.#root, id)
  }

  /** `durable: false` skips both fsyncs: for containers that a power cut removes anyway (`--rm`) and for changes that the runtime remembers. */
  async write(record: ContainerRecord, options: { readonly durable: boolean }): Promise<void> {
    await writeFileAtomically(join(this.folder(record.id), 'record.json'), serialiseRecord(record), options)
  }

  /** The folder of a container to be. Its anonymous volumes are noted in it: they go with it, also when it never comes to be or its removal is cut short. */
  async make(id: string, { durable, anonymousVolumes }: { readonly durable: boolean; readonly anonymousVolumes: readonly string[] }): Promise<void> {
    await mkdir(this.folder(id), { recursive: true, mode: 0o710 })
    if (anonymousVolumes.length > 0) await writeState(this.#volumesPath(id), { formatVersion, anonymousVolumes }, { durable: false })
    if (durable) await syncFolder(dirname(this.folder(id)))
  }

  /** Writes a first record beside its place, so that what it speaks of can be made meanwhile; `commit` puts it there. */
  async stage(record: ContainerRecord, { durable }: { readonly durable: boolean }): Promise<StagedRecord> {
    const folder = this.folder(record.id)
    const beside = join(folder, 'record.json.new')
    {
      await using file = await open(beside, 'w', 0o600)
      await file.writeFile(serialiseRecord(record))
      if (durable) await file.sync()
    }
    return {
      commit: async () => {
        await rename(beside, join(folder, 'record.json'))
        if (durable) await syncFolder(folder)
      },
    }
  }

  /** The container no longer exists; its folder is a leftover, swept on open at the latest. `keepVolumes`: its anonymous volumes are nobody's now. */
  async forget(id: string, options: { readonly keepVolumes?: boolean } = {}): Promise<void> {
    if (options.keepVolumes === true) await rm(this.#volumesPath(id), { force: true })
    await rm(join(this.folder(id), 'record.json'), { force: true })
  }

  async remove(id: string): Promise<void> {
    await this.forget(id)
    await rm(this.folder(id), { recursive: true, force: true })
  }

  /** All records, and what is left of containers that have none (any more); unreadable ones are reported and left alone. */
  async readAll(onBroken: (folder: string, error: unknown) => void): Promise<{ readonly records: ContainerRecord[]; readonly leftovers: Leftover[] }> {
    await mkdir(this.#root, { recursive: true, mode: 0o710 })
    const records: ContainerRecord[] = []
    const leftovers: Leftover[] = []
    for (const name of (await readdir(this.#root)).sort()) {
      const path = join(this.#root, name, 'record.json')
      try {
        const text = await readTextIfThere(path)
        if (text !== undefined) records.push(parseRecord(text, path))
        else leftovers.push({ id: name, anonymousVolumes: await this.#volumesOf(name) })
      } catch (error) {
        onBroken(name, error)
      }
    }
    return { records, leftovers }
  }

  async #volumesOf(id: string): Promise<readonly string[]> {
    const noted = (await readState(this.#volumesPath(id), formatVersion))?.['anonymousVolumes'] ?? []
    return Array.isArray(noted) ? noted.filter((name) => typeof name === 'string') : []
  }

  #volumesPath(id: string): string {
    return join(this.folder(id), 'volumes.json')
  }
}

/** A container whose creation or removal was cut short. */
export interface Leftover {
  readonly id: string
  readonly anonymousVolumes: readonly string[]
}
