/** From the mounts that were asked for to those that will be made: volumes get their names, binds keep their sources. */
import { stat } from 'node:fs/promises'
import { unreachable } from '#base/assert.ts'
import { Fault, isFault, systemErrorCode } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { randomHex, type Random } from '#base/random.ts'
import type { ContainerMount, ResolvedMount } from '../contract/containers.ts'
import type { VolumeCatalog, VolumeMounts } from '../contract/volumes.ts'

import type { ImageMounts } from './image-mounts.ts'

type VolumeDoor = VolumeCatalog & VolumeMounts

/** A mount, and the name drawn for its volume where nobody gave it one. */
export interface WantedMount {
  readonly mount: ContainerMount
  readonly anonymousName?: string
}

export function withAnonymousNames(mounts: readonly ContainerMount[], random: Random): readonly WantedMount[] {
  return mounts.map((mount) => (mount.type === 'volume' && !mount.name ? { mount, anonymousName: randomHex(random, 64) } : { mount }))
}

/** Makes and acquires the volumes and the snapshots of images; on a failure what was acquired is released again, and anonymous volumes are removed. */
export async function resolveMounts(wanted: readonly WantedMount[], containerId: string, { volumes, imageMounts, log }: { readonly volumes: VolumeDoor; readonly imageMounts: ImageMounts; readonly log: Logger }): Promise<{ readonly mounts: ResolvedMount[]; readonly anonymousVolumes: string[] }> {
  const mounts: ResolvedMount[] = []
  const anonymousVolumes: string[] = []
  try {
    for (const { mount, anonymousName } of wanted) {
      const { target } = mount
      const readonly = mount.type === 'bind' || mount.type === 'volume' ? (mount.readonly ?? false) : false
      switch (mount.type) {
        case 'bind':
          if (mount.createSource !== true) await requireSource(mount.source)
          mounts.push({ type: 'bind', source: mount.source, target, readonly, propagation: mount.propagation || 'rprivate', ...(mount.mode === undefined ? {} : { mode: mount.mode }) })
          break
        case 'tmpfs':
          mounts.push({ type: 'tmpfs', source: '', target, readonly, propagation: '' })
          break
        case 'image':
          mounts.push(await imageMounts.make(containerId, mount))
          break
        case 'volume': {
          const volume = await volumes.create({
            ...(anonymousName === undefined ? { name: mount.name ?? '' } : { anonymousName }),
            ...(mount.driver ? { driver: mount.driver } : {}),
            ...(mount.driverOptions === undefined ? {} : { options: mount.driverOptions }),
            ...(mount.labels === undefined ? {} : { labels: mount.labels }),
          })
          await volumes.acquire(volume.name, containerId)
          if (volume.anonymous) anonymousVolumes.push(volume.name)
          mounts.push({ type: 'volume', name: volume.name, source: volume.mountpoint, target, driver: volume.driver, readonly, propagation: '', ...(mount.mode === undefined ? {} : { mode: mount.mode }) })
          break
        }
        default:
          unreachable(mount)
      }
    }
    return { mounts, anonymousVolumes }
  } catch (error) {
    await releaseVolumes({ id: containerId, mounts, anonymousVolumes }, volumes, true, log)
    await imageMounts.remove(containerId)
    throw error
  }
}

/** `--mount` refuses at once what is not there; `-v` makes it at the start. */
async function requireSource(source: string): Promise<void> {
  try {
    await stat(source)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    throw new Fault('invalidArgument', `invalid mount config for type "bind": bind source path does not exist: ${source}`)
  }
}

/** Gives the container's volumes back and removes its anonymous ones where asked to. */
export async function releaseVolumes({ id, mounts, anonymousVolumes }: { readonly id: string; readonly mounts: readonly Pick<ResolvedMount, 'type' | 'name'>[]; readonly anonymousVolumes: readonly string[] }, volumes: VolumeDoor, removeAnonymous: boolean, log: Logger): Promise<void> {
  for (const { type, name } of mounts) {
    if (type !== 'volume' || name === undefined) continue
    await volumes.release(name, id)
    if (!removeAnonymous || !anonymousVolumes.includes(name)) continue
    try {
      await volumes.remove(name)
    } catch (error) {
      // Another container took it over with --volumes-from.
      if (!isFault(error, 'conflict') && !isFault(error, 'notFound')) log.warn({ container: id, volume: name, error: String(error) }, 'could not remove an anonymous volume')
    }
  }
}
