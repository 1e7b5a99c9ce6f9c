/**
 * `npm run soak -- sim [--seeds 100] [--first 1] [--stop] [--transcript]`: so many seeds of the simulated cluster. A seed that
 * fails is printed with what it broke; `--first SEED --seeds 1 --transcript` replays it line by line. `--stop` ends at the first failure.
 */
import { parseArgs } from 'node:util'
import { runSeed } from '../../src/sim/run.ts'

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { seeds: { type: 'string', default: '100' }, first: { type: 'string', default: '1' }, stop: { type: 'boolean', default: false }, transcript: { type: 'boolean', default: false } },
  })
  const [count, first] = [Number(values.seeds), Number(values.first)]
  if (!Number.isInteger(count) || count < 1 || !Number.isInteger(first)) throw new RangeError('--seeds and --first take whole numbers')
  const failed: number[] = []
  let [revisions, virtualSeconds] = [0n, 0]
  const startedMs = performance.now()
  for (let seed = first; seed < first + count; seed += 1) {
    const result = await runSeed(seed)
    revisions += result.revisions
    virtualSeconds += result.virtualSeconds
    if (values.transcript) console.log(result.transcript.join('\n'))
    if (result.violations.length > 0) {
      failed.push(seed)
      console.log(`seed ${seed} broke:\n  ${result.violations.join('\n  ')}`)
      if (values.stop) break
    } else console.log(`seed ${seed} held (${Math.round(result.virtualSeconds)} s, ${result.revisions} revisions)`)
  }
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0)
  console.log(`sim: ${failed.length === 0 ? 'all' : count - failed.length} of ${count} seeds held; ${revisions} revisions, ${(virtualSeconds / 3600).toFixed(1)} virtual hours in ${seconds} s${failed.length === 0 ? '' : `; broken: ${failed.join(', ')}`}`)
  if (failed.length > 0) process.exitCode = 1
}
