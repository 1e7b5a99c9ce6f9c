/** Confined job: syncfs of the root's file system, so that what was unpacked survives a power cut. */
import type { JobContext } from '#linux/contract/confined.ts'

export async function job(_args: undefined, context: JobContext): Promise<void> {
  context.files.syncFileSystem('/')
}
