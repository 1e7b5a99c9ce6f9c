/**
 * Reads a tar stream entry by entry, in bounded memory. Understands ustar, pax (local and global headers, binary
 * extended attributes), GNU long names, GNU and pax sparse files. What it cannot understand it refuses by name.
 *
 * ```ts
 * for await (const item of readTar(stream)) {
 *   for (let chunk = await item.read(); chunk !== undefined; chunk = await item.read()) …   // what is left unread is skipped
 * }
 * ```
 */
import { ByteSource } from './byte-source.ts'
import { archiveFault, defaultTarLimits } from './entry.ts'
import type { EntryType, Segment, TarEntry, TarLimits } from './entry.ts'
import { blockBytes, numberField, parseHeader } from './header.ts'
import type { RawHeader } from './header.ts'
import { parsePax, parsePaxNumber, parsePaxTime } from './pax.ts'
import type { PaxRecords } from './pax.ts'

export interface TarItem {
  readonly entry: TarEntry
  /** Where the bytes that `read` gives belong; undefined for a file without holes. */
  readonly segments: readonly Segment[] | undefined
  /** The next stored bytes, at most `limit`; undefined at the end. No promise where they are at hand: small files need no turn of the event loop. */
  read(limit?: number): Buffer | undefined | Promise<Buffer | undefined>
}

export async function* readTar(source: AsyncIterable<Uint8Array>, limits: TarLimits = defaultTarLimits): AsyncGenerator<TarItem> {
  const bytes = new ByteSource(source)
  try {
    yield* items(bytes, limits)
    // Whatever follows the end mark is padding; it is read so that a hash over the stream is complete.
    await bytes.drain()
  } finally {
    await bytes.close()
  }
}

async function* items(bytes: ByteSource, limits: TarLimits): AsyncGenerator<TarItem> {
  const global: PaxRecords = new Map()
  const budget = { entries: limits.maxEntries, bytes: limits.maxTotalBytes }
  for (;;) {
    const next = await nextItem(bytes, global, limits)
    if (next === undefined) return
    budget.entries -= 1
    budget.bytes -= next.item.entry.sizeBytes
    if (budget.entries < 0) throw archiveFault(`it has more than the ${limits.maxEntries} entries allowed`)
    if (budget.bytes < 0) throw archiveFault(`its files add up to more than the ${limits.maxTotalBytes} bytes allowed`, next.item.entry.path)
    yield next.item
    const finished = next.finish()
    if (finished !== undefined) await finished
  }
}

const noRecords: PaxRecords = new Map()

interface Pending {
  pax: PaxRecords
  longName: Buffer | undefined
  longLink: Buffer | undefined
}

interface Next {
  readonly item: TarItem
  /** Skips what was not read. */
  finish(): Promise<void> | undefined
}

async function nextItem(bytes: ByteSource, global: PaxRecords, limits: TarLimits): Promise<Next | undefined> {
  const pending: Pending = { pax: noRecords, longName: undefined, longLink: undefined }
  for (let headers = 0; headers < 64; headers += 1) {
    const block = bytes.takeNow(blockBytes) ?? (await bytes.take(blockBytes))
    if (block.length === 0 && headers === 0) return undefined
    if (block.length < blockBytes) throw archiveFault('it ends in the middle of a header')
    if (isZero(block)) {
      if (headers > 0) throw archiveFault('it ends after a header that describes a following entry')
      return undefined
    }
    // `block` may be a view into a chunk that the next read replaces; parseHeader copies what it keeps.
    const header = parseHeader(block)
    switch (header.typeFlag) {
      case 'x':
        pending.pax = parsePax(await metadata(bytes, header, limits))
        break
      case 'g':
        for (const [key, value] of parsePax(await metadata(bytes, header, limits))) global.set(key, value)
        break
      case 'L':
        pending.longName = untilNul(await metadata(bytes, header, limits))
        break
      case 'K':
        pending.longLink = untilNul(await metadata(bytes, header, limits))
        break
      default:
        return await dataItem(bytes, { header, block: header.typeFlag === 'S' ? Buffer.from(block) : block, pending, global, limits })
    }
  }
  throw archiveFault('an entry has more than 64 headers')
}

