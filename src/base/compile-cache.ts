/**
 * Node keeps compiled (and stripped) sources in the folder NODE_COMPILE_CACHE, but writes them only when a process ends by
 * itself. One that is killed would leave nothing, and compile everything at its next start too: half a second. So each thread
 * has what it compiled written once it has loaded what it needs.
 */
import { flushCompileCache } from 'node:module'
import type { Clock } from './clock.ts'

/** A start has other things to do first. */
const afterStartMs = 500

/** Writes what this thread has compiled; next to nothing when all of it came from the cache. */
export function saveCompiled(): void {
  flushCompileCache()
}

/** The same, a moment after the start. */
export function saveCompiledSoon(clock: Clock): void {
  clock.after(afterStartMs, saveCompiled, { background: true })
}
