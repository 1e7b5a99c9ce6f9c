/**
 * dockerode's own tests (apocas/dockerode, Apache-2.0) against our engine. The suite is not part of this repository: `DOCKERODE` names
 * a clone in which `npm install --ignore-scripts` was run. Writes `conformance/results/dockerode.json`.
 *
 *     DOCKERODE=/path/to/dockerode npm run conformance -- dockerode
 *
 * For comparison: dockerd 20.10 passes 99 of the 136 cases without the Internet (plugins, pulls and BuildKit need it).
 * Runs itself again inside private network and mount namespaces, because the tests only know /var/run/docker.sock.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/log.ts'
import { systemRandom } from '../src/base/random.ts'
import { engineHandler } from '../src/engine/http/handler.ts'
import { openEngine } from '../src/engine/open.ts'
import { openKernel } from '../src/linux/real/kernel.ts'
import { openFileBlobs } from '../src/oci/blobs/file-system.ts'
import { sampleTar, type Sample } from '../src/oci/layer/archive-samples.ts'
import { writeResult, type Verdict } from './record.ts'

const inside = 'BERTH_CONFORMANCE_INSIDE'

export async function run(): Promise<void> {
  const suite = process.env['DOCKERODE']
  if (suite === undefined) throw new Error('DOCKERODE is not set: expected the path of a clone of apocas/dockerode with its packages installed')
  if (process.env[inside] === undefined) {
    const tool = join(import.meta.dirname, '../tools/conformance.ts')
    const result = spawnSync('unshare', ['--net', '--mount', '--propagation', 'private', '--', process.execPath, '--disable-warning=ExperimentalWarning', tool, 'dockerode'], { stdio: 'inherit', env: { ...process.env, [inside]: '1' } })
    process.exitCode = result.status ?? 1
    return
  }
  spawnSync('ip', ['link', 'set', 'lo', 'up'])
  spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run'])
  const folder = mkdtempSync(join(tmpdir(), 'cd-'))
  const kernel = await openKernel()
  const cgroup = `berth-dockerode-${process.pid}`
  try {
    const engine = await openEngine({
      kernel, blobs: await openFileBlobs(join(folder, 'blobs')), paths: { state: join(folder, 's'), run: join(folder, 'r') }, names: { cgroup, table: 'berth_dockerode', bridge: 'bdkr0' },
      networks: { bridgeSubnet: '172.29.0.0/16' }, clock: systemClock, random: systemRandom, log: silentLogger,
    })
    const image = await engine.images.importRoot(Readable.from([rootTar()]), { name: 'ubuntu:latest' })
    await engine.images.tag(image.id, 'busybox:latest')
    const handler = engineHandler(engine)
    const server = createServer(handler.request).on('upgrade', handler.upgrade)
    await new Promise<void>((done) => server.listen('/run/docker.sock', done))
    const cases = await runMocha(suite, join(folder, 'report.json'))
    writeResult('dockerode', { suite: 'dockerode test/*.js', commit: commitOf(suite), cases })
    for (const { id } of engine.containers.list({ namespace: 'all' })) await engine.containers.remove(id, { force: true, volumes: true })
    server.closeAllConnections()
    server.close()
    await engine[Symbol.asyncDispose]()
    await kernel.cgroups.remove(cgroup)
  } finally {
    await kernel[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A root whose `bash` and `uptime` are busybox's. */
function rootTar(): Buffer {
  const applets = spawnSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).stdout.trim().split('\n')
  const files: Sample[] = [
    ...['bin', 'etc', 'tmp', 'root', 'home', 'var', 'proc', 'sys', 'dev'].map((path): Sample => ({ path, type: 'directory' })),
    { path: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 },
    ...applets.map((name): Sample => ({ path: `bin/${name}`, type: 'symlink', link: 'busybox' })),
    { path: 'bin/bash', content: '#!/bin/sh\nexec /bin/busybox sh "$@"\n', mode: 0o755 },
    { path: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\n' },
    { path: 'etc/group', content: 'root:x:0:\n' },
    { path: 'etc/resolv.conf', content: '' },
  ]
  return sampleTar(files.filter(({ path }, index) => files.findIndex((other) => other.path === path) === index))
}

interface MochaCase {
  readonly fullTitle: string
}

async function runMocha(suite: string, report: string): Promise<{ name: string; verdict: Verdict }[]> {
  mkdirSync(join(suite, 'node_modules'), { recursive: true })
  const args = [join(suite, 'node_modules/mocha/bin/mocha.js'), '--reporter', 'json', '--reporter-option', `output=${report}`, '--timeout', '8000', '--exit']
  await new Promise<void>((done, fail) => spawn(process.execPath, args, { cwd: suite, stdio: 'ignore', timeout: 300_000 }).once('error', fail).once('exit', () => done()))
  const parsed: { passes: MochaCase[]; failures: MochaCase[]; pending: MochaCase[] } = JSON.parse(readFileSync(report, 'utf8'))
  const verdicts = new Map<string, Verdict>()
  for (const { fullTitle } of parsed.pending) verdicts.set(fullTitle, 'skipped')
  for (const { fullTitle } of parsed.passes) verdicts.set(fullTitle, 'passed')
  // Several cases share a title: one that fails counts for all.
  for (const { fullTitle } of parsed.failures) verdicts.set(fullTitle, 'failed')
  return [...verdicts].map(([name, verdict]) => ({ name, verdict }))
}

function commitOf(suite: string): string {
  const known = process.env['DOCKERODE_COMMIT']
  if (known !== undefined) return known
  const result = spawnSync('git', ['-C', suite, 'rev-parse', 'HEAD'], { encoding: 'utf8' })
  return result.status === 0 ? result.stdout.trim() : 'unknown'
}
