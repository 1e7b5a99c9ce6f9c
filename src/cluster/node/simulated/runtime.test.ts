/** The simulated runtime keeps the contract. */
import { systemClock } from '#base/clock.ts'
import { systemRandom } from '#base/random.ts'
import { podRuntimeSuite } from '../../contract/runtime.suite.ts'
import type { Program } from './runtime.ts'
import { simulatedRuntime } from './runtime.ts'

const exec: Program['exec'] = () => ({ exitCode: 3, stdout: 'out\n', stderr: 'err\n' })
const programs: Readonly<Record<string, Program>> = {
  runs: { stopCode: 0, exec },
  stubborn: { stopAfterMs: Number.POSITIVE_INFINITY },
  seven: { exitAfterMs: 0, exitCode: 7 },
  missing: { startError: 'exec: "missing": executable file not found in $PATH' },
}

podRuntimeSuite('simulated', async () => {
  const runtime = simulatedRuntime({ clock: systemClock, random: systemRandom, present: ['web:1'], program: ({ command = [] }) => programs[command[0] ?? ''] ?? {} })
  return {
    runtime, image: 'web:1', runs: ['runs'], stubborn: ['stubborn'], endsWithSeven: ['seven'], missing: ['missing'], speaks: ['speak'], logRoot: '/logs',
    reopened: async () => runtime,
    [Symbol.asyncDispose]: async () => undefined,
  }
})
