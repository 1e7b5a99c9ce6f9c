/**
 * The `local` volume driver. A volume is a folder `NAME` below the root with `volume.json` and the data in `_data`, made under
 * another name and renamed, so that a crash leaves a whole volume or one that the next start removes.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'

import { dirname, join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import { readState } from '#base/files.ts'
import { isRecord } from '#base/json.ts'
import type { Logger } from '#base/log.ts'
import { randomHex, type Random } from '#base/random.ts'
import { KeyedSerial } from '#base/task.ts'
import { treeSize } from '#base/tree-size.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { Processes } from '#linux/contract/processes.ts'
import type { EventPublisher } from '../contract/events.ts'
import type { Volume, Volumes, VolumeSpec } from '../contract/volumes.ts'
import { resolveInside } from './confine.ts'
import { mountLocal } from './mount-local.ts'
import { volumeMount } from './options.ts'

const formatVersion = 1

/** By which Docker's clients know volumes that nobody named. */
export const anonymousLabel = 'com.docker.volume.anonymous'

export interface VolumesOptions {
  readonly mounts: Mounts
  readonly processes: Processes
  readonly clock: Clock
  readonly random: Random
  readonly events?: EventPublisher
  readonly log: Logger
  /** e.g. `/var/lib/berth/volumes`. */
  readonly root: string
}

interface LiveVolume {
  readonly volume: Volume
  readonly references: Set<string>
  readonly mountedFor: Set<string>
}

function isVolume(value: unknown): value is Volume {
  return (
    isRecord(value) && typeof value['name'] === 'string' && value['driver'] === 'local' && typeof value['createdAtMs'] === 'number' && typeof value['anonymous'] === 'boolean' && isRecord(value['labels']) && isRecord(value['options'])
  )
}

/** `preconditionFailed` when a newer Berth has written one of the volumes. */
export async function openVolumes(options: VolumesOptions): Promise<LocalVolumes> {
  const volumes = new LocalVolumes(options)
  await volumes.open()
  return volumes
}

class LocalVolumes implements Volumes {
  readonly #options: VolumesOptions
  readonly #volumes = new Map<string, LiveVolume>()
  readonly #serial = new KeyedSerial<string>()

  constructor(options: VolumesOptions) {
    this.#options = options
  }

  async open(): Promise<void> {
    const { root } = this.#options
    await mkdir(root, { recursive: true, mode: 0o711 })
    for (const name of await readdir(root)) {
      if (name.startsWith('.')) await rm(join(root, name), { recursive: true, force: true })
      else await this.#adopt(name)
    }
  }

