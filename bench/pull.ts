/**
 * `npm run bench -- pull`: pull and unpack of one large layer and of one with 20,000 small files from Debian's docker-registry on
 * loopback, then the first run, which reads every file; Berth with either form of layers against dockerd, same CLI.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInstance, enterNamespaces } from '../tools/instance.ts'
import { startDockerRegistry } from './docker-registry.ts'
import { startDockerd } from './dockerd.ts'
import { compare, type Contender, isChosen, timed } from './measure.ts'

function command(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): void {
  const result = spawnSync(program, args, { encoding: 'utf8', env })
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${result.status}: ${result.stderr}`)
}

/** About 360 MB in three files, and 20,000 files of a few bytes; busybox in both. */
function archives(folder: string): Readonly<Record<string, string>> {
  const large = join(folder, 'large')
  const many = join(folder, 'many')
  for (const tree of [large, many]) {
    mkdirSync(tree)
    cpSync('/bin/busybox', join(tree, 'busybox'))
  }
  for (const name of ['a', 'b', 'c']) cpSync(process.execPath, join(large, name))
  for (let at = 0; at < 200; at += 1) {
    mkdirSync(join(many, `d${at}`), { recursive: true })
    for (let file = 0; file < 100; file += 1) writeFileSync(join(many, `d${at}`, `f${file}`), `file ${file} of ${at}\n`)
  }
  for (const tree of [large, many]) command('tar', ['-C', tree, '-cf', `${tree}.tar`, '.'])
  return { large: `${large}.tar`, many: `${many}.tar` }
}

const titles: Readonly<Record<string, string>> = { large: 'one layer of about 360 MB', many: 'one layer of 20,000 files' }

export async function benchPull(): Promise<void> {
  enterNamespaces()
  const folder = mkdtempSync(join(tmpdir(), 'bp-'))
  using instance = createInstance()
  using folders = createInstance({ BERTH_LAYERS: 'folder' })
  await using registry = await startDockerRegistry()
  await using dockerd = await startDockerd()
  if (registry === undefined || dockerd === undefined) return console.log('docker-registry and dockerd are needed: no peer')
  for (const berth of [instance, folders]) berth.up()
  const engines = [{ name: 'berth', host: instance.dockerHost }, { name: 'dockerd', host: dockerd.dockerHost }, { name: 'berth, layers as folders', host: folders.dockerHost }]
  const docker = (host: string, ...args: string[]): void => command('docker', ['-H', host, ...args], instance.env)
  const files = Object.entries(archives(folder)).filter(([name]) => isChosen(titles[name] ?? ''))
  for (const [name, archive] of files) {
    const image = `${registry.host}/${name}`
    docker(dockerd.dockerHost, 'import', archive, image)
    docker(dockerd.dockerHost, 'push', image)
    docker(dockerd.dockerHost, 'rmi', image)
    const firstRuns = new Map<string, number>()
    const pulling = engines.map(({ name: engine, host }): Contender => ({
      name: engine,
      run: async () => {
        const elapsedMs = await timed(() => docker(host, 'pull', '-q', image))
        firstRuns.set(engine, await timed(() => docker(host, 'run', '--rm', '--network', 'none', image, '/busybox', 'sh', '-c', '/busybox find / -xdev -type f | /busybox xargs /busybox cat > /dev/null')))
        docker(host, 'rmi', image)
        // What is deleted and written back now would be charged to whoever is next.
        command('sync', [])
        return elapsedMs
      },
    }))
    await compare(`pull of ${titles[name]}`, pulling, { pairs: 10, warmups: 1 })
    const pullingAndRunning = pulling.map(({ name: engine, run }): Contender => ({ name: engine, run: async () => (await run()) + (firstRuns.get(engine) ?? 0) }))
    await compare(`pull of ${titles[name]} and the first run, which reads all of it`, pullingAndRunning, { pairs: 10, warmups: 0 })
  }
  rmSync(folder, { recursive: true })
}