function isZero(block: Buffer): boolean {
  return block[0] === 0 && block.every((byte) => byte === 0)
}

function untilNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0)
  return end < 0 ? bytes : bytes.subarray(0, end)
}

async function metadata(bytes: ByteSource, header: RawHeader, limits: TarLimits): Promise<Buffer> {
  if (header.size < 0 || header.size > limits.maxHeaderBytes) throw archiveFault(`an extended header of ${header.size} bytes: at most ${limits.maxHeaderBytes} are allowed`)
  const content = Buffer.from(await bytes.take(header.size))
  if (content.length < header.size || !(await bytes.skip(padding(header.size)))) throw archiveFault('it ends in the middle of an extended header')
  return content
}

function padding(size: number): number {
  return (blockBytes - (size % blockBytes)) % blockBytes
}

interface Described {
  readonly header: RawHeader
  readonly block: Buffer
  readonly pending: Pending
  readonly global: PaxRecords
  readonly limits: TarLimits
}

const entryTypes: Readonly<Record<string, EntryType>> = {
  '0': 'file', '7': 'file', S: 'file', '1': 'hardlink', '2': 'symlink', '3': 'charDevice', '4': 'blockDevice', '5': 'directory', '6': 'fifo',
}

async function dataItem(bytes: ByteSource, described: Described): Promise<Next> {
  const { header, pending, global, limits } = described
  const pax = global.size === 0 ? pending.pax : new Map([...global, ...pending.pax])
  const path = pax.get('GNU.sparse.name') ?? pax.get('path') ?? pending.longName ?? header.name
  const isFolderName = path[path.length - 1] === 0x2f
  const type = header.typeFlag === '0' && isFolderName ? 'directory' : entryTypes[header.typeFlag]
  if (type === undefined) throw archiveFault(`unknown type '${header.typeFlag}'`, path)
  if (path.length > limits.maxPathBytes) throw archiveFault(`its name is longer than ${limits.maxPathBytes} bytes`, path.subarray(0, 80))
  const paxSize = pax.get('size')
  const headerSize = paxSize === undefined ? header.size : parsePaxNumber(paxSize, 'size')
  if (headerSize < 0) throw archiveFault('its size is negative', path)
  // Only files have content; some writers put a size on links and folders without storing any byte.
  const storedBytes = type === 'file' ? headerSize : 0
  const data = new EntryData(bytes, path, storedBytes)
  const sparse = type === 'file' && (header.typeFlag === 'S' || pax.size > 0) ? await sparseMap(bytes, data, described, pax) : undefined
  const entry = describe({ header, pax, pending, path, type, sizeBytes: sparse?.realBytes ?? storedBytes })
  if (entry.linkPath.length > limits.maxPathBytes) throw archiveFault(`its target is longer than ${limits.maxPathBytes} bytes`, path)
  return { item: { entry, segments: sparse?.segments, read: (limit) => data.read(limit) }, finish: () => data.finish() }
}

