/**
 * `Snapshots`: copy-on-write file systems. A snapshot is either *committed* (a layer stack, immutable, named by its chain id)
 * or *active* (writable, named by a key of the caller's choice, e.g. a container id). Committed ones are shared by all
 * images and containers above them; only what an active one changed takes space.
 *
 *     await snapshots.prepare(containerId, image.topLayer)          // writable, empty on top of the image
 *     await snapshots.mount(containerId, '/run/berth/r/abc/rootfs') // overlayfs
 *     …                                                             // processes write
 *     const layer = await snapshots.diff(containerId)               // what changed, as a layer blob
 *     await snapshots.commit(containerId, layer)                    // becomes chain id of (parent, layer.diffId)
 *     await snapshots.unmount(containerId); await snapshots.remove(containerId)
 *
 * Promises: `prepare` and `remove` never copy data; a crash at any instant leaves either the snapshot or nothing (leftovers are
 * collected on open); a layer archive can name no file outside its root. Implemented with overlayfs on cgroup-independent
 * kernel calls in a worker; mounts are made in the caller's mount namespace so that every container sees them.
 *
 * Faults: `notFound` (parent or key), `alreadyExists` (key, chain id), `conflict` (remove while mounted), `dataLoss` (a layer
 * whose bytes do not have the promised diff id), `invalidArgument` (a malformed archive, with the entry's name).
 */
import type { Readable } from 'node:stream'
import type { IdMapping } from '#linux/contract/id-mapping.ts'
import type { ChainId, DiffId } from './images.ts'

export type SnapshotKey = string

export interface SnapshotReader {
  /** Whether the layer stack is unpacked here. */
  has(chainId: ChainId): Promise<boolean>
  /** Bytes and files an active or committed snapshot adds to its parent. */
  usage(keyOrChainId: string): Promise<{ readonly sizeBytes: number; readonly inodes: number }>
  /** What an active snapshot changed, in path order (`docker diff`). */
  changes(key: SnapshotKey): Promise<readonly SnapshotChange[]>
  /** Where an active or committed snapshot stands on the disk (`GraphDriver` of an inspection). */
  folders(keyOrChainId: string): Promise<SnapshotFolders>
}

/** As overlayfs names them. */
export interface SnapshotFolders {
  readonly upper: string
  /** Of an active one. */
  readonly work?: string
  /** Topmost first. */
  readonly lower: readonly string[]
}

export interface SnapshotChange {
  readonly path: string
  readonly kind: 'modified' | 'added' | 'deleted'
}

export interface SnapshotMountOptions {
  readonly volatile?: boolean
  readonly readonly?: boolean
  readonly shifted?: boolean
}

export interface SnapshotMounter {
  /**
   * A writable snapshot on a committed parent (`undefined`: an empty root). Survives a restart of the machine. `init`: what Docker puts
   * into every container (`/.dockerenv`, `/etc/mtab`, the places to mount over) is below it, and so no change of its own.
   */
  prepare(key: SnapshotKey, parent: ChainId | undefined, options?: { readonly init?: boolean }): Promise<void>
  /**
   * Mounts an active snapshot at `target`, an empty folder that exists. `volatile` skips every sync for what may be lost in a
   * power cut (builds, `--rm`). `shifted`: owners are shown as containers in user namespaces have them; on the disk they are what they always are. Mounting what is mounted at the same target already is no error (adoption after a restart).
   */
  mount(key: SnapshotKey, target: string, options?: SnapshotMountOptions): Promise<void>
  /** Idempotent. Lazy, so that a stray process cannot hold it. */
  unmount(target: string): Promise<void>
  /** Idempotent; the key may be used again. */
  remove(key: SnapshotKey): Promise<void>
  /** The keys of all active snapshots, so that their owner can remove those it no longer knows. */
  keys(): Promise<readonly SnapshotKey[]>
}

export interface LayerDescriptor {
  readonly diffId: DiffId
  /** Digest of the stored blob: equal to `diffId` for layers made here (kept uncompressed). */
  readonly digest: string
  readonly mediaType: string
  /** Of the blob. */
  readonly sizeBytes: number
}

