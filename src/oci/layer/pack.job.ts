/** Confined job: writes a tree or an overlay's upper folder as a tar to its output. */
import type { JobContext } from '#linux/contract/confined.ts'
import type { PackArgs, PackResult } from './jobs.ts'
import { writeTree } from './walk.ts'

export async function job(args: PackArgs, context: JobContext): Promise<PackResult> {
  return await writeTree({
    kind: args.kind,
    base: Buffer.from(args.path),
    name: Buffer.from(args.name),
    files: context.files,
    ...(args.ids === undefined ? {} : { ids: args.ids }),
    output: (chunk) => context.output(chunk),
  })
}
