/**
 * Node keeps compiled (and stripped) sources in the folder NODE_COMPILE_CACHE, but writes them only when a process ends by
 * itself. One that is killed would leave nothing, and compile everything at its next start too: half a second. So each thread
 * has what it compiled written once it has loaded what it needs.
 */
import { flushCompileCache } from 'node:module'

/** Writes what this thread has compiled; next to nothing when all of it came from the cache. */
export function saveCompiled(): void {
  flushCompileCache()
}
