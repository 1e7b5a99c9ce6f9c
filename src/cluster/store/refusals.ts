/** What every driver refuses in the same words (`contract/store.ts`). */
import { Fault } from '#base/fault.ts'
import { maxValueBytes, maxWritesPerCommit, type Write } from '../contract/store.ts'

/** Throws `invalidArgument` when a commit breaks a bound that no state of the store could mend. */
export function checkWrites(writes: readonly Write[]): void {
  if (writes.length > maxWritesPerCommit) throw new Fault('invalidArgument', `a commit holds ${writes.length} writes: at most ${maxWritesPerCommit} are allowed`)
  const keys = new Set<string>()
  for (const write of writes) {
    if (write.key === '') throw new Fault('invalidArgument', 'a key is empty')
    if (keys.has(write.key)) throw new Fault('invalidArgument', `the key ${write.key} is written twice in one commit`)
    keys.add(write.key)
    if (write.op === 'put' && write.value.length > maxValueBytes) {
      throw new Fault('invalidArgument', `the value of ${write.key} has ${write.value.length} bytes: at most ${maxValueBytes} are allowed`)
    }
  }
}

/** Throws unless `revision` can be read: neither compacted nor in the future. */
export function checkRevision(revision: bigint, bounds: { readonly compacted: bigint; readonly current: bigint }): void {
  if (revision < bounds.compacted) throw new Fault('expired', `revision ${revision} has been compacted: ${bounds.compacted} is the oldest that is kept`)
  if (revision > bounds.current) throw new Fault('invalidArgument', `revision ${revision} lies in the future: the last one is ${bounds.current}`)
}

export function brokenExpectation(key: string, modRevision: bigint | undefined): Fault {
  const found = modRevision === undefined ? 'does not exist' : `was last written at revision ${modRevision}`
  return new Fault('conflict', `the key ${key} ${found}, which is not what the write expects`, { details: { key, modRevision } })
}

export function storeClosed(): Fault {
  return new Fault('unavailable', 'the store is closed')
}