/** A file that is to be part of a snapshot without a copy. */
export interface FileToLink {
  /** Where an empty file stands for it: absolute in the snapshot, without links; each character one byte. */
  readonly path: string
  /** On the machine; nobody changes it any more. Its owner, mode and time become the snapshot's. */
  readonly source: string
}

export interface SnapshotCommitter {
  /** Puts files in the place of empty ones in an active snapshot that is not mounted, by hard links; by copies where those cannot be. Folders keep their times. */
  link(key: SnapshotKey, files: readonly FileToLink[]): Promise<void>
  /** The changes of an active snapshot as a reproducible layer tar in the blob store: entries sorted, parents first, whiteouts. */
  diff(key: SnapshotKey, options?: { readonly signal?: AbortSignal }): Promise<LayerDescriptor>
  /**
   * Turns the active snapshot (unmounted) into a committed one and forgets the key. When that chain id exists already, the active one is
   * dropped and the existing one stands: equal content is stored once. Answers the chain id.
   */
  commit(key: SnapshotKey, layer: LayerDescriptor): Promise<ChainId>
  /** Unpacks an uncompressed layer tar onto `parent` and verifies that it has `diffId`. A stack that exists is not unpacked again. */
  unpack(layer: { readonly parent: ChainId | undefined; readonly diffId: DiffId; readonly tar: Readable; readonly signal?: AbortSignal }): Promise<ChainId>
  /** Deletes committed snapshots for which `inUse` is false and which have no child. Answers the bytes freed. */
  collect(inUse: (chainId: ChainId) => boolean): Promise<number>
}

/** Where to look instead of the snapshot's own root: a running container's (`/proc/PID/root`, with all its mounts), or a volume. */
export interface ArchiveTree {
  readonly root: string
  /** How the owners of the tree are mapped, so that an archive has them as the container sees them. */
  readonly ids?: IdMapping
  /** What the tree's own root is called in the archive and the stat. */
  readonly name?: string
}

export interface SnapshotArchives {
  /**
   * `docker cp` out of an active snapshot, mounted or not: a tar of `path` (its base name is the first entry). Links are
   * resolved inside the root. `stat` describes the path for the `X-Docker-Container-Path-Stat` header.
   */
  readArchive(key: SnapshotKey, path: string, options?: { readonly signal?: AbortSignal; readonly tree?: ArchiveTree }): Promise<{ readonly stat: PathStat; readonly tar: Readable }>
  statPath(key: SnapshotKey, path: string, options?: { readonly tree?: ArchiveTree }): Promise<PathStat>
  /**
   * `docker cp` in, COPY and ADD: unpacks a tar (gzip, zstd or not) below the folder `path`. `noOverwriteDirNonDir`: a file may not
   * replace a folder or the other way round. `owner` is given to every entry; `makeFolder` makes `path` where it is missing.
   */
  writeArchive(key: SnapshotKey, path: string, tar: Readable, options?: ArchiveWriteOptions): Promise<void>
  /** `docker export`: the whole root as one tar. */
  exportRoot(key: SnapshotKey, options?: { readonly signal?: AbortSignal }): Promise<Readable>
}

export interface ArchiveWriteOptions {
  readonly tree?: ArchiveTree
  readonly noOverwriteDirNonDir?: boolean
  readonly owner?: { readonly uid: number; readonly gid: number }
  readonly makeFolder?: boolean
  readonly signal?: AbortSignal
}

export interface PathStat {
  readonly name: string
  readonly sizeBytes: number
  /** As Go's `os.FileMode` prints it in JSON: permission bits plus its own type bits (`1<<31` folder, `1<<27` symlink …). */
  readonly goMode: number
  readonly modifiedAtNs: bigint
  readonly linkTarget: string
}

export interface Snapshots extends SnapshotReader, SnapshotMounter, SnapshotCommitter, SnapshotArchives {}
