/** Confined job: unpacks its input, hashing the uncompressed stream on the way (off the main thread). */
import { createHash } from 'node:crypto'
import { chownSync, closeSync, mkdirSync, openSync, unlinkSync } from 'node:fs'
import { posix } from 'node:path'
import type { JobContext } from '#linux/contract/confined.ts'
import { hostIdOf, overflowId } from '#linux/contract/id-mapping.ts'
import { digestFromHex } from '../digest.ts'
import { ErofsWriter } from '../erofs/image-writer.ts'
import { applyTar } from './apply.ts'
import type { Applied } from './apply.ts'
import { decompress } from './decompress.ts'
import { ErofsTarget } from './erofs-target.ts'
import { FolderTarget } from './folder-target.ts'
import type { UnpackArgs, UnpackResult } from './jobs.ts'

export async function job(args: UnpackArgs, context: JobContext): Promise<UnpackResult> {
  const root = rootOf(args)
  if (args.makeBase === true) makeBase(args.base, root)
  const hash = createHash('sha256')
  let tarBytes = 0
  const hashed = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of decompress(context.input, args.compression)) {
      hash.update(chunk)
      tarBytes += chunk.length
      yield chunk
    }
  }
  const applied = args.image === undefined ? await applyTar(hashed(), new FolderTarget({ base: args.base, files: context.files, isUsed: args.kind === 'tree', ...(root === undefined ? {} : { root }) }), args) : await applyToImage(hashed(), args.image, args)
  return { diffId: digestFromHex(hash.digest('hex')), tarBytes, ...applied }
}

async function applyToImage(source: AsyncIterable<Uint8Array>, path: string, args: UnpackArgs): Promise<Applied> {
  const beside = `${path}.inodes`
  const descriptors = [openSync(path, 'wx+', 0o400), openSync(beside, 'wx+', 0o600)] as const
  try {
    unlinkSync(beside)
    return await applyTar(source, new ErofsTarget(new ErofsWriter(...descriptors)), args)
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor)
  }
}

interface Owner {
  readonly uid: number
  readonly gid: number
}

/** Who the tree's root is; undefined: whose owners it shows as they are. */
function rootOf({ ids }: UnpackArgs): Owner | undefined {
  return ids === undefined ? undefined : { uid: hostIdOf(ids.uids, 0) ?? overflowId, gid: hostIdOf(ids.gids, 0) ?? overflowId }
}

function makeBase(base: string, root: Owner | undefined): void {
  const first = mkdirSync(base, { recursive: true, mode: 0o755 })
  if (first === undefined || root === undefined) return
  for (let path = base; path.length >= first.length; path = posix.dirname(path)) chownSync(path, root.uid, root.gid)
}
