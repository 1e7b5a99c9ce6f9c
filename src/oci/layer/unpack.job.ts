/** Confined job: unpacks its input, hashing the uncompressed stream on the way (off the main thread). */
import { createHash } from 'node:crypto'
import { closeSync, mkdirSync, openSync, unlinkSync } from 'node:fs'
import type { JobContext } from '#linux/contract/confined.ts'
import { digestFromHex } from '../digest.ts'
import { ErofsWriter } from '../erofs/image-writer.ts'
import { applyTar } from './apply.ts'
import type { Applied } from './apply.ts'
import { decompress } from './decompress.ts'
import { ErofsTarget } from './erofs-target.ts'
import { FolderTarget } from './folder-target.ts'
import type { UnpackArgs, UnpackResult } from './jobs.ts'

export async function job(args: UnpackArgs, context: JobContext): Promise<UnpackResult> {
  if (args.makeBase === true) mkdirSync(args.base, { recursive: true, mode: 0o755 })
  const hash = createHash('sha256')
  let tarBytes = 0
  const hashed = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of decompress(context.input, args.compression)) {
      hash.update(chunk)
      tarBytes += chunk.length
      yield chunk
    }
  }
  const applied = args.image === undefined ? await applyTar(hashed(), new FolderTarget({ base: args.base, files: context.files, isUsed: args.kind === 'tree' }), args) : await applyToImage(hashed(), args.image, args)
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
