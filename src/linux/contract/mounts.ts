/**
 * The mount table of the process's own mount namespace, as mount(2), umount2(2) and /proc/self/mountinfo (proc(5)) know it.
 *
 * Every call runs in a kernel worker: an overlay with much unwritten data takes hundreds of milliseconds to unmount, and
 * no main thread may wait for that.
 */

/** Options of one mount. Per-mount and propagation flags may be mixed: the implementation makes the second mount(2) call that the kernel asks for. */
export type MountFlag =
  | 'bind'
  | 'rbind'
  | 'ro'
  | 'nosuid'
  | 'nodev'
  | 'noexec'
  | 'noatime'
  | 'remount'
  | 'private'
  | 'rprivate'
  | 'shared'
  | 'rshared'
  | 'slave'
  | 'rslave'
  | 'unbindable'

export interface MountRequest {
  /** Device, folder to bind, or a word such as `tmpfs`, `overlay`. */
  readonly source: string
  /** Absolute path that exists already. */
  readonly target: string
  /** File-system type; left out for bind mounts and changes of propagation. */
  readonly type?: string
  readonly flags?: readonly MountFlag[]
  /** File-system options, e.g. `size=64m,mode=1777`. For overlay: at most one page (4 kB), see {@link OverlayRequest}. */
  readonly data?: string
}

/** A bind mount of what `path` names inside `root`, a tree that somebody else may be changing at this moment. */
export interface BindInsideRequest {
  readonly root: string
  readonly path: string
  /** A folder, or a file where `path` is no folder; made by the implementation. */
  readonly target: string
  /** With the mounts below it (default). */
  readonly recursive?: boolean
}

/** A bind mount that shows the owners on the disk as a user namespace maps them (mount_setattr(2), "ID-mapped mounts"). */
export interface ShiftedBindRequest {
  readonly source: string
  /** A folder, or a file where `source` is one. It exists. */
  readonly target: string
  /** Path of the user namespace: who has id N on the disk is shown as the id of the machine that N stands for in it. */
  readonly userNamespace: string
}

/**
 * An overlay. Given as parts rather than as `data` so that any number of layers and any character in their paths work:
 * the implementation uses fsopen/fsconfig (`lowerdir+`) where a page of options would not hold them.
 */
export interface OverlayRequest {
  readonly target: string
  /** Top-most layer first, as overlayfs has it. */
  readonly lower: readonly string[]
  /** Both or neither: without them the overlay is read-only. */
  readonly upper?: string
  readonly work?: string
  /** More options, e.g. `volatile`, `metacopy=off`. */
  readonly options?: readonly string[]
}

export interface MountEntry {
  readonly id: number
  readonly parentId: number
  /** Folder of the file system that is mounted here (`/` unless it is a bind mount). */
  readonly root: string
  readonly target: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
  readonly superOptions: readonly string[]
  readonly propagation: 'private' | 'shared' | 'slave' | 'unbindable'
}

/** Faults: `notFound` (no such target or source), `permissionDenied`, `conflict` (busy), `invalidArgument`; `details.errno` keeps the kernel's word. */
export interface Mounts {
  mount(request: MountRequest): Promise<void>
  /** Links and `..` are resolved with `root` as the root folder (openat2(2), RESOLVE_IN_ROOT), in the same step in which the place is opened. */
  bindInside(request: BindInsideRequest): Promise<void>
  overlay(request: OverlayRequest): Promise<void>
  /** Without the mounts below the source, and private. `invalidArgument`: the file system cannot do it, or is shifted already; `unimplemented`: the kernel cannot (before Linux 5.12). */
  bindShifted(request: ShiftedBindRequest): Promise<void>
  /** Unmounts what is on top of `target`. What is not mounted gives no error: unmounting is level-triggered. `lazy` detaches at once and cleans up when the last user is gone. */
  unmount(target: string, options?: { readonly lazy?: boolean }): Promise<void>
  /** The mount table in the kernel's order (parents first), or the part of it at and below `under`. */
  table(under?: string): Promise<readonly MountEntry[]>
}
