/**
 * Files that a client offers (`moby.filesync.v1.FileSync/DiffCopy`), as a tar: first its whole list, then the contents in the list's
 * order. Contents are asked for ahead of their turn, so that many small files cost no round trip each; what came too early waits in
 * memory, and no more is asked for than may wait there.
 */
import { Fault } from '#base/fault.ts'
import type { GrpcCall } from '#base/grpc.ts'
import { tarEnd, tarHeader, tarPadding } from '#oci/layer/writer.ts'
import { keptMark, type IsKept } from '../contract/builds.ts'
import { decodePacket, encodePacket, type FilePacket, type FileStat } from './file-packets.ts'

/** Of files that were asked for before their turn. */
const aheadFiles = 256
const aheadBytes = 8 << 20

/** A list longer than this is no build context. */
const maxFiles = 4_000_000

/** Of files that `isKept` knows no contents are asked for. */
export async function* receiveTar(call: GrpcCall, isKept: IsKept = () => false): AsyncGenerator<Buffer> {
  const packets = call.receive()
  try {
    const files = (await listOf(packets)).map((stat) => (hasContent(stat) && stat.sizeBytes > 0 && isKept(stat) ? { ...stat, isKept: true } : stat))
    yield* new Contents(call, packets, files).tar()
    await call.send(encodePacket({ kind: 'finish' }))
    // The other side says the same, and ends.
    for await (const message of packets) if (decodePacket(message)?.kind === 'finish') break
    call.end()
    yield tarEnd
  } finally {
    await packets.return(undefined)
  }
}

async function nextPacket(packets: AsyncGenerator<Buffer>): Promise<FilePacket> {
  for (;;) {
    const next = await packets.next()
    if (next.done === true) throw new Fault('unavailable', 'the client ended the transfer of its files')
    const packet = decodePacket(next.value)
    if (packet?.kind === 'error') throw new Fault('invalidArgument', `the client could not send its files: ${packet.message}`)
    if (packet !== undefined) return packet
  }
}

async function listOf(packets: AsyncGenerator<Buffer>): Promise<readonly FileStat[]> {
  const files: FileStat[] = []
  for (;;) {
    const packet = await nextPacket(packets)
    if (packet.kind !== 'stat') throw new Fault('invalidArgument', `the client sent a packet of kind ${packet.kind} before its list of files had ended`)
    if (packet.stat === undefined) return files
    if (files.length === maxFiles) throw new Fault('tooLarge', `the client offers more than ${maxFiles} files`)
    files.push(packet.stat)
  }
}

interface Offered extends FileStat {
  /** Its bytes are here. */
  readonly isKept?: boolean
}

/** Whether a file's contents can be asked for. */
function hasContent({ type, linkName, isKept }: Offered): boolean {
  return type === 'file' && linkName === '' && isKept !== true
}

interface Waiting {
  readonly chunks: Buffer[]
  bytes: number
  ended: boolean
}

class Contents {
  readonly #call: GrpcCall
  readonly #packets: AsyncGenerator<Buffer>
  readonly #files: readonly Offered[]
  readonly #waiting = new Map<number, Waiting>()
  #nextToAsk = 0
  #askedBytes = 0

  constructor(call: GrpcCall, packets: AsyncGenerator<Buffer>, files: readonly Offered[]) {
    this.#call = call
    this.#packets = packets
    this.#files = files
  }

  async *tar(): AsyncGenerator<Buffer> {
    for (const [id, stat] of this.#files.entries()) {
      // Nobody can connect to a socket in an image.
      if (stat.type === 'socket') continue
      yield tarHeader(tarEntryOf(stat))
      if (!hasContent(stat)) continue
      yield* this.#content(id, stat)
      const padding = tarPadding(stat.sizeBytes)
      if (padding.length > 0) yield padding
    }
  }

  async *#content(id: number, { path, sizeBytes }: FileStat): AsyncGenerator<Buffer> {
    let sent = 0
    for (;;) {
      await this.#askAhead(id)
      const waiting = this.#waitingFor(id)
      for (const chunk of waiting.chunks.splice(0)) {
        sent += chunk.length
        if (sent > sizeBytes) throw changed(path)
        yield chunk
      }
      if (waiting.ended) break
      await this.#takeOne()
    }
    if (sent !== sizeBytes) throw changed(path)
    this.#waiting.delete(id)
    this.#askedBytes -= sizeBytes
  }

  /** The file whose turn it is is always asked for, whatever its size: its contents go straight on. */
  async #askAhead(current: number): Promise<void> {
    for (; this.#nextToAsk < this.#files.length; this.#nextToAsk += 1) {
      const id = this.#nextToAsk
      const stat = this.#files[id]
      if (stat === undefined || !hasContent(stat)) continue
      if (id > current && (this.#waiting.size >= aheadFiles || this.#askedBytes + stat.sizeBytes > aheadBytes)) return
      this.#waiting.set(id, { chunks: [], bytes: 0, ended: false })
      this.#askedBytes += stat.sizeBytes
      await this.#call.send(encodePacket({ kind: 'request', id }))
    }
  }

  async #takeOne(): Promise<void> {
    const packet = await nextPacket(this.#packets)
    if (packet.kind !== 'data') throw new Fault('invalidArgument', `the client sent a packet of kind ${packet.kind} where contents were asked for`)
    const waiting = this.#waitingFor(packet.id)
    if (packet.data.length === 0) {
      waiting.ended = true
      return
    }
    waiting.bytes += packet.data.length
    if (waiting.bytes > (this.#files[packet.id]?.sizeBytes ?? 0)) throw changed(this.#files[packet.id]?.path ?? '')
    waiting.chunks.push(packet.data)
  }

  #waitingFor(id: number): Waiting {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) throw new Fault('invalidArgument', `the client sent contents of file ${id}, which were not asked for`)
    return waiting
  }
}

function changed(path: string): Fault {
  return new Fault('conflict', `${path} changed its size while the client sent it`)
}

function tarEntryOf(stat: Offered): Parameters<typeof tarHeader>[0] {
  const { path, type, mode, uid, gid, sizeBytes, modifiedNs, linkName, major, minor, xattrs } = stat
  const isLink = type === 'file' && linkName !== ''
  if (type === 'socket') throw new Fault('internal', 'a tar has no sockets')
  return {
    type: isLink ? 'hardlink' : type,
    path: Buffer.from(path),
    linkPath: Buffer.from(linkName),
    mode, uid, gid, modifiedNs,
    userName: '',
    groupName: '',
    sizeBytes: hasContent(stat) ? sizeBytes : 0,
    ...(type === 'charDevice' || type === 'blockDevice' ? { device: { major, minor } } : {}),
    xattrs: new Map(stat.isKept === true ? [...xattrs, [keptMark, Buffer.from(path)]] : xattrs),
  }
}
