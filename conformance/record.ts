/**
 * What a run of somebody else's suite leaves behind: `conformance/results/NAME.json` with the suite's commit and every case's
 * verdict. The list of passing cases only grows: `record.test.ts` holds it against every earlier version in git.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const resultsFolder: string = resolve(import.meta.dirname, 'results')

export type Verdict = 'passed' | 'failed' | 'skipped'

export interface Result {
  readonly suite: string
  /** Commit or version of the suite that ran. */
  readonly commit: string
  /** `verdict` is Berth's; `dockerd` is the peer's from the same run, where one ran; `reason` says why a case fails. */
  readonly cases: readonly { readonly name: string; readonly verdict: Verdict; readonly dockerd?: Verdict; readonly reason?: string }[]
}

/** Writes the result, cases sorted by name, and prints the count. */
export function writeResult(name: string, result: Result): void {
  const cases = result.cases.toSorted((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0))
  mkdirSync(resultsFolder, { recursive: true })
  const lines = cases.map((entry) => `    ${JSON.stringify(entry)}`).join(',\n')
  writeFileSync(join(resultsFolder, `${name}.json`), `{\n  "suite": ${JSON.stringify(result.suite)},\n  "commit": ${JSON.stringify(result.commit)},\n  "cases": [\n${lines}\n  ]\n}\n`)
  const count = (verdict: Verdict): number => cases.filter((entry) => entry.verdict === verdict).length
  console.log(`${name}: ${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`)
}

/** Names of the passing cases in a result file's text. */
export function passingCases(text: string): ReadonlySet<string> {
  const parsed: { cases: { name: string; verdict: string }[] | Record<string, string> } = JSON.parse(text)
  // The first form of a result, still to be found in the history, mapped names to `pass`.
  if (!Array.isArray(parsed.cases)) return new Set(Object.entries(parsed.cases).flatMap(([name, verdict]) => (verdict === 'pass' ? [name] : [])))
  return new Set(parsed.cases.filter(({ verdict }) => verdict === 'passed').map(({ name }) => name))
}

export function readResult(name: string): string {
  return readFileSync(join(resultsFolder, `${name}.json`), 'utf8')
}
