/** Timing: interleaved runs, medians, ratios. A figure without its peer from the same run is printed as `no peer`. */

/** BERTH_BENCH_ONLY picks comparisons whose title holds it, BERTH_BENCH_ROUNDS sets the number of rounds: for a look, not for figures. */
export function isChosen(title: string): boolean {
  return title.includes(process.env['BERTH_BENCH_ONLY'] ?? '')
}

export interface Contender {
  readonly name: string
  /** One measured run; answers its duration in milliseconds. */
  readonly run: () => Promise<number> | number
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** Times one call. */
export async function timed(work: () => unknown): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

/** Runs the contenders in turn, `pairs` times after `warmups` unmeasured rounds, and prints medians and the ratio of the first to each other. */
export async function compare(title: string, contenders: readonly Contender[], options: { readonly pairs: number; readonly warmups: number }): Promise<void> {
  const pairs = Number(process.env['BERTH_BENCH_ROUNDS'] ?? options.pairs)
  const samples = new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  for (let round = -options.warmups; round < pairs; round += 1) {
    for (const { name, run } of contenders) {
      const elapsedMs = await run()
      if (round >= 0) samples.get(name)?.push(elapsedMs)
    }
  }
  report(title, contenders.map(({ name }) => name), samples)
}

/** Prints medians and ratios of what was sampled. */
export function report(title: string, names: readonly string[], samples: ReadonlyMap<string, readonly number[]>): void {
  const [first] = names
  console.log(`${title} (${samples.get(first ?? '')?.length ?? 0} interleaved rounds, milliseconds)`)
  for (const name of names) {
    const values = samples.get(name) ?? []
    const sorted = values.toSorted((left, right) => left - right)
    console.log(`  ${name.padEnd(24)} median ${median(values).toFixed(1).padStart(8)}   min ${(sorted[0] ?? Number.NaN).toFixed(1).padStart(8)}   max ${(sorted.at(-1) ?? Number.NaN).toFixed(1).padStart(8)}`)
  }
  if (first === undefined || names.length < 2) return console.log('  no peer')
  for (const peer of names.slice(1)) {
    const ratio = median(samples.get(first) ?? []) / median(samples.get(peer) ?? [])
    console.log(`  ratio ${first} / ${peer} = ${ratio.toFixed(3)}`)
  }
}
