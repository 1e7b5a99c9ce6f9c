/**
 * The files of a build for several platforms as one tree: each platform's in a folder of its own (`linux_arm64`), as BuildKit's exporters of
 * files have it (docs.docker.com/build/exporters/local-tar), or beside each other where a client wants no such folders.
 */
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import { readTar } from '#oci/layer/reader.ts'
import { tarEnd, tarHeader, tarPadding } from '#oci/layer/writer.ts'
import type { BuiltRoot } from '../http/backend.ts'
import { contentOf } from './rewrite-times.ts'
import { emptyFolder, fromBytePath, toBytePath, type TreeEntry } from './tree.ts'

export type Files = Awaited<ReturnType<BuiltRoot['files']>>

/** A file that comes beside what was built. */
export interface ExtraFile {
  readonly name: string
  readonly content: Buffer
}

export interface PlatformFolders {
  /** A folder for each platform; without it no two may have the same file. */
  readonly split: boolean
  /** Called with a platform's own files. */
  readonly extra: (root: BuiltRoot, entries: readonly TreeEntry[]) => readonly ExtraFile[]
}

export function folderOf({ platform }: Pick<BuiltRoot, 'platform'>): string {
  return platform.replaceAll('/', '_')
}

/** In the order of their paths. */
export async function filesOfAll(built: readonly BuiltRoot[], { split, extra }: PlatformFolders): Promise<Files> {
  const contents = new Map<TreeEntry, () => Readable>()
  const entries = new Map<string, TreeEntry>()
  /** Platforms, by path. */
  const owners = new Map<string, string>()
  const add = (root: BuiltRoot, entry: TreeEntry, content: () => Readable): void => {
    const path = split ? `${folderOf(root)}/${entry.path}` : entry.path
    const before = entries.get(path)
    if (before !== undefined && (before.type !== 'directory' || entry.type !== 'directory')) throw new Fault('invalidArgument', `cannot overwrite ${fromBytePath(path)} from ${owners.get(path) ?? ''} with ${root.platform} when split option is disabled`)
    const placed = { ...entry, path }
    entries.set(path, placed)
    owners.set(path, root.platform)
    contents.set(placed, content)
  }
  for (const [index, root] of built.entries()) {
    const { entries: own, content } = await root.files()
    const listed = [...own]
    if (split) entries.set(folderOf(root), { ...emptyFolder, path: folderOf(root) })
    // Numbers of hard links are each root's own.
    for (const entry of listed) add(root, { ...entry, linkGroup: entry.linkGroup === 0 ? 0 : entry.linkGroup * built.length + index }, () => content(entry))
    for (const file of extra(root, listed)) add(root, { ...emptyFolder, type: 'file', mode: 0o600, path: toBytePath(file.name), sizeBytes: file.content.length }, () => Readable.from([file.content]))
  }
  return {
    entries: [...entries.values()].toSorted((a, b) => (orderKey(a) < orderKey(b) ? -1 : 1)),
    content: (entry) => contents.get(entry)?.() ?? Readable.from([]),
  }
}

/** A folder stands right before what is in it. */
function orderKey({ path }: TreeEntry): string {
  return path.replaceAll('/', '\0')
}

/** One archive; `split`: with a folder for each platform. */
export async function* tarOfAll(built: readonly BuiltRoot[], { split, extra }: PlatformFolders): AsyncGenerator<Buffer> {
  for (const root of built) {
    const prefix = Buffer.from(split ? `${folderOf(root)}/` : '')
    const within = (path: Buffer): Buffer => Buffer.concat([prefix, Buffer.from(path.toString('latin1').replace(/^(\.?\/+)+/, ''), 'latin1')])
    if (split) yield header(Buffer.from(folderOf(root)), 'directory', 0)
    for await (const item of readTar(await root.tar())) {
      const { entry } = item
      if (/^[./]*$/.test(entry.path.toString('latin1'))) continue
      yield tarHeader({ ...entry, path: within(entry.path), linkPath: entry.type === 'hardlink' ? within(entry.linkPath) : entry.linkPath })
      if (entry.type !== 'file' || entry.sizeBytes === 0) continue
      yield* contentOf(item)
      yield tarPadding(entry.sizeBytes)
    }
    for (const { name, content } of extra(root, [...(await root.files()).entries])) {
      yield header(Buffer.concat([prefix, Buffer.from(name)]), 'file', content.length)
      yield content
      yield tarPadding(content.length)
    }
  }
  yield tarEnd
}

function header(path: Buffer, type: 'file' | 'directory', sizeBytes: number): Buffer {
  return tarHeader({ type, path, linkPath: Buffer.alloc(0), mode: type === 'file' ? 0o600 : 0o755, uid: 0, gid: 0, userName: '', groupName: '', sizeBytes, modifiedNs: 0n, xattrs: new Map() })
}
