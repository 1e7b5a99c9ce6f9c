/** Collects what this thread's heap no longer needs, and gives the pages back. */
import { queryObjects } from 'node:v8'

/** V8 counts objects after it has collected all garbage. The flag that offers a collection by itself would cost every start its code cache (25 ms). */
export function collectGarbage(): void {
  class Nothing {}
  queryObjects(Nothing, { format: 'count' })
}
