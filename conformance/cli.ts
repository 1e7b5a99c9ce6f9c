/**
 * `npm run conformance -- cli [PATTERN]`: the docker CLIs 28 and 20.10 against dockerd 20.10 and against Berth. Every case (cli/cases) is
 * run with each client, both told to speak API 1.41, on both engines; output (normalised, cli/normalise.ts) and exit codes must be equal but for
 * what cli/differences.ts lists. Client 28 then goes through the cases once more at Berth's own 1.50, where its exit codes are compared. A
 * command or flag in either client's help that no case used fails the run, unless cli/exclusions.ts names it with a reason.
 *
 * Writes `conformance/results/cli.json`; a run with a pattern (of case names) leaves the verdicts of other cases as they are there. `skipped` there is a case that differs only as listed.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clientPaths, type ClientName, type CliCase, type LaneResult, type StepOutcome } from './cli/case.ts'
import { allCases } from './cli/cases/index.ts'
import { differences, type Difference } from './cli/differences.ts'
import { exclusions } from './cli/exclusions.ts'
import { readCommandTree, unused, useCall, type Usage } from './cli/help.ts'
import { openKernel } from '../src/linux/real/kernel.ts'
import { runLanes, type LaneOptions } from './cli/lane.ts'
import { readResult, resultsFolder, writeResult, type Verdict } from './record.ts'

const tool = join(import.meta.dirname, '../tools/conformance.ts')

export async function run(): Promise<void> {
  const [, , , ...args] = process.argv
  if (args[0] === '--lane') return runLane(args[1] ?? '', args[2] ?? '', args[3])
  const [pattern] = args
  const folder = mkdtempSync(join(tmpdir(), 'cl-'))
  try {
    const lanes = (await Promise.all(Object.keys(laneRuns).map((lane) => startLane(lane, join(folder, lane), pattern)))).flat()
    const cases = casesFor(pattern)
    const verdicts = cases.map((each) => ({ name: each.name, verdict: judge(each, lanes) }))
    let failed = verdicts.some(({ verdict }) => verdict === 'failed')
    if (pattern !== undefined) console.log(`${verdicts.filter(({ verdict }) => verdict === 'passed').length} of ${verdicts.length} cases equal`)
    if (pattern === undefined) {
      const uncovered = await findUncovered(lanes)
      for (const line of uncovered) console.log(`no case uses ${line}`)
      const stale = differences.filter((difference) => !seen.has(difference))
      for (const { cases: where, reason } of stale) console.log(`a listed difference no longer occurs: ${String(where)} (${reason})`)
      failed ||= uncovered.length > 0 || stale.length > 0
    }
    const version = spawnSync('dockerd', ['--version'], { encoding: 'utf8' }).stdout.trim()
    writeResult('cli', { suite: 'our cases with docker CLI 28 and 20.10 against dockerd and Berth', commit: version, cases: [...verdicts, ...recordedBefore(verdicts)] })
    if (failed) process.exitCode = 1
  } finally {
    rmSync(folder, { recursive: true })
    await removeNamedCgroups()
  }
}

/** Both engines leave the groups that a case names as parents (`--cgroup-parent`): they belong to whoever named them. */
async function removeNamedCgroups(): Promise<void> {
  await using kernel = await openKernel()
  for (const name of ['berth-cli-parent', 'berth-cli-build']) await kernel.cgroups.remove(name)
}

type Judged = { readonly name: string; readonly verdict: Verdict }

/** What earlier runs recorded of cases that this run left out. */
function recordedBefore(verdicts: readonly Judged[]): readonly Judged[] {
  if (!existsSync(join(resultsFolder, 'cli.json'))) return []
  const { cases }: { cases: Judged[] } = JSON.parse(readResult('cli'))
  return cases.filter(({ name }) => allCases.some((each) => each.name === name) && !verdicts.some((each) => each.name === name))
}

function casesFor(pattern: string | undefined): readonly CliCase[] {
  return pattern === undefined ? allCases : allCases.filter(({ name }) => new RegExp(pattern).test(name))
}

/** What each process of the run does: dockerd is slow enough that each client has one of its own. */
const laneRuns: Readonly<Record<string, LaneOptions>> = {
  'dockerd-28': { engine: 'dockerd', runs: [{ client: '28', apiVersion: '1.41' }] },
  'dockerd-20.10': { engine: 'dockerd', runs: [{ client: '20.10', apiVersion: '1.41' }] },
  berth: { engine: 'berth', runs: [{ client: '28', apiVersion: '1.41' }, { client: '20.10', apiVersion: '1.41' }, { client: '28', apiVersion: '1.50' }] },
}

async function runLane(name: string, file: string, pattern: string | undefined): Promise<void> {
  const options = laneRuns[name]
  if (options === undefined) throw new Error(`there is no lane ${name}`)
  writeFileSync(file, JSON.stringify(await runLanes(options, casesFor(pattern))))
}

function startLane(lane: string, file: string, pattern: string | undefined): Promise<LaneResult[]> {
  const args = ['--net', '--mount', '--propagation', 'private', '--', process.execPath, '--disable-warning=ExperimentalWarning', tool, 'cli', '--lane', lane, file, ...(pattern === undefined ? [] : [pattern])]
  return new Promise((fulfil, reject) => {
    const child = spawn('unshare', args, { stdio: ['ignore', 'inherit', 'inherit'] })
    child.once('error', reject)
    child.once('exit', (code) => {
      if (code !== 0) return reject(new Error(`the lane ${lane} ended with ${code}`))
      const results: LaneResult[] = JSON.parse(readFileSync(file, 'utf8'))
      fulfil(results)
    })
  })
}

