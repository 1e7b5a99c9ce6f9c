/** Confined job: unpacks its input, hashing the uncompressed stream on the way (off the main thread). */
import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import type { JobContext } from '#linux/contract/confined.ts'
import { digestFromHex } from '../digest.ts'
import { applyTar } from './apply.ts'
import { decompress } from './decompress.ts'
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
  const applied = await applyTar(hashed(), {
    kind: args.kind,
    base: args.base,
    files: context.files,
    ...(args.owner === undefined ? {} : { owner: args.owner }),
    ...(args.keepKinds === undefined ? {} : { keepKinds: args.keepKinds }),
  })
  return { diffId: digestFromHex(hash.digest('hex')), tarBytes, ...applied }
}
