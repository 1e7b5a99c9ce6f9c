/**
 * Confined job: reads a tar from its input and spools the contents of its files into an open file, hashing them on the way.
 * Answers the entries. Nothing is unpacked; names that could leave the archive's root are refused.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { Fault } from '#base/fault.ts'
import type { JobContext } from '#linux/contract/confined.ts'
import { archiveFault } from '#oci/layer/entry.ts'
import { readTar, type TarItem } from '#oci/layer/reader.ts'
import { joinComponents, safeComponents } from '#oci/layer/safe-path.ts'
import { WriteBehind } from './write-behind.ts'
import { aloneName, contentHash, hashOfContent, hashText, type TreeEntry } from './tree.ts'

export interface SpoolArchiveArgs {
  /** Descriptor of the spool, open for writing in this process. */
  readonly fd: number
  /** Where in the spool to begin. */
  readonly offset: number
  /** Large files get a file of their own in the job's root ({@link aloneName}), which a layer can have without a copy. */
  readonly largeStandAlone: boolean
}

/** Smaller ones are sooner copied than linked. */
const aloneBytes = 4 * 1024 * 1024
/** Each is open while it is copied from. */
const maxAlone = 256

export interface Spooled {
  readonly entries: readonly TreeEntry[]
  /** Where the spool now ends. */
  readonly end: number
}

export async function job(args: SpoolArchiveArgs, context: JobContext): Promise<Spooled> {
  const entries = new Map<string, TreeEntry>()
  const writer = new SpoolWriter(args)
  let aloneLeft = args.largeStandAlone ? maxAlone : 0
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
    const isAlone = item.entry.type === 'file' && item.entry.sizeBytes >= aloneBytes && aloneLeft > 0
    if (isAlone) aloneLeft -= 1
    const content = item.entry.type === 'file' ? await (isAlone ? spoolAlone : spoolFile)(item, writer) : { offset: writer.end, sizeBytes: 0, hash: '' }
    if (path !== '') entries.set(path, entryOf(item, path, content))
  }
  writer.flush()
  return { entries: [...entries.values()], end: writer.end }
}

type Content = Pick<TreeEntry, 'offset' | 'sizeBytes' | 'hash' | 'isAlone'>

async function spoolAlone(item: TarItem, writer: SpoolWriter): Promise<Content> {
  const offset = writer.end
  const fd = openSync(`/${aloneName(offset)}`, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600)
  try {
    const content = item.segments === undefined ? await spoolWhole(item, fd) : await spoolSparse(item, fd)
    writer.skip(content.sizeBytes)
    return { ...content, offset, isAlone: true }
  } finally {
    closeSync(fd)
  }
}

async function spoolWhole(item: TarItem, fd: number): Promise<Pick<Content, 'sizeBytes' | 'hash'>> {
  await using file = new WriteBehind(fd)
  const { sizeBytes } = item.entry
  const hash = contentHash()
  for (let done = 0; done < sizeBytes; ) {
    const chunk = await item.read()
    if (chunk === undefined) throw archiveFault('it ends before its content does', item.entry.path)
    await file.append(chunk)
    hash.update(chunk)
    done += chunk.length
  }
  await file.end()
  return { sizeBytes, hash: hashText(hash.digest('hex')) }
}

async function spoolSparse(item: TarItem, fd: number): Promise<Pick<Content, 'sizeBytes' | 'hash'>> {
  const writer = new SpoolWriter({ fd, offset: 0 })
  const content = await spoolFile(item, writer)
  writer.flush()
  return content
}

async function spoolFile(item: TarItem, writer: SpoolWriter): Promise<Content> {
  const offset = writer.end
  const { sizeBytes } = item.entry
  let first: Buffer | undefined
  if (item.segments === undefined && sizeBytes > 0) {
    const begin = item.read()
    first = begin instanceof Promise ? await begin : begin
    if (first?.length === sizeBytes) {
      writer.append(first)
      return { offset, sizeBytes, hash: hashOfContent(first) }
    }
  }
  const hash = contentHash()
  const write = (chunk: Uint8Array): void => {
    hash.update(chunk)
    writer.append(chunk)
  }
  if (first !== undefined) write(first)
  for (const segment of item.segments ?? [{ offset: 0, length: sizeBytes }]) {
    writeZeros(segment.offset - (writer.end - offset), write)
    const end = offset + segment.offset + segment.length
    while (writer.end < end) {
      const chunk = await item.read(end - writer.end)
      if (chunk === undefined) throw archiveFault('it ends before its content does', item.entry.path)
      write(chunk)
    }
  }
  writeZeros(offset + sizeBytes - writer.end, write)
  return { offset, sizeBytes, hash: hashText(hash.digest('hex')) }
}

/** Appends to the spool; what is small goes there together. */
class SpoolWriter {
  readonly #fd: number
  readonly #small = Buffer.allocUnsafeSlow(1 << 20)
  #smallBytes = 0
  /** Where the spool ends once all is written. */
  end: number

  constructor({ fd, offset }: Pick<SpoolArchiveArgs, 'fd' | 'offset'>) {
    this.#fd = fd
    this.end = offset
  }

  append(bytes: Uint8Array): void {
    if (this.#smallBytes + bytes.length > this.#small.length) this.flush()
    if (bytes.length >= this.#small.length / 4) {
      this.flush()
      this.#write(bytes, this.end)
    } else {
      this.#small.set(bytes, this.#smallBytes)
      this.#smallBytes += bytes.length
    }
    this.end += bytes.length
  }

  /** Leaves a hole. */
  skip(bytes: number): void {
    this.flush()
    this.end += bytes
  }

  flush(): void {
    this.#write(this.#small.subarray(0, this.#smallBytes), this.end - this.#smallBytes)
    this.#smallBytes = 0
  }

  #write(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#fd, bytes, done, bytes.length - done, position + done)
  }
}

const zeros = Buffer.alloc(1 << 20)

function writeZeros(count: number, write: (chunk: Uint8Array) => void): void {
  for (let left = count; left > 0; left -= zeros.length) write(zeros.subarray(0, Math.min(left, zeros.length)))
}

function entryOf({ entry }: TarItem, path: string, content: Content): TreeEntry {
  const type = entry.type
  if (type === 'hardlink') throw archiveFault('a hard link has no content of its own', entry.path)
  return {
    path,
    type,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    modifiedNs: entry.modifiedNs,
    ...content,
    linkGroup: 0,
    target: entry.linkPath.toString('latin1'),
    major: entry.device?.major ?? 0,
    minor: entry.device?.minor ?? 0,
    xattrs: [...entry.xattrs],
  }
}
