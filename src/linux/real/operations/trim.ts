/** Gives memory that the C library holds unused back to the kernel: that of all threads. Kernel worker only. */
import { mallocTrim } from '../libc.ts'

export function trimMemory(): void {
  mallocTrim?.(0)
}
