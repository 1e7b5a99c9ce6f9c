/** Files that exist in memory alone (memfd_create(2)). Kernel worker only. */
import { check, libc } from '../libc.ts'

const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2
const MFD_NOEXEC_SEAL = 8
const MFD_EXEC = 0x10

/** The descriptor of a new one, closed on exec. `what` says what it is for, should it fail. */
export function openMemoryFile({ executable, what }: { readonly executable: boolean; readonly what: string }): number {
  // Kernels since 6.3 want to be told whether it may be executed; earlier ones refuse the flag.
  const fd = libc.memfdCreate('berth', MFD_CLOEXEC | (executable ? MFD_ALLOW_SEALING | MFD_EXEC : MFD_NOEXEC_SEAL))
  return fd >= 0 ? fd : check(libc.memfdCreate('berth', MFD_CLOEXEC | MFD_ALLOW_SEALING), what)
}