function describe(parts: { header: RawHeader; pax: PaxRecords; pending: Pending; path: Buffer; type: EntryType; sizeBytes: number }): TarEntry {
  const { header, pax, type } = parts
  const atime = pax.get('atime')
  const mtime = pax.get('mtime')
  const uid = pax.get('uid')
  const gid = pax.get('gid')
  const isLink = type === 'hardlink' || type === 'symlink'
  const isDevice = type === 'charDevice' || type === 'blockDevice'
  return {
    type,
    path: parts.path.length > 1 && parts.path.at(-1) === 0x2f ? trimSlashes(parts.path) : parts.path,
    linkPath: isLink ? (pax.get('linkpath') ?? parts.pending.longLink ?? header.linkName) : nothing,
    mode: header.mode & 0o7777,
    uid: uid === undefined ? header.uid : parsePaxNumber(uid, 'uid'),
    gid: gid === undefined ? header.gid : parsePaxNumber(gid, 'gid'),
    userName: (pax.get('uname') ?? header.userName).toString('utf8'),
    groupName: (pax.get('gname') ?? header.groupName).toString('utf8'),
    sizeBytes: parts.sizeBytes,
    modifiedNs: mtime === undefined ? BigInt(header.modifiedSeconds) * 1_000_000_000n : parsePaxTime(mtime),
    ...(atime === undefined ? {} : { accessedNs: parsePaxTime(atime) }),
    ...(isDevice ? { device: { major: header.major, minor: header.minor } } : {}),
    xattrs: xattrsOf(pax),
  }
}

const nothing = Buffer.alloc(0)

function trimSlashes(path: Buffer): Buffer {
  let end = path.length
  while (end > 1 && path[end - 1] === 0x2f) end -= 1
  return path.subarray(0, end)
}

const noXattrs: ReadonlyMap<string, Buffer> = new Map()

function xattrsOf(pax: PaxRecords): ReadonlyMap<string, Buffer> {
  let found: Map<string, Buffer> | undefined
  for (const [key, value] of pax) {
    if (key.startsWith('SCHILY.xattr.')) (found ??= new Map()).set(key.slice('SCHILY.xattr.'.length), Buffer.from(value))
    else if (key.startsWith('LIBARCHIVE.xattr.')) {
      const name = decodeURIComponentSafely(key.slice('LIBARCHIVE.xattr.'.length))
      if (!pax.has(`SCHILY.xattr.${name}`)) (found ??= new Map()).set(name, Buffer.from(value.toString('latin1'), 'base64'))
    }
  }
  return found ?? noXattrs
}

function decodeURIComponentSafely(text: string): string {
  return /%(?![0-9a-fA-F]{2})/.test(text) ? text : text.replace(/%[0-9a-fA-F]{2}/g, (code) => String.fromCharCode(Number.parseInt(code.slice(1), 16)))
}

/** The stored bytes of one entry, with the padding behind them. */
class EntryData {
  readonly #bytes: ByteSource
  readonly #path: Buffer
  #left: number
  #padding: number

  constructor(bytes: ByteSource, path: Buffer, length: number) {
    this.#bytes = bytes
    this.#path = path
    this.#left = length
    this.#padding = padding(length)
  }

  get left(): number {
    return this.#left
  }

