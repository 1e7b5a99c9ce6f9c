/**
 * Builds for several platforms and attestations: buildx with Berth's docker driver, and with a buildkitd of its own, side by side. Archives
 * and folders that come of them are told by their structure (`buildx-platforms/facts.ts`). dockerd 20.10 builds for one platform only, so
 * that a buildkitd stands for it; BUILDKITD names its binary (built from moby/buildkit, never part of this repository).
 *
 *     BUILDX=/path/to/docker-buildx BUILDKITD=/path/to/buildkitd npm run conformance -- buildx-platforms
 *
 * `BUILDX_ONLY` is a pattern of case names. Writes `conformance/results/buildx-platforms.json`; what is called dockerd there is BuildKit.
 */
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { sleep, systemClock } from '../src/base/clock.ts'
import { runProgram } from '../tools/instance.ts'
import { platformCases, type PlatformCase } from './buildx-platforms/cases.ts'
import { factsOf } from './buildx-platforms/facts.ts'
import { steadyProgress } from './buildx/steady.ts'
import type { EngineName } from './engines/default-socket.ts'
import { runSideBySide, type SuiteCase } from './engines/side-by-side.ts'
import { standInImages } from './engines/stand-in-images.ts'

const client = '/usr/local/bin/docker'

export async function run(): Promise<void> {
  const { BUILDX: buildx, BUILDKITD: buildkitd } = process.env
  if (buildx === undefined || buildkitd === undefined) {
    console.log('buildx-platforms: skipped, BUILDX and BUILDKITD name no binaries')
    return
  }
  const version = spawnSync(buildx, ['version'], { encoding: 'utf8' }).stdout.trim()
  const pattern = new RegExp(process.env['BUILDX_ONLY'] ?? '')
  await runSideBySide({
    driver: 'buildx-platforms',
    suite: 'our builds for several platforms, told to buildx; the peer is buildkitd',
    commit: version,
    images: () => standInImages([{ names: ['busybox:latest'], command: ['sh'], release: 'busybox' }]),
    dockerdIsRight: true,
    reason: (name) => platformCases.find((each) => each.name === name)?.reason,
    cases: async (engine, folder) => {
      mkdirSync(join(folder, 'config/cli-plugins'), { recursive: true })
      symlinkSync(buildx, join(folder, 'config/cli-plugins/docker-buildx'))
      await using peer = engine === 'dockerd' ? await startBuildkit(buildkitd, folder) : undefined
      const cases: SuiteCase[] = []
      for (const each of platformCases) if (pattern.test(each.name)) cases.push(await tell(each, { folder, engine, builder: peer?.builder }))
      return cases
    },
  })
}

/** A builder of buildx's driver `remote`. */
async function startBuildkit(buildkitd: string, folder: string): Promise<{ readonly builder: string } & AsyncDisposable> {
  const socket = join(folder, 'buildkit.sock')
  const daemon = spawn(buildkitd, ['--root', join(folder, 'buildkit'), '--addr', `unix://${socket}`, '--containerd-worker=false', '--oci-worker=true', '--oci-worker-snapshotter=native', '--oci-worker-net=host'], { stdio: 'ignore' })
  const ended = once(daemon, 'exit')
  for (let round = 0; !existsSync(socket); round += 1) {
    if (round > 500 || daemon.exitCode !== null) throw new Error('buildkitd did not start')
    await sleep(systemClock, 20)
  }
  const created = spawnSync(client, ['buildx', 'create', '--name', 'peer', '--driver', 'remote', `unix://${socket}`], { env: environment(folder), encoding: 'utf8' })
  if (created.status !== 0) throw new Error(`buildx create: ${created.stderr}`)
  return {
    builder: 'peer',
    async [Symbol.asyncDispose]() {
      daemon.kill('SIGTERM')
      await ended
    },
  }
}

function environment(folder: string): NodeJS.ProcessEnv {
  return { ...process.env, DOCKER_CONFIG: join(folder, 'config'), BUILDX_CONFIG: join(folder, 'buildx'), HOME: folder }
}

interface Teller {
  readonly folder: string
  readonly engine: EngineName
  readonly builder: string | undefined
}

async function tell(each: PlatformCase, { folder, builder }: Teller): Promise<SuiteCase> {
  const context = join(folder, each.name.replaceAll(' ', '-'))
  const out = join(folder, 'out', each.name.replaceAll(' ', '-'))
  mkdirSync(out, { recursive: true })
  mkdirSync(context)
  for (const [path, content] of Object.entries(each.files)) writeFileSync(join(context, path), content)
  const lines: string[] = []
  for (const args of each.commands) {
    const words = [client, 'buildx', 'build', ...(builder === undefined ? [] : ['--builder', builder]), '--progress', 'plain', ...args.map((word) => word.replaceAll('{out}', out)), '.']
    const { exitCode, output } = await runProgram(['sh', '-c', 'cd "$0" && exec timeout 90 "$@"', context, ...words], { ...environment(folder), ...each.env })
    lines.push(`$ ${args.join(' ')}: ${exitCode}`)
    if (exitCode !== 0 || each.toldSteps === true) {
      // BuildKit looks through platforms in no order.
      const told = steadyProgress(output.replace(/ from \S+ with \S+ when/g, ' from ONE with ANOTHER when'), [folder])
      lines.push(...told.filter((line) => (exitCode === 0 ? line.startsWith('[') : line.includes('ERROR'))))
    }
  }
  for (const path of each.look) lines.push(...(await factsOf(join(out, path), path)))
  return { name: each.name, verdict: 'passed', detail: lines.join('\n') }
}
