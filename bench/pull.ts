/**
 * `npm run bench -- pull`: pull and unpack of one large layer and of one with 20,000 small files from Debian's docker-registry on
 * loopback, then the first run, which reads every file; Berth with either form of layers against dockerd, same CLI.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInstance, enterNamespaces } from '../tools/instance.ts'
import { startDockerRegistry } from './docker-registry.ts'
import { startDockerd } from './dockerd.ts'
import { compare, type Contender, isChosen, report, timed } from './measure.ts'
import { command, largeTree, treeOfManyFiles } from './trees.ts'

const readAll = '/busybox find / -xdev -type f | /busybox xargs /busybox cat > /dev/null'

export async function benchPull(): Promise<void> {
  enterNamespaces()
  const folder = mkdtempSync(join(tmpdir(), 'bp-'))
  using instance = createInstance()
  using folders = createInstance({ BERTH_LAYERS: 'folder' })
  await using registry = await startDockerRegistry()
  await using dockerd = await startDockerd()
  if (registry === undefined || dockerd === undefined) return console.log('docker-registry and dockerd are needed: no peer')
  for (const berth of [instance, folders]) berth.up()
  const peer = dockerd.dockerHost
  const engines = [{ name: 'berth', host: instance.dockerHost }, { name: 'dockerd', host: peer }, { name: 'berth, layers as folders', host: folders.dockerHost }]
  const docker = (host: string, ...args: string[]): void => command('docker', ['-H', host, ...args], instance.env)
  /** An image of the tree whose layer nobody has seen before. */
  const publish = (tree: string, name: string): string => {
    writeFileSync(join(tree, 'name'), name)
    const archive = join(folder, 'image.tar')
    command('tar', ['-C', tree, '-cf', archive, '.'])
    const image = `${registry.host}/${name}`
    docker(peer, 'import', archive, image)
    docker(peer, 'push', image)
    docker(peer, 'rmi', image)
    return image
  }
  const trees = { 'one layer of about 360 MB': largeTree(folder), 'one layer of 20,000 files': treeOfManyFiles(folder) }
  for (const [index, [title, tree]] of Object.entries(trees).filter(([each]) => isChosen(each)).entries()) {
    const rounds = engines.map(() => 0)
    const images: string[] = []
    const totals = new Map<string, number[]>(engines.map(({ name }) => [name, []]))
    const pulling = engines.map(({ name, host }, at): Contender => ({
      name,
      run: async () => {
        const round = rounds[at] ?? 0
        rounds[at] = round + 1
        const image = (images[round] ??= publish(tree, `i${index}-${round}`))
        // What was deleted and written before would be charged to whoever is next.
        command('sync', [])
        const pullMs = await timed(() => docker(host, 'pull', '-q', image))
        const firstRunMs = await timed(() => docker(host, 'run', '--rm', '--network', 'none', image, '/busybox', 'sh', '-c', readAll))
        if (round > 0) totals.get(name)?.push(pullMs + firstRunMs)
        docker(host, 'rmi', image)
        return pullMs
      },
    }))
    await compare(`pull of ${title}`, pulling, { pairs: 10, warmups: 1 })
    report(`pull of ${title} and the first run, which reads all of it`, engines.map(({ name }) => name), totals)
  }
  rmSync(folder, { recursive: true })
}
