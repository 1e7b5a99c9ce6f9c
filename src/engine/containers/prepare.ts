/** What a creation checks, and what it makes on disk: volumes, a snapshot, the record. A creation that fails leaves nothing. */
import { Fault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import type { ContainerSpec } from '../contract/containers.ts'
import type { Image } from '../contract/images.ts'
import type { SnapshotMounter } from '../contract/snapshots.ts'
import type { VolumeCatalog, VolumeMounts } from '../contract/volumes.ts'
import { checkUserNamespace } from '../userns/conflicts.ts'
import type { Remap } from '../userns/remap.ts'
import { capabilitiesOf } from './capabilities.ts'
import { requireCommand, wantedMounts } from './effective.ts'
import { effectiveOfRecord } from './entry.ts'
import type { HostFacts } from './host.ts'
import type { ImageMounts } from './image-mounts.ts'
import { checkLogOptions } from './log-options.ts'
import { newLifecycle } from './lifecycle.ts'
import type { ContainerRecord, RecordFiles, StagedRecord } from './record.ts'
import { releaseVolumes, resolveMounts, withAnonymousNames } from './resolve-mounts.ts'
import { signalNumber } from './signals.ts'
import { checkedResources, withDefaultSwap } from './resources.ts'

export interface CheckedSpec {
  /** Without the limits that this machine cannot give. */
  readonly spec: ContainerSpec
  readonly warnings: readonly string[]
}

/** Refuses what no start could fulfil, before anything is made. */
export function checkSpec(spec: ContainerSpec, { host, initPath, remap }: { readonly host: HostFacts; readonly initPath?: string | undefined; readonly remap?: Remap | undefined }): CheckedSpec {
  capabilitiesOf({ privileged: false, add: spec.security?.capAdd ?? [], drop: spec.security?.capDrop ?? [] }, host.unavailableCapabilities)
  if (spec.stopSignal) signalNumber(spec.stopSignal)
  const { resources, warnings } = checkedResources(spec.resources ?? {}, host, { update: false })
  if ((spec.shmSizeBytes ?? 0) < 0) throw new Fault('invalidArgument', 'SHM size can not be less than 0')
  checkUserNamespace(spec, remap)
  if (spec.log !== undefined) checkLogOptions(spec.log)
  if (spec.init === true && initPath === undefined) throw new Fault('unavailable', '--init needs an init program: install the package tini (or docker-init)')
  return { spec: { ...spec, resources: withDefaultSwap(resources) }, warnings: [...warnings, ...ulimitWarnings(spec, host)] }
}

/** What will be less than was asked for on this machine. */
function ulimitWarnings({ resources = {} }: ContainerSpec, { rlimitCeilings }: HostFacts): string[] {
  return (resources.ulimits ?? []).flatMap(({ name, hard }) => {
    const ceiling = rlimitCeilings.get(`RLIMIT_${name.toUpperCase()}`)
    return ceiling !== undefined && (hard > ceiling || hard < 0) ? [`This machine cannot raise ulimit ${name} above ${ceiling}; the container gets ${ceiling}.`] : []
  })
}

export interface PrepareOptions {
  readonly volumes: VolumeCatalog & VolumeMounts
  readonly snapshots: Pick<SnapshotMounter, 'prepare' | 'remove'>
  readonly imageMounts: ImageMounts
  readonly records: RecordFiles
  readonly random: Random
  readonly host: HostFacts
  readonly log: Logger
}

export interface NewContainer {
  readonly id: string
  readonly name: string
  readonly spec: ContainerSpec
  readonly image: Image
  readonly createdAtNs: bigint
}

export async function prepareContainer({ id, name, spec, image, createdAtNs }: NewContainer, { volumes, snapshots, imageMounts, records, random, host, log }: PrepareOptions): Promise<ContainerRecord> {
  const defaults = image.config.config ?? {}
  const wanted = wantedMounts(spec, defaults)
  const base = { id, name, createdAtNs, spec, imageId: image.id, topLayer: image.topLayer, defaults, lifecycle: newLifecycle }
  requireCommand(effectiveOfRecord({ ...base, mounts: [], anonymousVolumes: [] }, host))
  const durable = spec.autoRemove !== true
  let made: Pick<ContainerRecord, 'mounts' | 'anonymousVolumes'> = { mounts: [], anonymousVolumes: [] }
  const describe = async (): Promise<{ readonly record: ContainerRecord; readonly staged: StagedRecord }> => {
    const named = withAnonymousNames(wanted, random)
    // Noted before there is a volume, so that nothing is left of a creation that is cut short.
    await records.make(id, { durable, anonymousVolumes: named.flatMap(({ anonymousName }) => anonymousName ?? []) })
    made = await resolveMounts(named, id, { volumes, imageMounts, log })
    const record = { ...base, ...made }
    return { record, staged: await records.stage(record, { durable }) }
  }
  const tasks = [describe(), snapshots.prepare(id, image.topLayer, { init: spec.namespace === 'docker' })] as const
  // What the other one made must be known before it can be taken back.
  await Promise.allSettled(tasks)
  try {
    const [{ record, staged }] = await Promise.all(tasks)
    // It exists when its record does, and then all of it does.
    await staged.commit()
    return record
  } catch (error) {
    await releaseVolumes({ id, ...made }, volumes, true, log)
    await imageMounts.remove(id)
    await snapshots.remove(id)
    await records.remove(id)
    throw error
  }
}
