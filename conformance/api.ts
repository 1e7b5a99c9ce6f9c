/**
 * `npm run conformance -- api`: dockerd and Berth side by side, the same world in each, every GET of the API asked at five versions and
 * compared field by field. What may differ stands in `api/compare.ts`, each with its reason. Set API_ONLY to a part of a question to see
 * its differences only. Runs itself again inside private network and mount namespaces.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startDockerd } from '../bench/dockerd.ts'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/log.ts'
import { systemRandom } from '../src/base/random.ts'
import { engineHandler } from '../src/engine/http/handler.ts'
import { openEngine } from '../src/engine/open.ts'
import { openKernel } from '../src/linux/real/kernel.ts'
import { openFileBlobs } from '../src/oci/blobs/file-system.ts'
import { differences, explained, ordered } from './api/compare.ts'
import { call, makeWorld, questions, unmakeWorld, type Answer, type Engine, type World } from './api/world.ts'
import { writeResult, type Verdict } from './record.ts'

const inside = 'BERTH_CONFORMANCE_INSIDE'
const versions = ['v1.24', 'v1.30', 'v1.35', 'v1.40', 'v1.41']

export async function run(): Promise<void> {
  if (process.env[inside] === undefined) {
    const tool = join(import.meta.dirname, '../tools/conformance.ts')
    const result = spawnSync('unshare', ['--net', '--mount', '--propagation', 'private', '--', process.execPath, '--disable-warning=ExperimentalWarning', tool, 'api'], { stdio: 'inherit', env: { ...process.env, [inside]: '1' } })
    process.exitCode = result.status ?? 1
    return
  }
  spawnSync('ip', ['link', 'set', 'lo', 'up'])
  const folder = mkdtempSync(join(tmpdir(), 'ca-'))
  const kernel = await openKernel()
  const cgroup = `berth-api-${process.pid}`
  try {
    await using dockerd = await startDockerd()
    if (dockerd === undefined) throw new Error('dockerd is not installed (Debian package docker.io): nothing to compare with')
    const engine = await openEngine({
      kernel, blobs: await openFileBlobs(join(folder, 'blobs')), paths: { state: join(folder, 's'), run: join(folder, 'r') }, names: { cgroup, table: 'berth_api', bridge: 'bapi0' },
      networks: { bridgeSubnet: '172.29.0.0/16' }, clock: systemClock, random: systemRandom, log: silentLogger,
    })
    const handler = engineHandler(engine)
    const server = createServer(handler.request).on('upgrade', handler.upgrade)
    const socketPath = join(folder, 'b.sock')
    await new Promise<void>((done) => server.listen(socketPath, done))
    try {
      await compareEngines({ socketPath: dockerd.dockerHost.replace('unix://', ''), prefix: '10.77.1' }, { socketPath, prefix: '10.77.2' })
    } finally {
      server.closeAllConnections()
      server.close()
      for (const { id } of engine.containers.list({ namespace: 'all' })) await engine.containers.remove(id, { force: true, volumes: true })
      await engine[Symbol.asyncDispose]()
      await kernel.cgroups.remove(cgroup)
    }
  } finally {
    await kernel[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function compareEngines(dockerd: Engine, berth: Engine): Promise<void> {
  const busybox = readFileSync('/bin/busybox')
  const startedAt = Math.floor(Date.now() / 1000)
  const worlds: [World, World] = [await makeWorld(dockerd, busybox, startedAt), await makeWorld(berth, busybox, startedAt)]
  // The last whole second before the answers holds every event.
  await new Promise((resolve) => setTimeout(resolve, 1100))
  const cases: { name: string; verdict: Verdict }[] = []
  const reasons = new Map<string, number>()
  const [theirs, ours] = worlds.map((world) => questions(world))
  const versionOf = await call(dockerd, 'GET', '/version')
  for (const version of versions) {
    for (const [index, question] of (theirs ?? []).entries()) {
      const name = `${version} ${question.replace(/exec\/[0-9a-f]{64}/, 'exec/ID').replace(/(since|until)=\d{9,}/g, '$1=TIME')}`
      if (process.env['API_ONLY'] !== undefined && !name.includes(process.env['API_ONLY'])) continue
      const [expected, found] = await Promise.all([call(dockerd, 'GET', `/${version}${question}`), call(berth, 'GET', `/${version}${ours?.[index] ?? ''}`)])
      const wrong = differences(comparable(question, expected, dockerd), comparable(question, found, berth)).filter((difference) => {
        const known = explained.find(({ at }) => at.test(`${name} ${difference.field}`))
        if (known !== undefined) reasons.set(known.reason, (reasons.get(known.reason) ?? 0) + 1)
        return known === undefined
      })
      cases.push({ name, verdict: wrong.length === 0 ? 'passed' : 'failed' })
      if (wrong.length > 0) console.log(`${name}\n${wrong.map((each) => `    ${each.field}: dockerd ${each.dockerd}, Berth ${each.berth}`).join('\n')}`)
    }
  }
  await Promise.all([unmakeWorld(dockerd), unmakeWorld(berth)])
  for (const [reason, count] of reasons) console.log(`${count} differences: ${reason}`)
  if (process.env['API_ONLY'] !== undefined) return
  writeResult('api', { suite: 'every GET of the API at five versions against dockerd', commit: `dockerd ${String(Reflect.get(Object(versionOf.body), 'Version'))}`, cases })
  if (cases.some(({ verdict }) => verdict !== 'passed')) process.exitCode = 1
}

function comparable(question: string, { status, contentType, body }: Answer, { prefix }: Engine): object {
  const text = body === undefined ? undefined : JSON.stringify(body).replaceAll(`${prefix}.`, '10.77.N.').replace(/[0-9a-f]{64}/g, 'ID').replace(/"[0-9a-f]{12}"/g, '"SHORT"')
  return { status, contentType, body: text === undefined ? undefined : ordered(question, JSON.parse(text)) }
}
