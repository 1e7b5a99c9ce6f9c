/**
 * The files of a build for several platforms as one tree: each platform's in a folder of its own (`linux_arm64_v8`), as BuildKit's exporters
 * of files have it (docs.docker.com/build/exporters/local-tar), or one beside the other where a client wants no such folders.
 */
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import { readTar } from '#oci/layer/reader.ts'
import { tarEnd, tarHeader, tarPadding } from '#oci/layer/writer.ts'
import type { BuiltRoot } from '../http/backend.ts'
import { contentOf } from './rewrite-times.ts'
import { emptyFolder, fromBytePath, type TreeEntry } from './tree.ts'

type Files = Awaited<ReturnType<BuiltRoot['files']>>

function folderOf({ platform }: BuiltRoot): string {
  return platform.replaceAll('/', '_')
}

/** In the order of their paths. `split`: a folder for each platform; without it no two may have the same file. */
export async function filesOfAll(built: readonly BuiltRoot[], { split }: { readonly split: boolean }): Promise<Files> {
  const contents = new Map<TreeEntry, Files['content']>()
  const entries = new Map<string, TreeEntry>()
  for (const [index, root] of built.entries()) {
    const { entries: own, content } = await root.files()
    if (split) entries.set(folderOf(root), { ...emptyFolder, path: folderOf(root) })
    for (const entry of own) {
      const path = split ? `${folderOf(root)}/${entry.path}` : entry.path
      const before = entries.get(path)
      if (before !== undefined && (before.type !== 'directory' || entry.type !== 'directory')) throw new Fault('invalidArgument', `cannot overwrite ${fromBytePath(path)} with that of ${root.platform} when split option is disabled`)
      // Numbers of hard links are each root's own.
      const merged = { ...entry, path, linkGroup: entry.linkGroup === 0 ? 0 : entry.linkGroup * built.length + index }
      entries.set(path, merged)
      contents.set(merged, () => content(entry))
    }
  }
  const sorted = [...entries.values()].toSorted((a, b) => (orderKey(a) < orderKey(b) ? -1 : 1))
  return {
    entries: sorted,
    content: (entry) => contents.get(entry)?.(entry) ?? Readable.from([]),
  }
}

/** A folder stands right before what is in it. */
function orderKey({ path }: TreeEntry): string {
  return path.replaceAll('/', '\0')
}

/** One archive with a folder for each platform. */
export async function* tarOfAll(built: readonly BuiltRoot[]): AsyncGenerator<Buffer> {
  for (const root of built) {
    const prefix = Buffer.from(`${folderOf(root)}/`)
    yield tarHeader({ type: 'directory', path: prefix, linkPath: Buffer.alloc(0), mode: 0o755, uid: 0, gid: 0, userName: '', groupName: '', sizeBytes: 0, modifiedNs: 0n, xattrs: new Map() })
    for await (const item of readTar(await root.tar())) {
      const { entry } = item
      const path = entry.path.toString('latin1').replace(/^\.?\/+/, '')
      if (path === '' || path === '.') continue
      const linkPath = entry.type === 'hardlink' ? Buffer.concat([prefix, Buffer.from(entry.linkPath.toString('latin1').replace(/^\.?\/+/, ''), 'latin1')]) : entry.linkPath
      yield tarHeader({ ...entry, path: Buffer.concat([prefix, Buffer.from(path, 'latin1')]), linkPath })
      if (entry.type !== 'file' || entry.sizeBytes === 0) continue
      yield* contentOf(item)
      yield tarPadding(entry.sizeBytes)
    }
  }
  yield tarEnd
}
