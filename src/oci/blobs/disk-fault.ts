/** A full disk is no fault of ours: it says what can be done. */
import { Fault, systemErrorCode } from '#base/fault.ts'

export function asDiskFault(error: unknown): unknown {
  const code = systemErrorCode(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') return new Fault('resourceExhausted', 'no space left on device: free some room below the state folder, or prune images', { cause: error })
  return error
}
