/** One container in memory: its stored record, and what is only true while it lives. */
import type { Timer } from '#base/clock.ts'
import type { Container, ResolvedMount } from '../contract/containers.ts'
import type { Endpoint } from '../contract/networks.ts'
import { effectiveOf, type Effective } from './effective.ts'
import type { HostFacts } from './host.ts'
import type { Policy } from './lifecycle.ts'
import type { ContainerRecord, RecordFiles } from './record.ts'
import type { NetworkFiles } from './network-files.ts'
import type { StreamHub } from './stream-hub.ts'

export interface Entry {
  readonly id: string
  record: ContainerRecord
  effective: Effective
  readonly hub: StreamHub
  readonly execIds: Set<string>
  /** Where its /etc/hosts, /etc/hostname and /etc/resolv.conf stand, once it was started. */
  readonly networkFiles: NetworkFiles
  endpoints: readonly Endpoint[]
  netnsPath: string | undefined
  /** Mounted for the current run. */
  volumes: readonly ResolvedMount[]
  restartTimer: Timer | undefined
  /** What the last run left is being cleared away; the next launch and the removal wait for it. */
  cleaning: Promise<void>
  /** Resolves when the current run ends; replaced at each start. */
  ended: PromiseWithResolvers<void>
}

export function policyOf({ record }: Entry): Policy {
  return { restart: record.spec.restart ?? { name: 'no' }, autoRemove: record.spec.autoRemove ?? false }
}

export interface EntryPaths {
  readonly records: RecordFiles
  readonly runDir: string
}

export function rootfsPath(paths: EntryPaths, id: string): string {
  return `${paths.runDir}/r/${id}`
}

/** Undefined where nothing is logged. */
export function logPathOf(paths: EntryPaths, { id, spec }: Pick<ContainerRecord, 'id' | 'spec'>): string | undefined {
  if (spec.logPath !== undefined) return spec.logPath
  return spec.log?.driver === 'none' ? undefined : `${paths.records.folder(id)}/container.log`
}

export function effectiveOfRecord(record: ContainerRecord, host: HostFacts): Effective {
  return effectiveOf(record.spec, record.defaults, record.id, host.hostname)
}

export function networkFilePaths(paths: EntryPaths, id: string): NetworkFiles {
  const folder = paths.records.folder(id)
  return { hosts: `${folder}/hosts`, hostname: `${folder}/hostname`, resolvConf: `${folder}/resolv.conf` }
}

export function viewOf(entry: Entry, paths: EntryPaths): Container {
  const { record } = entry
  const { lifecycle, health } = record
  return Object.freeze({
    id: record.id,
    name: record.name,
    spec: record.spec,
    imageId: record.imageId,
    createdAtNs: record.createdAtNs,
    state: {
      status: lifecycle.status,
      pid: lifecycle.pid,
      exitCode: lifecycle.exitCode,
      oomKilled: lifecycle.oomKilled,
      error: lifecycle.error,
      startedAtNs: lifecycle.startedAtNs,
      finishedAtNs: lifecycle.finishedAtNs,
      restartCount: lifecycle.restartCount,
      ...(health === undefined ? {} : { health }),
    },
    effective: entry.effective,
    mounts: record.mounts,
    endpoints: entry.endpoints,
    netnsPath: entry.netnsPath,
    execIds: [...entry.execIds],
    paths: { log: logPathOf(paths, record) ?? '', rootfs: rootfsPath(paths, record.id), ...networkFilePaths(paths, record.id) },
  })
}

export function ownsSandbox({ record }: Entry): boolean {
  const mode = record.spec.network?.mode ?? 'networks'
  return mode === 'networks' || mode === 'none'
}
