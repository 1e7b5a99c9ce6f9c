/**
 * `npm run bench -- pull`: pull and unpack of one large layer and of one with 20,000 small files from Debian's docker-registry on
 * loopback; Berth against dockerd, same CLI.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInstance, enterNamespaces } from '../tools/instance.ts'
import { startDockerRegistry } from './docker-registry.ts'
import { startDockerd } from './dockerd.ts'
import { compare, type Contender, timed } from './measure.ts'

function command(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): void {
  const result = spawnSync(program, args, { encoding: 'utf8', env })
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${result.status}: ${result.stderr}`)
}

/** About 360 MB in three files, and 20,000 files of a few bytes. */
function archives(folder: string): { readonly large: string; readonly many: string } {
  const large = join(folder, 'large')
  const many = join(folder, 'many')
  mkdirSync(large)
  for (const name of ['a', 'b', 'c']) cpSync(process.execPath, join(large, name))
  for (let at = 0; at < 200; at += 1) {
    mkdirSync(join(many, `d${at}`), { recursive: true })
    for (let file = 0; file < 100; file += 1) writeFileSync(join(many, `d${at}`, `f${file}`), `file ${file} of ${at}\n`)
  }
  for (const tree of [large, many]) command('tar', ['-C', tree, '-cf', `${tree}.tar`, '.'])
  return { large: `${large}.tar`, many: `${many}.tar` }
}

export async function benchPull(): Promise<void> {
  enterNamespaces()
  const folder = mkdtempSync(join(tmpdir(), 'bp-'))
  using instance = createInstance()
  await using registry = await startDockerRegistry()
  await using dockerd = await startDockerd()
  if (registry === undefined || dockerd === undefined) return console.log('docker-registry and dockerd are needed: no peer')
  instance.up()
  const engines = [{ name: 'berth', host: instance.dockerHost }, { name: 'dockerd', host: dockerd.dockerHost }]
  const docker = (host: string, ...args: string[]): void => command('docker', ['-H', host, ...args], instance.env)
  const files = archives(folder)
  for (const [name, archive] of Object.entries(files)) {
    const image = `${registry.host}/${name}`
    docker(dockerd.dockerHost, 'import', archive, image)
    docker(dockerd.dockerHost, 'push', image)
    docker(dockerd.dockerHost, 'rmi', image)
    const pulling = engines.map(({ name: engine, host }): Contender => ({
      name: engine,
      run: async () => {
        const elapsedMs = await timed(() => docker(host, 'pull', '-q', image))
        docker(host, 'rmi', image)
        // What is deleted and written back now would be charged to whoever is next.
        command('sync', [])
        return elapsedMs
      },
    }))
    await compare(name === 'large' ? 'pull of one layer of about 360 MB' : 'pull of one layer of 20,000 files', pulling, { pairs: 10, warmups: 1 })
  }
  rmSync(folder, { recursive: true, force: true })
}