/** Met in any case of this run. */
const seen = new Set<Difference>()

/** Compares the engines' outcomes and prints what differs. */
function judge(each: CliCase, lanes: readonly LaneResult[]): Verdict {
  const of = (engine: string, client: ClientName, apiVersion: string): readonly StepOutcome[] | undefined => lanes.find((lane) => lane.engine === engine && lane.client === client && lane.apiVersion === apiVersion)?.transcript[each.name]
  let verdict: Verdict = 'passed'
  for (const { line, exitCode, stdout, stderr } of of('dockerd', '28', '1.41') ?? of('dockerd', '20.10', '1.41') ?? []) {
    if (process.env['CLI_SHOW'] !== undefined) console.log(`$ ${line}\n${stdout}${stderr}[${exitCode}]`)
    // A case that does not show what it is meant to show would still be equal on both.
    if (line.startsWith('! ') === (exitCode !== 0)) continue
    console.log(`${each.name}\n  $ ${line}\n    with dockerd this ended with ${exitCode}\n    ${stderr}`)
    verdict = 'failed'
  }
  for (const client of ['28', '20.10'] as const) {
    const expected = of('dockerd', client, '1.41')
    const found = of('berth', client, '1.41')
    if (expected === undefined || found === undefined) continue
    const applied = new Set<Difference>()
    const lines = compare(expected, found, { listed: differences.filter(({ cases }) => cases.test(each.name)), applied })
    for (const difference of applied) seen.add(difference)
    if (lines.length > 0) {
      console.log(`${each.name} (client ${client})\n${lines.join('\n')}`)
      verdict = 'failed'
    } else if (applied.size > 0) verdict = verdict === 'failed' ? verdict : 'skipped'
  }
  const expected = of('dockerd', '28', '1.41')
  for (const [index, { line, exitCode, stdout, stderr }] of (of('berth', '28', '1.50') ?? []).entries()) {
    const wanted = each.exitCodesAt150?.[index] ?? expected?.[index]?.exitCode
    if (wanted === exitCode) continue
    console.log(`${each.name} (client 28 at API 1.50)\n  $ ${line}\n    exit code ${exitCode} instead of ${wanted}\n    ${stdout}${stderr}`)
    verdict = 'failed'
  }
  return verdict
}

interface Allowed {
  readonly listed: readonly Difference[]
  /** Takes those that were met. */
  readonly applied: Set<Difference>
}

function compare(expected: readonly StepOutcome[], found: readonly StepOutcome[], allowed: Allowed): string[] {
  const lines: string[] = []
  for (const [index, step] of expected.entries()) {
    const other = found[index]
    const parts: string[] = []
    if (other?.exitCode !== step.exitCode) parts.push(`    exit code: dockerd ${step.exitCode}, berth ${other?.exitCode}`)
    for (const stream of ['stdout', 'stderr'] as const) {
      const [left, right] = withoutListed(step[stream], other?.[stream] ?? '', allowed)
      if (left !== right) parts.push(`    ${stream}:`, ...changedLines(left, right))
    }
    if (parts.length > 0) lines.push(`  $ ${step.line}`, ...parts)
  }
  return lines
}

function withoutListed(dockerd: string, berth: string, { listed, applied }: Allowed): readonly [string, string] {
  let left = dockerd
  let right = berth
  for (const difference of listed) {
    if (left === right) break
    const global = (pattern: RegExp): RegExp => new RegExp(pattern.source, `${pattern.flags.replace('g', '')}g`)
    if (!difference.dockerd.test(left) || !difference.berth.test(right)) continue
    const mark = `<listed: ${difference.reason}>`
    left = left.replace(global(difference.dockerd), mark)
    right = right.replace(global(difference.berth), mark)
    applied.add(difference)
  }
  return [left, right]
}

/** The lines that only one side has, in order, by the longest common subsequence. */
function changedLines(left: string, right: string): string[] {
  const a = left.split('\n')
  const b = right.split('\n')
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1))
  const at = (row: number, column: number): number => lengths[row]?.[column] ?? 0
  for (let i = a.length - 1; i >= 0; i -= 1) {
    const row = lengths[i]
    if (row === undefined) continue
    for (let j = b.length - 1; j >= 0; j -= 1) row[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
  }
  const changed: string[] = []
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      i += 1
      j += 1
    } else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1))) changed.push(`      dockerd ${JSON.stringify(a[i++])}`)
    else changed.push(`      berth   ${JSON.stringify(b[j++])}`)
  }
  return changed
}

async function findUncovered(lanes: readonly LaneResult[]): Promise<string[]> {
  const found: string[] = []
  for (const client of ['28', '20.10'] as const) {
    const tree = await readCommandTree(clientPaths[client], (path) => exclusions.some(({ pattern }) => pattern.test(path)))
    const usage: Usage = { commands: new Set(), flags: new Set() }
    for (const lane of lanes) if (lane.client === client && lane.engine === 'berth') for (const call of lane.calls) useCall(tree, call, usage)
    found.push(...unused(tree, usage).filter((name) => !exclusions.some(({ pattern }) => pattern.test(name))).map((name) => `${name} (client ${client})`))
  }
  return found
}
