/**
 * Confined job: reads a tar from its input and spools the contents of its files into an open file, hashing them on the way.
 * Answers the entries. Nothing is unpacked; names that could leave the archive's root are refused.
 */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { Fault } from '#base/fault.ts'
import type { JobContext } from '#linux/contract/confined.ts'
import { archiveFault } from '#oci/layer/entry.ts'
import { readTar, type TarItem } from '#oci/layer/reader.ts'
import { joinComponents, safeComponents } from '#oci/layer/safe-path.ts'
import type { TreeEntry } from './tree.ts'

export interface SpoolArchiveArgs {
  /** Descriptor of the spool, open for writing in this process. */
  readonly fd: number
  /** Where in the spool to begin. */
  readonly offset: number
}

export interface Spooled {
  readonly entries: readonly TreeEntry[]
  /** Where the spool now ends. */
  readonly end: number
}

export async function job(args: SpoolArchiveArgs, context: JobContext): Promise<Spooled> {
  const entries = new Map<string, TreeEntry>()
  let end = args.offset
  let groups = 0
  for await (const item of readTar(context.input)) {
    if (context.signal.aborted) throw new Fault('canceled', 'reading the archive was canceled')
    const path = joinComponents(safeComponents(item.entry.path)).toString('latin1')
    if (item.entry.type === 'hardlink') {
      const target = joinComponents(safeComponents(item.entry.linkPath, 'link target')).toString('latin1')
      const linked = entries.get(target)
      if (linked?.type !== 'file') throw archiveFault('its hard link names no earlier file of the archive', item.entry.path)
      const linkGroup = linked.linkGroup === 0 ? (groups += 1) : linked.linkGroup
      entries.set(target, { ...linked, linkGroup })
      entries.set(path, { ...linked, path, linkGroup })
      continue
    }
    const content = item.entry.type === 'file' ? await spoolFile(item, args.fd, end) : { sizeBytes: 0, sha256: '' }
    if (path !== '') entries.set(path, entryOf(item, path, end, content))
    end += content.sizeBytes
  }
  return { entries: [...entries.values()], end }
}

async function spoolFile(item: TarItem, fd: number, offset: number): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  const hash = createHash('sha256')
  let position = 0
  const write = (chunk: Uint8Array): void => {
    hash.update(chunk)
    for (let done = 0; done < chunk.length; ) done += writeSync(fd, chunk, done, chunk.length - done, offset + position + done)
    position += chunk.length
  }
  const segments = item.segments ?? [{ offset: 0, length: item.entry.sizeBytes }]
  for (const segment of segments) {
    writeZeros(segment.offset - position, write)
    for (let left = segment.length; left > 0; ) {
      const chunk = await item.read(Math.min(left, 1 << 20))
      if (chunk === undefined) throw archiveFault('it ends before its content does', item.entry.path)
      write(chunk)
      left -= chunk.length
    }
  }
  writeZeros(item.entry.sizeBytes - position, write)
  return { sizeBytes: position, sha256: hash.digest('hex') }
}

const zeros = Buffer.alloc(1 << 20)

function writeZeros(count: number, write: (chunk: Uint8Array) => void): void {
  for (let left = count; left > 0; left -= zeros.length) write(zeros.subarray(0, Math.min(left, zeros.length)))
}

function entryOf({ entry }: TarItem, path: string, offset: number, content: { readonly sizeBytes: number; readonly sha256: string }): TreeEntry {
  const type = entry.type
  if (type === 'hardlink') throw archiveFault('a hard link has no content of its own', entry.path)
  return {
    path,
    type,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    modifiedNs: entry.modifiedNs,
    offset,
    ...content,
    linkGroup: 0,
    target: entry.linkPath.toString('latin1'),
    major: entry.device?.major ?? 0,
    minor: entry.device?.minor ?? 0,
    xattrs: [...entry.xattrs],
  }
}
