/** `berth down`: ends the supervisors and their processes, then (unless told to keep them) everything they ran. */
import { type Clock, sleep } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { ExitError } from '#cli/exit.ts'
import { print, type Terminal } from '#cli/terminal.ts'
import type { Config } from '../config/config.ts'
import { isAlive, processNames, runningPid } from './processes.ts'
import { tearDown } from './teardown.ts'

const graceMs = 15_000

export async function down(config: Config, terminal: Terminal, options: { readonly keepWorkloads: boolean }): Promise<number> {
  if (process.getuid?.() !== 0) throw new ExitError('berth: stopping it needs root: run it with sudo')
  const pids = processNames.flatMap((name) => [runningPid(config.paths.run, name, 'supervisor'), runningPid(config.paths.run, name, 'process')]).filter((pid) => pid !== undefined)
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGTERM')
  for (const pid of pids) await untilGone(pid, terminal.clock)
  if (!options.keepWorkloads) await tearDown(config, terminal.clock)
  await print(terminal.stdout, pids.length === 0 ? 'Berth was not running.\n' : options.keepWorkloads ? 'Berth is down; its containers run on.\n' : 'Berth is down.\n')
  return 0
}

async function untilGone(pid: number, clock: Clock): Promise<void> {
  const deadline = clock.monotonicMs() + graceMs
  while (isAlive(pid)) {
    if (clock.monotonicMs() > deadline) throw new Fault('timeout', `process ${pid} did not end within ${graceMs / 1000} s of SIGTERM`)
    await sleep(clock, 20)
  }
}
