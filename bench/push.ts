/**
 * `npm run bench -- push`: `docker push` of a local image with one layer of about 360 MB. To the registry that comes with the engine,
 * beside dockerd pushing to Debian's docker-registry; then of both to that docker-registry, a stranger to either. No engine and no
 * registry has seen the layer before, in any round.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { instanceOf } from '../src/apps/config/instance.ts'
import { createInstance, enterNamespaces } from '../tools/instance.ts'
import { startDockerRegistry } from './docker-registry.ts'
import { startDockerd } from './dockerd.ts'
import { compare, type Contender, isChosen, timed } from './measure.ts'
import { command, largeTree } from './trees.ts'

interface Pusher {
  readonly name: string
  readonly host: string
  /** `HOST:PORT/REPOSITORY`. */
  readonly repository: string
}

export async function benchPush(): Promise<void> {
  enterNamespaces()
  const folder = mkdtempSync(join(tmpdir(), 'bu-'))
  using instance = createInstance()
  await using registry = await startDockerRegistry()
  await using dockerd = await startDockerd()
  if (registry === undefined || dockerd === undefined) return console.log('docker-registry and dockerd are needed: no peer')
  instance.up()
  const docker = (host: string, ...args: string[]): void => command('docker', ['-H', host, ...args], instance.env)
  const tree = largeTree(folder)
  const archive = join(folder, 'image.tar')
  const contender = (title: string, { name, host, repository }: Pusher): Contender => {
    let round = 0
    return {
      name,
      run: async () => {
        const image = `${repository}:${(round += 1)}`
        writeFileSync(join(tree, 'name'), `${title} ${name} ${image}`)
        command('tar', ['-C', tree, '-cf', archive, '.'])
        docker(host, 'import', archive, image)
        // What was written before would be charged to whoever is next.
        command('sync', [])
        const pushMs = await timed(() => docker(host, 'push', '-q', image))
        docker(host, 'rmi', image)
        return pushMs
      },
    }
  }
  const own = `127.0.0.1:${instanceOf(instance.root).registryPort}`
  const comparisons: Readonly<Record<string, readonly Pusher[]>> = {
    'push of one layer of about 360 MB to the registry beside the engine': [
      { name: 'berth', host: instance.dockerHost, repository: `${own}/near/berth` },
      { name: 'dockerd', host: dockerd.dockerHost, repository: `${registry.host}/near/dockerd` },
    ],
    'push of one layer of about 360 MB to a docker-registry': [
      { name: 'berth', host: instance.dockerHost, repository: `${registry.host}/far/berth` },
      { name: 'dockerd', host: dockerd.dockerHost, repository: `${registry.host}/far/dockerd` },
    ],
  }
  for (const [title, pushers] of Object.entries(comparisons).filter(([each]) => isChosen(each))) {
    await compare(title, pushers.map((pusher) => contender(title, pusher)), { pairs: 10, warmups: 1 })
  }
  rmSync(folder, { recursive: true })
}
