/** A job for the test: writes along a path that symlinks try to bend out of the root, and counts what streams in. */
import { lstatSync, readdirSync, writeFileSync } from 'node:fs'
import { Fault } from '#base/fault.ts'
import type { JobContext } from '../../contract/confined.ts'

export interface EscapeArgs {
  readonly write?: string
  readonly fail?: boolean
}

export async function job(args: EscapeArgs, context: JobContext): Promise<{ readonly names: string[]; readonly bytes: number; readonly inode: number }> {
  if (args.write !== undefined) writeFileSync(args.write, 'inside')
  if (args.fail === true) throw new Fault('unprocessable', 'the job was asked to fail', { details: { why: 'test' } })
  let bytes = 0
  for await (const chunk of context.input) {
    bytes += chunk.length
    await context.output(chunk)
  }
  return { names: readdirSync('/').sort(), bytes, inode: lstatSync('/').ino }
}
