/** `npm run bench -- run`: `docker run --rm IMAGE true`, same CLI, image and network mode, Berth against dockerd. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInstance, enterNamespaces } from '../tools/instance.ts'
import { startDockerd } from './dockerd.ts'
import { compare, type Contender, timed } from './measure.ts'

function docker(host: string, args: readonly string[], env: NodeJS.ProcessEnv): string {
  const result = spawnSync('docker', ['-H', host, ...args], { encoding: 'utf8', env })
  if (result.status !== 0) throw new Error(`docker ${args.join(' ')} at ${host} ended with ${result.status}: ${result.stderr}`)
  return result.stdout
}

/** A busybox root as a tar, the same for both. */
export function busyboxArchive(folder: string): string {
  const root = join(folder, 'root')
  mkdirSync(join(root, 'bin'), { recursive: true })
  cpSync('/bin/busybox', join(root, 'bin/busybox'))
  for (const name of ['sh', 'true', 'sleep', 'echo', 'cat', 'ls', 'wget']) symlinkSync('busybox', join(root, 'bin', name))
  const archive = join(folder, 'busybox.tar')
  const tar = spawnSync('tar', ['-C', root, '-cf', archive, '.'])
  if (tar.status !== 0) throw new Error(`tar: ${tar.stderr.toString()}`)
  return archive
}

export async function benchRun(): Promise<void> {
  enterNamespaces()
  const folder = mkdtempSync(join(tmpdir(), 'br-'))
  using instance = createInstance()
  await using dockerd = await startDockerd()
  instance.up()
  const archive = busyboxArchive(folder)
  const contender = (name: string, host: string): Contender => {
    docker(host, ['import', archive, 'bench:busybox'], instance.env)
    return { name, run: () => timed(() => docker(host, ['run', '--rm', 'bench:busybox', 'true'], instance.env)) }
  }
  const contenders = [contender('berth', instance.dockerHost)]
  if (dockerd !== undefined) contenders.push(contender('dockerd', dockerd.dockerHost))
  await compare('docker run --rm IMAGE true, bridge network', contenders, { pairs: 10, warmups: 2 })
  rmSync(folder, { recursive: true })
}
