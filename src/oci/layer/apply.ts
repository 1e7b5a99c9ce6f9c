/**
 * Unpacks a tar into a target. Runs inside a confined job (the target's folder is the job's root, so that no link leads out of it). Two uses:
 *
 * - `layer`: one layer by itself, to be stacked by overlayfs. `.wh.name` becomes a whiteout and `.wh..wh..opq` an opaque folder
 *   (image-spec `layer.md#whiteouts`, kernel `overlayfs.rst`).
 * - `tree`: an archive into an existing tree (`docker cp`, `ADD`, `docker import`): whiteout names mean nothing.
 */
import { unreachable } from '#base/assert.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import { hostIdOf, type IdMapping, type IdRange } from '#linux/contract/id-mapping.ts'
import { archiveFault, defaultTarLimits } from './entry.ts'
import type { TarEntry, TarLimits } from './entry.ts'
import { withRootId } from './file-capabilities.ts'
import { readTar } from './reader.ts'
import type { TarItem } from './reader.ts'
import { checkSymlink, joinComponents, safeComponents } from './safe-path.ts'
import type { LayerTarget, Standing } from './target.ts'

export interface ApplyOptions {
  readonly kind: 'layer' | 'tree'
  readonly limits?: TarLimits
  /** Gives every entry this owner (`ADD --chown`). */
  readonly owner?: { readonly uid: number; readonly gid: number }
  /** How the owners that the tree shows are mapped; the archive has those inside. */
  readonly ids?: IdMapping
  /** Refuse to replace a folder by something else, or the other way round (`docker cp`). */
  readonly keepKinds?: boolean
}

export interface Applied {
  readonly entries: number
  /** Sum of what lstat(2) calls the sizes of files and links, as Docker counts. */
  readonly sizeBytes: number
}

const whiteoutPrefix = Buffer.from('.wh.')
const opaqueMarker = '.wh..wh..opq'
const root = Buffer.alloc(0)

export async function applyTar(source: AsyncIterable<Uint8Array>, target: LayerTarget, options: ApplyOptions): Promise<Applied> {
  const tree = new Tree(target, options)
  let entries = 0
  let sizeBytes = 0
  for await (const item of readTar(source, options.limits ?? defaultTarLimits)) {
    try {
      await tree.place(item)
    } catch (error) {
      throw asArchiveFault(error, item.entry.path)
    }
    entries += 1
    sizeBytes += item.entry.sizeBytes + (item.entry.type === 'symlink' ? item.entry.linkPath.length : 0)
  }
  try {
    target.finish()
  } catch (error) {
    throw asArchiveFault(error)
  }
  return { entries, sizeBytes }
}

function asArchiveFault(error: unknown, path?: Buffer): unknown {
  const code = systemErrorCode(error)
  if (error instanceof Fault || code === undefined) return error
  if (code === 'ENOSPC' || code === 'EDQUOT') return new Fault('resourceExhausted', 'no space left on device while unpacking: free some room below the state folder, or prune images', { cause: error })
  if (code === 'EIO' || code === 'EROFS' || code === 'EMFILE') return error
  const why = error instanceof Error ? error.message : String(error)
  const fault = archiveFault(`cannot be unpacked: ${why}`, path)
  return new Fault(fault.code, fault.message, { cause: error })
}

class Tree {
  readonly #target: LayerTarget
  readonly #options: ApplyOptions
  /** Folders known to exist, by latin1 text of their path. */
  readonly #known = new Set<string>()
  /** Names whose lower version a whiteout of this layer hides. */
  readonly #hidden = new Set<string>()

  constructor(target: LayerTarget, options: ApplyOptions) {
    this.#target = target
    this.#options = options
  }

