/** Confined job: writes a tree or an overlay's upper folder as a tar to its output, or into an open file. */
import type { JobContext } from '#linux/contract/confined.ts'
import { HashedFile } from '../blobs/hashed-file.ts'
import type { PackArgs, PackResult } from './jobs.ts'
import { writeTree, type Walked } from './walk.ts'

export async function job(args: PackArgs, context: JobContext): Promise<PackResult> {
  const pack = (output: (block: Uint8Array) => Promise<void>): Promise<Walked> =>
    writeTree({ kind: args.kind, base: Buffer.from(args.path), name: Buffer.from(args.name), files: context.files, ...(args.ids === undefined ? {} : { ids: args.ids }), output })
  if (args.fd === undefined) return await pack((block) => context.output(block))
  await using file = new HashedFile(args.fd)
  const walked = await pack((block) => {
    context.signal.throwIfAborted()
    return file.append(block)
  })
  return { ...walked, filled: await file.end() }
}