  /** One volume that a power cut damaged must not keep the engine down: it is reported and left where it is. */
  async #adopt(name: string): Promise<void> {
    try {
      this.#volumes.set(name, { volume: await this.#read(name), references: new Set(), mountedFor: new Set() })
    } catch (error) {
      if (!isFault(error, 'dataLoss')) throw error
      this.#options.log.error({ volume: name, error: error.message }, 'a volume cannot be read; its data is left alone')
    }
  }

  async #read(name: string): Promise<Volume> {
    const path = join(this.#options.root, name, 'volume.json')
    const stored = (await readState(path, formatVersion))?.['volume']
    if (!isVolume(stored)) throw new Fault('dataLoss', `${path} describes no volume`)
    return { ...stored, mountpoint: this.#dataPath(name) }
  }

  #dataPath(name: string): string {
    return join(this.#options.root, name, '_data')
  }

  create(spec: VolumeSpec): Promise<Volume> {
    const anonymous = spec.name === undefined || spec.name === ''
    const name = anonymous ? (spec.anonymousName ?? randomHex(this.#options.random, 64)) : (spec.name ?? '')
    const driver = spec.driver === undefined || spec.driver === '' ? 'local' : spec.driver
    return this.#serial.run(name, async () => {
      if (name.length === 1) throw new Fault('invalidArgument', `create ${name}: volume name is too short, names should be at least two alphanumeric characters`)
      if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(name) || name.length > 255) {
        throw new Fault('invalidArgument', `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`)
      }
      if (driver !== 'local') throw new Fault('notFound', `create ${name}: error looking up volume plugin ${driver}: plugin "${driver}" not found`)
      const options = spec.options ?? {}
      volumeMount(options, this.#dataPath(name))
      const existing = this.#volumes.get(name)?.volume
      if (existing !== undefined) {
        if (Object.keys(options).length > 0 && !sameOptions(existing.options, options)) throw new Fault('alreadyExists', `create ${name}: conflict: volume exists with other options`)
        return existing
      }
      const named = (['labels', 'options'] as const).filter((map) => spec[map] !== undefined)
      const volume: Volume = { name, driver: 'local', mountpoint: this.#dataPath(name), createdAtMs: this.#options.clock.nowMs(), labels: { ...spec.labels, ...(anonymous ? { [anonymousLabel]: '' } : {}) }, options, named, anonymous }
      await this.#write(volume)
      this.#volumes.set(name, { volume, references: new Set(), mountedFor: new Set() })
      this.#publish('create', volume)
      return volume
    })
  }

  async #write(volume: Volume): Promise<void> {
    const { root } = this.#options
    const temporary = join(root, `.new-${volume.name}`)
    await rm(temporary, { recursive: true, force: true })
    await mkdir(join(temporary, '_data'), { recursive: true, mode: 0o755 })
    {
      await using file = await open(join(temporary, 'volume.json'), 'w', 0o600)
      await file.writeFile(JSON.stringify({ formatVersion, volume }))
      if (!volume.anonymous) await file.sync()
    }
    await rename(temporary, join(root, volume.name))
    if (volume.anonymous) return
    await using folder = await open(root, 'r')
    await folder.sync()
  }

  async get(name: string): Promise<Volume> {
    return this.#find(name).volume
  }

  #find(name: string): LiveVolume {
    const found = this.#volumes.get(name)
    if (found === undefined) throw new Fault('notFound', `get ${name}: no such volume`)
    return found
  }

  async list(): Promise<readonly Volume[]> {
    return [...this.#volumes.values()].map(({ volume }) => volume).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  remove(name: string, options: { readonly force?: boolean } = {}): Promise<void> {
    return this.#serial.run(name, async () => {
      const live = this.#volumes.get(name)
      if (live === undefined) {
        if (options.force === true) return
        throw new Fault('notFound', `get ${name}: no such volume`)
      }
      if (live.references.size > 0) throw new Fault('conflict', `remove ${name}: volume is in use - [${[...live.references].join(', ')}]`)
      if (volumeMount(live.volume.options, live.volume.mountpoint) !== undefined) await this.#unmountAll(live.volume)
      for (const { target } of await this.#options.mounts.table(join(this.#options.root, name, 'subpaths'))) await this.#options.mounts.unmount(target, { lazy: true })
      const doomed = join(this.#options.root, `.removed-${name}`)
      await rm(doomed, { recursive: true, force: true })
      await rename(join(this.#options.root, name), doomed)
      this.#volumes.delete(name)
      this.#publish('destroy', live.volume)
      await rm(doomed, { recursive: true, force: true })
    })
  }

  /** A file system still mounted there is not ours to delete: rather fail than remove through it. */
  async #unmountAll(volume: Volume): Promise<void> {
    await this.#options.mounts.unmount(volume.mountpoint)
    const left = await this.#options.mounts.table(volume.mountpoint)
    if (left.length > 0) throw new Fault('conflict', `remove ${volume.name}: ${left[0]?.source ?? 'a file system'} is still mounted at ${volume.mountpoint}`)
  }

  async usage(name: string): Promise<{ readonly sizeBytes: number; readonly references: number }> {
    const { volume, references } = this.#find(name)
    return { sizeBytes: await treeSize(volume.mountpoint), references: references.size }
  }

  async acquire(name: string, containerId: string): Promise<void> {
    await this.#serial.run(name, async () => void this.#find(name).references.add(containerId))
  }

  async release(name: string, containerId: string): Promise<void> {
    await this.unmount(name, containerId)
    this.#volumes.get(name)?.references.delete(containerId)
  }

  users(name: string): readonly string[] {
    return [...(this.#volumes.get(name)?.references ?? [])]
  }

  mount(name: string, containerId: string): Promise<string> {
    return this.#serial.run(name, async () => {
      const { volume, mountedFor } = this.#find(name)
      const request = volumeMount(volume.options, volume.mountpoint)
      if (request !== undefined && !(await this.#isMounted(volume))) await mountLocal(request, this.#options.mounts)
      mountedFor.add(containerId)
      return volume.mountpoint
    })
  }

  async mountSubpath(name: string, containerId: string, subpath: string): Promise<string> {
    const { mounts } = this.#options
    const root = await this.mount(name, containerId)
    const target = join(this.#subpathFolder(name, containerId), createHash('sha256').update(subpath).digest('hex').slice(0, 16))
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
    try {
      await mounts.bindInside({ root, path: subpath, target })
    } catch (error) {
      await this.unmount(name, containerId)
      if (!isFault(error, 'notFound')) throw error
      throw new Fault('notFound', `cannot access path ${join(root, subpath)}: lstat ${join(root, subpath)}: no such file or directory`, { cause: error })
    }
    return target
  }

  /** Beside the data, so that it is found again after a crash. */
  #subpathFolder(name: string, containerId: string): string {
    return join(this.#options.root, name, 'subpaths', containerId)
  }

  async #unmountSubpaths(name: string, containerId: string): Promise<void> {
    const folder = this.#subpathFolder(name, containerId)
    if (!existsSync(folder)) return
    for (const { target } of await this.#options.mounts.table(folder)) await this.#options.mounts.unmount(target, { lazy: true })
    await rm(folder, { recursive: true, force: true })
  }

  unmount(name: string, containerId: string): Promise<void> {
    return this.#serial.run(name, async () => {
      const live = this.#volumes.get(name)
      if (live !== undefined) await this.#unmountSubpaths(name, containerId)
      if (live === undefined) return
      // One that was mounted before we were restarted is not on our list, and is unmounted all the same.
      live.mountedFor.delete(containerId)
      if (live.mountedFor.size === 0 && volumeMount(live.volume.options, live.volume.mountpoint) !== undefined) await this.#options.mounts.unmount(live.volume.mountpoint)
    })
  }

  async #isMounted(volume: Volume): Promise<boolean> {
    return (await this.#options.mounts.table(volume.mountpoint)).some(({ target }) => target === volume.mountpoint)
  }

  copyUp(name: string, rootfs: string, path: string): Promise<void> {
    return this.#serial.run(name, async () => {
      const { volume } = this.#find(name)
      if ((await readdir(volume.mountpoint)).length > 0) return
      const source = await resolveInside(rootfs, path)
      if (source === undefined || !(await lstat(source)).isDirectory()) return
      const mounted = volumeMount(volume.options, volume.mountpoint) !== undefined
      const target = mounted ? volume.mountpoint : join(this.#options.root, name, '.copy')
      if (!mounted) {
        await rm(target, { recursive: true, force: true })
        await mkdir(target)
      }
      // Source and target are plain folders without a link in their paths, and cp -a follows none inside.
      const copied = await this.#options.processes.run(['cp', '-a', '--', `${source}/.`, target])
      if (copied.exitCode !== 0) throw new Fault('internal', `copying ${path} of the image into the volume ${name}: ${copied.stderr.toString().trim()}`)
      if (mounted) return
      await rename(target, volume.mountpoint)
    })
  }

  #publish(action: 'create' | 'destroy', volume: Volume): void {
    this.#options.events?.publish({ type: 'volume', action, actor: { id: volume.name, attributes: { driver: volume.driver } } })
  }
}

function sameOptions(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...names].every((name) => a[name] === b[name])
}
