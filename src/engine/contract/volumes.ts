/**
 * `Volumes`: named folders that outlive containers. Driver `local`: a folder below the state directory, or with driver options
 * `type`, `o`, `device` whatever `mount(2)` accepts (bind, tmpfs, nfs), mounted while somebody uses it.
 *
 *     const volume = await volumes.create({ name: 'data' })             // idempotent when the driver and options are the same
 *     await volumes.acquire('data', containerId)                        // a container, running or not, refers to it
 *     const path = await volumes.mount('data', containerId)             // at container start: the host path to bind
 *     await volumes.copyUp('data', '/run/berth/r/abc/rootfs', '/var/lib/x')  // once, only when the volume is empty
 *     await volumes.unmount('data', containerId)                        // at container stop
 *     await volumes.release('data', containerId)                        // at container removal
 *
 * References are not persisted: the engine acquires anew for each container record when it opens.
 * Faults: `notFound` (`get NAME: no such volume`), `conflict` (`remove NAME: volume is in use - [ID]`), `alreadyExists` (other driver or options), `invalidArgument` (name, driver, option).
 */
export interface Volume {
  readonly name: string
  readonly driver: 'local'
  readonly mountpoint: string
  readonly createdAtMs: number
  readonly labels: Readonly<Record<string, string>>
  readonly options: Readonly<Record<string, string>>
  /** Which of the two the creation named: what it did not is shown as null, not as empty. */
  readonly named?: readonly ('labels' | 'options')[]
  /** Named by the engine for a `VOLUME` of an image or `-v /path`: 64 hex digits; removed with its container by `rm -v`/`--rm`. */
  readonly anonymous: boolean
}

export interface VolumeSpec {
  /** Absent: an anonymous volume with a generated name. */
  readonly name?: string
  /** The caller's name for an anonymous volume, where it has to note that name before there is a volume. 64 hex digits. */
  readonly anonymousName?: string
  readonly driver?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly options?: Readonly<Record<string, string>>
}

export interface VolumeCatalog {
  create(spec: VolumeSpec): Promise<Volume>
  get(name: string): Promise<Volume>
  list(): Promise<readonly Volume[]>
  remove(name: string, options?: { readonly force?: boolean }): Promise<void>
  /** Bytes in it and the number of containers that refer to it. */
  usage(name: string): Promise<{ readonly sizeBytes: number; readonly references: number }>
}

export interface VolumeMounts {
  acquire(name: string, containerId: string): Promise<void>
  release(name: string, containerId: string): Promise<void>
  users(name: string): readonly string[]
  /** Mounts it if its options ask for that, and answers the host path. */
  mount(name: string, containerId: string): Promise<string>
  /** As `mount`, but answers a path at which what `subpath` names inside the volume is mounted; `unmount` ends both. `notFound` where there is no such place. */
  mountSubpath(name: string, containerId: string, subpath: string): Promise<string>
  unmount(name: string, containerId: string): Promise<void>
  /**
   * Copies what the image holds at `path` (resolved inside `rootfs`, links cannot leave it) into an empty volume, with owners,
   * modes, times, links and xattrs. A volume that holds something, or a path that the image lacks, is left alone.
   */
  copyUp(name: string, rootfs: string, path: string): Promise<void>
}

export interface Volumes extends VolumeCatalog, VolumeMounts {}
