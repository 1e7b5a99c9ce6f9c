/**
 * `npm run bench -- build`: the same contexts built by Berth and by dockerd, through the classic builder of both and, for dockerd,
 * BuildKit by the CLI that speaks it (Debian's 20.10); where the context is what matters, through its session for Berth, too.
 * Interleaved, one instance and one daemon for all rounds.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInstance, enterNamespaces } from '../tools/instance.ts'
import { startDockerd } from './dockerd.ts'
import { compare, type Contender, isChosen, timed } from './measure.ts'
import { busyboxArchive } from './engines.ts'

interface Client {
  readonly name: string
  readonly program: string
  readonly host: string
  readonly buildKit: boolean
}

function docker({ program, host, buildKit }: Client, args: readonly string[], env: NodeJS.ProcessEnv): void {
  const result = spawnSync(program, ['-H', host, ...args], { encoding: 'utf8', env: { ...env, DOCKER_BUILDKIT: buildKit ? '1' : '0' }, maxBuffer: 2 ** 26 })
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')} at ${host} ended with ${result.status}: ${result.stderr}`)
}

interface Work {
  readonly title: string
  readonly cached: boolean
  /** What the builders make of the client's folder is what is measured: each protocol's client is a contender. */
  readonly ofContext?: true
  /** Writes Dockerfile and files. */
  prepare(folder: string): void
}

/** Of every figure (targets.md). */
const rounds = 10

const from = 'FROM bench:busybox\n'

const works: readonly Work[] = [
  { title: '20 RUN steps, no cache', cached: false, prepare: (folder) => writeFileSync(join(folder, 'Dockerfile'), from + Array.from({ length: 20 }, (_, index) => `RUN echo ${index} > /f${index}\n`).join('')) },
  { title: '20 RUN steps, all cached', cached: true, prepare: (folder) => writeFileSync(join(folder, 'Dockerfile'), from + Array.from({ length: 20 }, (_, index) => `RUN echo ${index} > /f${index}\n`).join('')) },
  {
    title: 'three independent stages of 3 s',
    cached: false,
    prepare: (folder) => writeFileSync(join(folder, 'Dockerfile'), `${['a', 'b', 'c'].map((name) => `FROM bench:busybox AS ${name}\nRUN sleep 3 && echo ${name} > /${name}\n`).join('')}${from}COPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from=c /c /\n`),
  },
  {
    title: 'COPY 20,000 small files',
    cached: false,
    ofContext: true,
    prepare(folder) {
      for (let index = 0; index < 20_000; index += 1) {
        const below = join(folder, 'files', String(Math.floor(index / 200)))
        mkdirSync(below, { recursive: true })
        writeFileSync(join(below, String(index)), `file ${index}\n`.repeat(10))
      }
      writeFileSync(join(folder, 'Dockerfile'), `${from}COPY files /files\n`)
    },
  },
  {
    title: 'COPY one file of 360 MB',
    cached: false,
    ofContext: true,
    prepare(folder) {
      writeFileSync(join(folder, 'big'), randomBytes(360_000_000))
      writeFileSync(join(folder, 'Dockerfile'), `${from}COPY big /big\n`)
    },
  },
]

export async function benchBuild(): Promise<void> {
  enterNamespaces()
  const folder = mkdtempSync(join(tmpdir(), 'bb-'))
  using instance = createInstance()
  await using dockerd = await startDockerd()
  instance.up()
  // Only Debian's CLI has BuildKit built in; newer ones want the buildx plug-in.
  const session = existsSync('/usr/bin/docker') ? { program: '/usr/bin/docker', buildKit: true } : undefined
  const clients: Client[] = [{ name: 'berth', program: 'docker', host: instance.dockerHost, buildKit: false }]
  if (dockerd !== undefined) {
    clients.push({ name: 'dockerd classic', program: 'docker', host: dockerd.dockerHost, buildKit: false })
    if (session !== undefined) clients.push({ name: 'dockerd BuildKit', host: dockerd.dockerHost, ...session })
  }
  const lender: readonly Client[] = session === undefined ? [] : [{ name: 'berth, context by session', host: instance.dockerHost, ...session }]
  const archive = busyboxArchive(folder)
  for (const client of clients) docker(client, ['import', archive, 'bench:busybox'], instance.env)
  for (const work of works.filter(({ title }) => isChosen(title))) {
    const context = join(folder, 'context')
    mkdirSync(context)
    work.prepare(context)
    const contenders = [...clients, ...(work.ofContext === true ? lender : [])].map((client): Contender => ({
      name: client.name,
      run: () => timed(() => docker(client, ['build', '-q', ...(work.cached ? [] : ['--no-cache']), context], instance.env)),
    }))
    await compare(`docker build: ${work.title}`, contenders, { pairs: rounds, warmups: 1 })
    rmSync(context, { recursive: true })
  }
  rmSync(folder, { recursive: true })
}
