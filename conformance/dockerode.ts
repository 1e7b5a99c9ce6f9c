/**
 * dockerode's own tests (apocas/dockerode, Apache-2.0) against dockerd and Berth, side by side. The suite is not part of this
 * repository: `DOCKERODE` names a clone in which `npm install --ignore-scripts` was run. Writes `conformance/results/dockerode.json`.
 *
 *     DOCKERODE=/path/to/dockerode npm run conformance -- dockerode
 *
 * `DOCKERODE_ONLY` is an expression for mocha's --grep. Swarm and plugins are outside Berth's scope: recorded, not compared.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { commitOf, runSideBySide, type SuiteCase } from './engines/side-by-side.ts'
import { standInImages } from './engines/stand-in-images.ts'
import type { Verdict } from './record.ts'

export async function run(): Promise<void> {
  const clone = process.env['DOCKERODE']
  if (clone === undefined) throw new Error('DOCKERODE is not set: expected the path of a clone of apocas/dockerode with its packages installed')
  await runSideBySide({
    driver: 'dockerode',
    suite: 'dockerode test/*.js',
    commit: commitOf(clone, process.env['DOCKERODE_COMMIT']),
    images: () =>
      standInImages([
        { names: ['ubuntu:latest'], command: ['/bin/bash'], release: 'ubuntu' },
        { names: ['busybox:latest'], command: ['sh'], release: 'busybox' },
        { names: ['alpine:latest'], command: ['/bin/sh'], release: 'alpine' },
      ]),
    isOutsideScope: (name) => /^#(swarm|plugin) /.test(name),
    cases: (_engine, folder) => runMocha(clone, join(folder, 'report.json')),
  })
}

interface MochaCase {
  readonly fullTitle: string
  readonly err?: { readonly message?: string }
}

async function runMocha(suite: string, report: string): Promise<readonly SuiteCase[]> {
  mkdirSync(join(suite, 'node_modules'), { recursive: true })
  const args = [join(suite, 'node_modules/mocha/bin/mocha.js'), '--reporter', 'json', '--reporter-option', `output=${report}`, '--timeout', '8000', '--exit', ...(process.env['DOCKERODE_ONLY'] === undefined ? [] : ['--grep', process.env['DOCKERODE_ONLY']])]
  await new Promise<void>((done, fail) => spawn(process.execPath, args, { cwd: suite, stdio: 'ignore', timeout: 300_000 }).once('error', fail).once('exit', () => done()))
  const parsed: { passes: MochaCase[]; failures: MochaCase[]; pending: MochaCase[] } = JSON.parse(readFileSync(report, 'utf8'))
  const verdicts = new Map<string, Verdict>()
  for (const { fullTitle } of parsed.pending) verdicts.set(fullTitle, 'skipped')
  for (const { fullTitle } of parsed.passes) verdicts.set(fullTitle, 'passed')
  // Several cases share a title: one that fails counts for all.
  for (const { fullTitle, err } of parsed.failures) {
    verdicts.set(fullTitle, 'failed')
    if (process.env['CONFORMANCE_ONLY'] !== undefined) console.log(`${fullTitle}: ${err?.message ?? 'no message'}`)
  }
  return [...verdicts].map(([name, verdict]) => ({ name, verdict }))
}
