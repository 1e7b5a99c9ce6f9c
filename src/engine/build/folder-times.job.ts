/** Confined job: gives folders their times back, to the nanosecond, so that a step which changed nothing makes no layer. */
import { lstatSync } from 'node:fs'
import type { JobContext } from '#linux/contract/confined.ts'

export interface FolderTimes {
  /** Absolute, from the job's root. */
  readonly path: string
  readonly accessedNs: bigint
  readonly modifiedNs: bigint
}

export async function job(folders: readonly FolderTimes[], { files }: JobContext): Promise<void> {
  for (const { path, accessedNs, modifiedNs } of folders) {
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true) files.setTimes(path, accessedNs, modifiedNs)
  }
}