  async place(item: TarItem): Promise<void> {
    const components = safeComponents(item.entry.path)
    const { owner, ids } = this.#options
    const owned = owner === undefined ? item.entry : { ...item.entry, ...owner }
    const entry = ids === undefined ? owned : outside(owned, ids)
    const name = components.at(-1)
    if (name === undefined) {
      if (entry.type !== 'directory') throw archiveFault('the root of the archive can only be a folder', entry.path)
      return this.#target.describeFolder(root, entry)
    }
    this.#ensureParents(components, entry)
    if (this.#options.kind === 'layer' && name.subarray(0, 4).equals(whiteoutPrefix)) return this.#whiteout(components, name)
    await this.#create(item, entry, components)
  }

  #ensureParents(components: readonly Buffer[], entry: TarEntry): void {
    if (components.length < 2 || this.#known.has(joinComponents(components.slice(0, -1)).toString('latin1'))) return
    for (let depth = 1; depth < components.length; depth += 1) {
      const path = joinComponents(components.slice(0, depth))
      const key = path.toString('latin1')
      if (this.#known.has(key)) continue
      const found = this.#target.look(path)
      if (found === undefined || found === 'whiteout') {
        if (found !== undefined) this.#target.remove(path)
        this.#target.makeFolder(path)
        if (found !== undefined) this.#target.makeOpaque(path)
      } else if (found !== 'folder' && !this.#target.isFolder(path)) throw archiveFault(`'${key}' is in its way and no folder`, entry.path)
      this.#known.add(key)
    }
  }

  #whiteout(components: readonly Buffer[], name: Buffer): void {
    const parent = components.slice(0, -1)
    const text = name.toString('latin1')
    if (text === opaqueMarker) return this.#target.makeOpaque(joinComponents(parent))
    // Other `.wh..wh.` names are bookkeeping of AUFS.
    if (text.startsWith('.wh..wh.')) return
    const hidden = name.subarray(whiteoutPrefix.length)
    if (hidden.length === 0 || hidden.equals(Buffer.from('.')) || hidden.equals(Buffer.from('..'))) throw archiveFault('a whiteout names no file', joinComponents(components))
    const path = joinComponents([...parent, hidden])
    this.#hidden.add(path.toString('latin1'))
    const found = this.#target.look(path)
    if (found === undefined) this.#target.whiteout(path)
    // What this layer itself brings stays; a folder must not let the lower one shine through.
    else if (found === 'folder') this.#target.makeOpaque(path)
  }

  async #create(item: TarItem, entry: TarEntry, components: readonly Buffer[]): Promise<void> {
    const path = joinComponents(components)
    switch (entry.type) {
      case 'directory':
        return this.#folder(path, entry)
      case 'file':
        return await this.#file(path, item, entry)
      case 'hardlink': {
        const target = safeComponents(entry.linkPath, 'link target')
        if (target.length === 0) throw archiveFault('a hard link to the root', entry.path)
        const targetPath = joinComponents(target)
        if (targetPath.equals(path)) return
        this.#clear(path, entry)
        return this.#target.hardlink(path, targetPath)
      }
      case 'symlink':
        checkSymlink(components, entry.linkPath, entry.path)
        this.#clear(path, entry)
        return this.#target.special(path, entry)
      case 'charDevice':
      case 'blockDevice':
      case 'fifo':
        if (this.#options.kind === 'layer' && entry.type === 'charDevice' && entry.device?.major === 0 && entry.device.minor === 0) {
          throw archiveFault('a 0:0 character device would hide files of the layers below: expected a .wh. entry for that', entry.path)
        }
        this.#clear(path, entry)
        return this.#target.special(path, entry)
      default:
        return unreachable(entry.type)
    }
  }

  #folder(path: Buffer, entry: TarEntry): void {
    const key = path.toString('latin1')
    try {
      this.#target.makeFolder(path)
      if (this.#hidden.has(key)) this.#target.makeOpaque(path)
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
      const found = this.#target.look(path)
      const keepsLink = this.#options.kind === 'tree' && found === 'symlink' && this.#target.isFolder(path)
      if (keepsLink) return
      if (found !== 'folder') {
        this.#clear(path, entry)
        this.#target.makeFolder(path)
        if (found === 'whiteout' && this.#options.kind === 'layer') this.#target.makeOpaque(path)
      }
    }
    this.#known.add(key)
    this.#target.describeFolder(path, entry)
  }

  async #file(path: Buffer, item: TarItem, entry: TarEntry): Promise<void> {
    try {
      await this.#target.file(path, item, entry)
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
      this.#clear(path, entry)
      await this.#target.file(path, item, entry)
    }
  }

  /** Makes room for an entry that is no folder. */
  #clear(path: Buffer, entry: TarEntry): void {
    const found = this.#target.look(path)
    if (found === undefined) return
    this.#mayReplace(found, entry)
    // Whatever was known below it is gone, or is seen in another way now.
    if (found === 'folder' || found === 'symlink') this.#known.clear()
    this.#target.remove(path)
  }

  #mayReplace(found: Standing, entry: TarEntry): void {
    const wasFolder = found === 'folder'
    if (this.#options.keepKinds !== true || wasFolder === (entry.type === 'directory')) return
    throw new Fault('invalidArgument', `cannot overwrite ${wasFolder ? 'directory' : 'non-directory'} '${entry.path.toString('utf8')}' with ${wasFolder ? 'non-directory' : 'directory'}`)
  }
}

/** The entry as the tree has to show it. */
function outside(entry: TarEntry, { uids, gids }: IdMapping): TarEntry {
  const capability = entry.xattrs.get('security.capability')
  const xattrs = capability === undefined ? entry.xattrs : new Map([...entry.xattrs, ['security.capability', withRootId(capability, hostId(uids, 0))]])
  return { ...entry, uid: hostId(uids, entry.uid), gid: hostId(gids, entry.gid), xattrs }
}

function hostId(ranges: readonly IdRange[], containerId: number): number {
  const found = hostIdOf(ranges, containerId)
  if (found === undefined) throw new Fault('invalidArgument', `Container ID ${containerId} cannot be mapped to a host ID`)
  return found
}