  read(limit = 1 << 20): Buffer | undefined | Promise<Buffer | undefined> {
    if (this.#left === 0) return undefined
    const whole = this.#left <= limit ? this.#bytes.takeNow(this.#left) : undefined
    if (whole === undefined) return this.#readLater(limit)
    this.#left = 0
    return whole
  }

  async #readLater(limit: number): Promise<Buffer> {
    const chunk = await this.#bytes.some(Math.min(limit, this.#left))
    if (chunk === undefined) throw archiveFault(`it ends ${this.#left} bytes too early`, this.#path)
    this.#left -= chunk.length
    return chunk
  }

  /** Exactly `length` bytes of the content. */
  async exactly(length: number): Promise<Buffer> {
    const chunk = length > this.#left ? Buffer.alloc(0) : await this.#bytes.take(length)
    if (chunk.length < length) throw archiveFault('its sparse map is cut off', this.#path)
    this.#left -= length
    return chunk
  }

  finish(): Promise<void> | undefined {
    const rest = this.#left + this.#padding
    this.#left = 0
    this.#padding = 0
    return this.#bytes.skipNow(rest) ? undefined : this.#skip(rest)
  }

  async #skip(rest: number): Promise<void> {
    if (!(await this.#bytes.skip(rest))) throw archiveFault('it ends too early', this.#path)
  }
}

interface Sparse {
  readonly segments: readonly Segment[]
  readonly realBytes: number
}

const maxSegments = 100_000

/** GNU's three pax forms (0.0/0.1 in records, 1.0 before the content) and the old one in the header. */
async function sparseMap(bytes: ByteSource, data: EntryData, described: Described, pax: PaxRecords): Promise<Sparse | undefined> {
  if (described.header.typeFlag === 'S') return checkSparse(await oldGnuMap(bytes, described), data.left)
  const version = pax.get('GNU.sparse.major')?.toString('latin1')
  const realSize = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size')
  if (realSize === undefined) return undefined
  const realBytes = parsePaxNumber(realSize, 'GNU.sparse.realsize')
  if (version === '1') return checkSparse({ segments: await inlineMap(data), realBytes }, data.left)
  const map = pax.get('GNU.sparse.map')
  if (map === undefined) throw archiveFault('a sparse file of an unknown form')
  const numbers = map.length === 0 ? [] : map.toString('latin1').split(',').map((text) => parsePaxNumber(Buffer.from(text), 'GNU.sparse.map'))
  return checkSparse({ segments: pairs(numbers), realBytes }, data.left)
}

function pairs(numbers: readonly number[]): Segment[] {
  const segments: Segment[] = []
  for (let at = 0; at + 1 < numbers.length; at += 2) segments.push({ offset: numbers[at] ?? 0, length: numbers[at + 1] ?? 0 })
  return segments
}

/** Decimal lines before the content, padded to a block: count, then offset and length of each segment. */
async function inlineMap(data: EntryData): Promise<Segment[]> {
  const numbers: number[] = []
  let text = ''
  let wanted = 1
  while (numbers.length < wanted) {
    const line = text.indexOf('\n')
    if (line < 0) {
      if (text.length > 32) throw archiveFault('its sparse map is no list of numbers')
      text += (await data.exactly(blockBytes)).toString('latin1')
      continue
    }
    const number = parsePaxNumber(Buffer.from(text.slice(0, line)), 'sparse map')
    text = text.slice(line + 1)
    numbers.push(number)
    if (numbers.length === 1) {
      if (number > maxSegments) throw archiveFault(`a sparse file of ${number} pieces: at most ${maxSegments} are allowed`)
      wanted = 1 + 2 * number
    }
  }
  return pairs(numbers.slice(1))
}

async function oldGnuMap(bytes: ByteSource, described: Described): Promise<Sparse> {
  const segments: Segment[] = []
  const collect = (block: Buffer, at: number, count: number): void => {
    for (let index = 0; index < count; index += 1) {
      const offset = numberField(block, at + index * 24, 12)
      const length = numberField(block, at + index * 24 + 12, 12)
      if (offset > 0 || length > 0) segments.push({ offset, length })
    }
  }
  collect(described.block, 386, 4)
  let extended = described.block[482] === 1
  while (extended) {
    const block = await bytes.take(blockBytes)
    if (block.length < blockBytes || segments.length > maxSegments) throw archiveFault('its sparse map is cut off or too long')
    collect(block, 0, 21)
    extended = block[504] === 1
  }
  return { segments, realBytes: numberField(described.block, 483, 12) }
}

/** Segments must be in order, inside the file, and as long together as what is stored. */
function checkSparse(sparse: Sparse, storedBytes: number): Sparse {
  let end = 0
  let sum = 0
  for (const { offset, length } of sparse.segments) {
    if (offset < end || length < 0 || offset + length > sparse.realBytes) throw archiveFault('its sparse map is not in order or leaves the file')
    end = offset + length
    sum += length
  }
  if (sum !== storedBytes || sparse.realBytes < 0) throw archiveFault(`its sparse map describes ${sum} bytes, but ${storedBytes} are stored`)
  return sparse
}
