/** Confined job: gives folders their times back, to the nanosecond, so that who changed only what is below them leaves no other trace. */
import { lstatSync } from 'node:fs'
import type { JobContext } from '#linux/contract/confined.ts'
import type { FolderTimes } from './jobs.ts'

export async function job(folders: readonly FolderTimes[], { files }: JobContext): Promise<void> {
  for (const { path, accessedNs, modifiedNs } of folders) {
    const bytes = Buffer.from(path)
    if (lstatSync(bytes, { throwIfNoEntry: false })?.isDirectory() === true) files.setTimes(bytes, accessedNs, modifiedNs)
  }
}
