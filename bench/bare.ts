/** conmon and crun by hand: what any engine on them spends at least, from create to delete. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { type Contender, timed } from './measure.ts'

function must(argv: readonly [string, ...string[]], cwd: string): void {
  const [program, ...args] = argv
  const result = spawnSync(program, args, { encoding: 'utf8', cwd })
  if (result.status !== 0) throw new Error(`${argv.join(' ')} ended with ${result.status}: ${result.stderr}`)
}

/** `folder` holds a root file system in `root`. None where conmon or crun is missing. */
export function bareContender(folder: string): readonly Contender[] {
  if (!existsSync('/usr/bin/conmon') || !existsSync('/usr/bin/crun')) return []
  const bundle = join(folder, 'bundle')
  mkdirSync(bundle)
  must(['crun', 'spec'], bundle)
  const spec: unknown = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'))
  if (typeof spec !== 'object' || spec === null || !('process' in spec) || typeof spec.process !== 'object') throw new Error('crun spec wrote no process')
  writeFileSync(join(bundle, 'config.json'), JSON.stringify({ ...spec, root: { path: join(folder, 'root') }, process: { ...spec.process, terminal: false, args: ['true'] } }))
  let number = 0
  return [{ name: 'conmon + crun by hand', run: () => timed(() => runOnce(folder, bundle, `berth-bench-${process.pid}-${(number += 1)}`)) }]
}

async function runOnce(folder: string, bundle: string, id: string): Promise<void> {
  const exits = join(folder, 'exits')
  mkdirSync(exits, { recursive: true })
  const argv = ['--sync', '--api-version', '1', '-c', id, '-u', id, '-n', id, '-r', '/usr/bin/crun', '-b', bundle, '-p', join(folder, 'pid'), '--exit-dir', exits, '--full-attach', '-l', `k8s-file:${join(folder, 'log')}`]
  const conmon = spawn('/usr/bin/conmon', argv, { stdio: ['ignore', 'ignore', 'inherit', 'pipe'], env: { PATH: process.env['PATH'] ?? '', _OCI_SYNCPIPE: '3' } })
  const ended = new Promise<void>((resolve) => conmon.once('exit', () => resolve()))
  const answer = conmon.stdio[3] as Readable
  await new Promise<void>((resolve, reject) => answer.once('data', () => resolve()).once('end', () => reject(new Error('conmon ended without an answer'))))
  must(['crun', 'start', id], folder)
  await ended
  must(['crun', 'delete', id], folder)
  rmSync(join(exits, id), { force: true })
}
