/** Gives memory back to the kernel: the garbage of this thread, and what the C library holds unused, of all threads. Kernel worker only. */
import { collectGarbage } from '#base/collect-garbage.ts'
import { mallocTrim } from '../libc.ts'

export function trimMemory(): void {
  collectGarbage()
  mallocTrim?.(0)
}
