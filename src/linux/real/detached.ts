/**
 * Starts a process that outlives us, in a session of its own, with its output in a file: what `berth up` needs to start
 * the supervisors. Plain node:child_process, so that the command needs no kernel worker.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'

export interface DetachedOptions {
  readonly env: NodeJS.ProcessEnv
  /** Standard output and error are appended to it. */
  readonly logPath: string
}

/** Returns the pid. Throws when the program cannot be started. */
export function startDetached(argv: readonly [string, ...string[]], options: DetachedOptions): Promise<number> {
  const [program, ...args] = argv
  const log = openSync(options.logPath, 'a', 0o640)
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: options.env, cwd: '/', detached: true, stdio: ['ignore', log, log] })
    closeSync(log)
    child.once('error', reject)
    child.once('spawn', () => {
      child.unref()
      if (child.pid !== undefined) resolve(child.pid)
    })
  })
}
