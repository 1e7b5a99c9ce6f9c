/** A sealed in-memory copy of an executable (F_ADD_SEALS in fcntl(2)). Kernel worker only. */
import { readFileSync } from 'node:fs'
import { systemErrorCode } from '#base/fault.ts'
import { errnoFault } from '../../contract/errno.ts'
import { check, libc } from '../libc.ts'
import { openMemoryFile } from './memory-file.ts'

const F_ADD_SEALS = 1033
/** No more seals, no shrinking, no growing, no writing: exactly what crun looks for. */
const seals = 1 | 2 | 4 | 8

/** A path below /proc that holds as long as this process; the copy is freed with it. */
export function sealExecutable({ path }: { readonly path: string }): string {
  const fd = openMemoryFile({ executable: true, what: `copy ${path} into memory` })
  try {
    const bytes = readExecutable(path)
    for (let at = 0; at < bytes.length; ) at += check(libc.write(fd, bytes.subarray(at), bytes.length - at), `copy ${path}`)
    check(libc.fcntl(fd, F_ADD_SEALS, seals), `seal the copy of ${path}`)
  } catch (error) {
    libc.close(fd)
    throw error
  }
  return `/proc/${process.pid}/fd/${fd}`
}

function readExecutable(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw errnoFault(systemErrorCode(error) ?? 'EIO', `read ${path}`)
  }
}
