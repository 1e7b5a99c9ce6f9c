/**
 * What was built, sent to a client's folder (`moby.filesync.v1.FileSend/DiffCopy`): the whole list first, then the contents of the files
 * that the client asks for, one after another.
 */
import { Fault } from '#base/fault.ts'
import type { GrpcCall } from '#base/grpc.ts'
import type { BuiltRoot } from '../http/backend.ts'
import { fromBytePath, type TreeEntry } from '../build/tree.ts'
import { decodePacket, encodePacket, type FileStat } from './file-packets.ts'

export async function sendFiles(call: GrpcCall, { entries, content }: Awaited<ReturnType<BuiltRoot['files']>>): Promise<void> {
  const files: TreeEntry[] = []
  const firstOfGroup = new Map<number, string>()
  for (const entry of entries) {
    const linkName = entry.linkGroup === 0 ? undefined : firstOfGroup.get(entry.linkGroup)
    if (entry.linkGroup !== 0 && linkName === undefined) firstOfGroup.set(entry.linkGroup, entry.path)
    files.push(entry)
    await call.send(encodePacket({ kind: 'stat', stat: statOf(entry, linkName) }))
  }
  await call.send(encodePacket({ kind: 'stat', stat: undefined }))
  for await (const message of call.receive()) {
    const packet = decodePacket(message)
    if (packet?.kind === 'error') throw new Fault('internal', `the client could not take the files: ${packet.message}`)
    if (packet?.kind === 'request') await sendContent(call, packet.id, files[packet.id], content)
    if (packet?.kind !== 'finish') continue
    await call.send(encodePacket({ kind: 'finish' }))
    call.end()
  }
}

async function sendContent(call: GrpcCall, id: number, entry: TreeEntry | undefined, content: (entry: TreeEntry) => AsyncIterable<Buffer>): Promise<void> {
  if (entry?.type !== 'file') throw new Fault('invalidArgument', `the client asks for the contents of ${id}, which is no file`)
  if (entry.sizeBytes > 0) for await (const data of content(entry)) await call.send(encodePacket({ kind: 'data', id, data }))
  await call.send(encodePacket({ kind: 'data', id, data: Buffer.alloc(0) }))
}

/** `linkName`: of a file with another name earlier in the list that name. */
export function statOf(entry: TreeEntry, linkName?: string): FileStat {
  const { type, mode, uid, gid, sizeBytes, modifiedNs, target, major, minor, xattrs } = entry
  return {
    type, mode, uid, gid, modifiedNs, major, minor,
    path: fromBytePath(entry.path),
    sizeBytes: type === 'file' && linkName === undefined ? sizeBytes : 0,
    linkName: fromBytePath(linkName ?? target),
    xattrs: xattrs.map(([name, value]) => [name, Buffer.from(value)]),
  }
}
