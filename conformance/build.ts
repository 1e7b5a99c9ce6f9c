/**
 * `npm run conformance -- build [PATTERN]`: builds our Dockerfiles (build/all-cases.ts) with dockerd's builders and with Berth's, and
 * compares configuration and files: paths, kinds, modes, owners, link targets, hard links, contents, whiteouts applied. What may differ stands
 * at its case, value by value; anything else fails, and so does what no longer differs.
 *
 * Runs itself again inside private network and mount namespaces. With a pattern (of case names) nothing is recorded.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import { startDockerd, type Dockerd } from '../bench/dockerd.ts'
import type { ContainerDefaults, ImageConfig } from '../src/engine/contract/images.ts'
import type { BuildLoans } from '../src/engine/http/backend.ts'
import { openBuildLaboratory, type BuildLaboratory } from '../src/engine/build/builder.fixture.ts'
import { openKernel } from '../src/linux/real/kernel.ts'
import { sampleTar, type Sample } from '../src/oci/layer/archive-samples.ts'
import { parseDigest } from '../src/oci/digest.ts'
import { readTar, type TarItem } from '../src/oci/layer/reader.ts'
import { allBuildCases } from './build/all-cases.ts'
import type { BuildCase } from './build/cases.ts'
import { writeResult, type Verdict } from './record.ts'

const inside = 'BERTH_CONFORMANCE_INSIDE'

export async function run(): Promise<void> {
  if (process.env[inside] === undefined) {
    const tool = join(import.meta.dirname, '../tools/conformance.ts')
    const result = spawnSync('unshare', ['--net', '--mount', '--propagation', 'private', '--', process.execPath, '--disable-warning=ExperimentalWarning', tool, ...process.argv.slice(2)], { stdio: 'inherit', env: { ...process.env, [inside]: '1' } })
    process.exitCode = result.status ?? 1
    return
  }
  spawnSync('ip', ['link', 'set', 'lo', 'up'])
  const folder = mkdtempSync(join(tmpdir(), 'cb-'))
  const kernel = await openKernel()
  try {
    await using dockerd = await startDockerd()
    if (dockerd === undefined) throw new Error('dockerd is not installed (Debian package docker.io): nothing to compare with')
    await using laboratory = await openBuildLaboratory(kernel, folder)
    await compareAll(dockerd, laboratory, join(folder, 'work'))
  } finally {
    rmSync(folder, { recursive: true })
    await kernel[Symbol.asyncDispose]()
  }
}

/** One tree, as lines that can be compared. */
type Tree = ReadonlyMap<string, string>

interface Outcome {
  readonly config: ContainerDefaults
  readonly architecture: string
  readonly layers: number
  readonly tree: Tree
}

async function compareAll(dockerd: Dockerd, laboratory: BuildLaboratory, work: string): Promise<void> {
  const cases: { name: string; verdict: Verdict; reason?: string }[] = []
  const pattern = process.argv[3]
  const builders = { dockerd, laboratory, work }
  for (const base of baseImages()) await buildBoth(builders, base, base.name)
  for (const each of allBuildCases) {
    if (pattern !== undefined && !new RegExp(pattern).test(each.name)) continue
    let differences: string[]
    try {
      const { expected, found } = await buildBoth(builders, each, undefined)
      differences = compare(expected, found, each)
    } catch (error) {
      differences = [error instanceof Error ? error.message : String(error)]
    }
    const listed = each.differs ?? {}
    const wrong = [...differences.filter((line) => listed[line] === undefined), ...Object.keys(listed).filter((line) => !differences.includes(line)).map((line) => `no longer differs: ${line}`)]
    const reason = [...new Set(Object.values(listed))].join('; ')
    cases.push({ name: each.name, verdict: wrong.length > 0 ? 'failed' : reason === '' ? 'passed' : 'skipped', ...(wrong.length === 0 && reason !== '' ? { reason } : {}) })
    if (wrong.length > 0) console.log(`${each.name}:\n${wrong.map((line) => `  ${line}`).join('\n')}`)
  }
  if (cases.some(({ verdict }) => verdict === 'failed')) process.exitCode = 1
  if (pattern !== undefined) {
    console.log(`${cases.filter(({ verdict }) => verdict !== 'failed').length} of ${cases.length} cases as expected`)
    return
  }
  const version = spawnSync('docker', ['-H', dockerd.dockerHost, 'version', '--format', '{{.Server.Version}}'], { encoding: 'utf8' }).stdout.trim()
  writeResult('build', { suite: 'our Dockerfiles against dockerd (classic builder, and its BuildKit)', commit: `dockerd ${version}`, cases })
}

/** The images that cases start from, built by both from the same files. */
function baseImages(): readonly BuildCase[] {
  const busybox = readFileSync('/bin/busybox')
  const applets = ['sh', 'echo', 'mkdir', 'ln', 'cat', 'rm', 'chmod', 'chown', 'touch', 'true', 'false', 'env', 'grep', 'sort', 'mkfifo', 'mknod', 'dd', 'pwd', 'id', 'ls', 'printf', 'awk', 'stat']
  const files: Sample[] = [
    { path: 'root', type: 'directory' },
    { path: 'root/bin', type: 'directory' },
    { path: 'root/bin/busybox', content: busybox, mode: 0o755 },
    ...applets.map((name): Sample => ({ path: `root/bin/${name}`, type: 'symlink', link: 'busybox' })),
    { path: 'root/etc', type: 'directory' },
    { path: 'root/etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/sh\n' },
    { path: 'root/etc/group', content: 'root:x:0:\ndaemon:x:1:\nusers:x:100:\n' },
    { path: 'root/tmp', type: 'directory', mode: 0o777 },
  ]
  return [
    { name: 'base:1', dockerfile: 'FROM scratch\nCOPY root /\nRUN chmod 1777 /tmp\n', files },
    { name: 'with-command:1', dockerfile: 'FROM base:1\nENV BASE=env\nCMD ["inherited"]\nLABEL from=base\n' },
    { name: 'with-trigger:1', dockerfile: 'FROM base:1\nONBUILD COPY a.txt /triggered\nONBUILD ENV T=$BASE-t\nONBUILD RUN echo run > /ran\n' },
  ]
}

interface Builders {
  readonly dockerd: Dockerd
  readonly laboratory: BuildLaboratory
  readonly work: string
}

async function buildBoth(builders: Builders, build: BuildCase, tag: string | undefined): Promise<{ readonly expected: Outcome; readonly found: Outcome }> {
  rmSync(builders.work, { recursive: true, force: true })
  mkdirSync(builders.work, { recursive: true })
  const files = [{ path: 'Dockerfile', content: build.dockerfile }, ...(build.files ?? [])]
  const context = sampleTar(files)
  const expected = await buildWithDockerd(builders, build, context, tag ?? 'case')
  const { image } = await builders.laboratory.build(sentAsFolder(build) ? sampleTar(files.map((file) => ({ ...file, uid: 0, gid: 0 }))) : context, { tags: tag === undefined ? [] : [tag], buildArgs: build.args ?? {}, target: build.target ?? '', loans: loansOf(build), labels: build.labels ?? {}, dialect: build.buildkit === true ? 'buildkit' : 'classic' })
  const layers = image.config.rootfs.diff_ids.map((diffId) => readFileSync(builders.laboratory.blobs.path(parseDigest(diffId))))
  return { expected, found: { config: image.config.config ?? {}, architecture: image.config.architecture, layers: layers.length, tree: await treeOf(layers) } }
}

function loansOf({ secrets = {} }: BuildCase): BuildLoans {
  return {
    secret: async (id) => (secrets[id] === undefined ? undefined : Buffer.from(secrets[id])),
    hasAgent: async () => false,
    forwardAgent: async () => Promise.reject(new Error('there is no agent')),
  }
}

/** BuildKit's clients send what lies in a folder as root's. */
function sentAsFolder(build: BuildCase): boolean {
  return build.fromFolder === true && build.buildkit === true
}

/** The context goes through the API as a tar, so that owners and modes are exactly those of the case. */
async function buildWithDockerd({ dockerd, work }: Builders, build: BuildCase, context: Buffer, tag: string): Promise<Outcome> {
  const docker = (args: readonly string[], input?: Buffer): string => {
    // Debian's client speaks BuildKit's protocol without buildx.
    const result = spawnSync(build.buildkit === true ? '/usr/bin/docker' : 'docker', ['-H', dockerd.dockerHost, ...args], { input: input ?? '', maxBuffer: 2 ** 28, env: { ...process.env, DOCKER_BUILDKIT: build.buildkit === true ? '1' : '0' } })
    if (result.status !== 0) throw new Error(`docker ${args[0] ?? ''}: ${result.stderr.toString()}${result.stdout.toString().slice(-500)}`)
    return result.stdout.toString()
  }
  const options = [...Object.entries(build.args ?? {}).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]), ...Object.entries(build.labels ?? {}).flatMap(([name, value]) => ['--label', `${name}=${value}`])]
  for (const [id, text] of Object.entries(build.secrets ?? {})) {
    writeFileSync(join(work, `secret-${id}`), text)
    options.push('--secret', `id=${id},src=${join(work, `secret-${id}`)}`)
  }
  const folder = join(work, 'context')
  if (build.fromFolder === true) {
    mkdirSync(folder)
    spawnSync('tar', ['-x', '-C', folder], { input: context })
  }
  docker(['build', '-t', tag, ...(build.target === undefined || build.target === '' ? [] : ['--target', build.target]), ...options, build.fromFolder === true ? folder : '-'], context)
  const saved = join(work, 'saved.tar')
  docker(['save', '-o', saved, tag])
  const files = new Map<string, Buffer>()
  const links = new Map<string, string>()
  for await (const item of readTar(Readable.from([readFileSync(saved)]))) {
    if (item.entry.type === 'symlink') links.set(item.entry.path.toString(), item.entry.linkPath.toString())
    else files.set(item.entry.path.toString(), await contentOf(item))
  }
  const manifest: readonly { readonly Config: string; readonly Layers: readonly string[] }[] = JSON.parse(files.get('manifest.json')?.toString() ?? '[]')
  const image: ImageConfig = JSON.parse(files.get(manifest[0]?.Config ?? '')?.toString() ?? '{}')
  const layers = (manifest[0]?.Layers ?? []).map((path) => files.get(path) ?? files.get((links.get(path) ?? '').replace('../', '')) ?? Buffer.alloc(0))
  return { config: image.config ?? {}, architecture: image.architecture, layers: layers.length, tree: await treeOf(layers) }
}

async function contentOf(item: TarItem): Promise<Buffer> {
  const chunks: Buffer[] = []
  for (let chunk = await item.read(); chunk !== undefined; chunk = await item.read()) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** Applies layer tars one on another: path → what stands there. */
async function treeOf(layers: readonly Buffer[]): Promise<Tree> {
  const tree = new Map<string, string>()
  const removeBelow = (path: string): void => {
    for (const each of [...tree.keys()]) if (each.startsWith(`${path}/`)) tree.delete(each)
  }
  for (const layer of layers) {
    const added = new Map<string, string>()
    for await (const item of readTar(Readable.from([layer]))) {
      const { entry } = item
      const path = entry.path.toString().replace(/^\.?\/|\/$/g, '')
      const name = path.slice(path.lastIndexOf('/') + 1)
      const parent = path.slice(0, path.lastIndexOf('/'))
      if (name === '.wh..wh..opq') removeBelow(parent)
      else if (name.startsWith('.wh.')) {
        const gone = parent === '' ? name.slice(4) : `${parent}/${name.slice(4)}`
        tree.delete(gone)
        removeBelow(gone)
      } else if (path !== '' && path !== '.') {
        const digest = entry.type === 'file' && entry.sizeBytes > 0 ? createHash('sha256').update(await contentOf(item)).digest('hex').slice(0, 12) : ''
        const linked = entry.linkPath.toString().replace(/^\//, '')
        const line = entry.type === 'hardlink' ? (added.get(linked) ?? tree.get(linked) ?? `hard link to missing ${linked}`) : `${entry.type} ${entry.mode.toString(8)} ${entry.uid}:${entry.gid} ${entry.type === 'symlink' ? entry.linkPath.toString() : digest}`
        if (entry.type !== 'directory') removeBelow(path)
        added.set(path, line)
      }
    }
    for (const [path, line] of added) tree.set(path, line)
  }
  return tree
}

/** Members that say the same when they are empty, absent or null. */
const compared = ['Env', 'Cmd', 'Entrypoint', 'WorkingDir', 'User', 'Labels', 'ExposedPorts', 'Volumes', 'StopSignal', 'Healthcheck', 'Shell', 'OnBuild'] as const satisfies readonly (keyof ContainerDefaults)[]

/** BuildKit makes a layer of every step that may change files, the classic builder and Berth of those that do. */
function compare(expected: Outcome, found: Outcome, { buildkit }: BuildCase): string[] {
  const differences: string[] = []
  for (const member of compared) {
    const [wanted, got] = [normal(expected.config[member]), normal(found.config[member])]
    if (!isDeepStrictEqual(wanted, got)) differences.push(`config.${member}: dockerd ${JSON.stringify(wanted)}, Berth ${JSON.stringify(got)}`)
  }
  if (expected.architecture !== found.architecture) differences.push(`architecture: dockerd ${expected.architecture}, Berth ${found.architecture}`)
  if (buildkit !== true && expected.layers !== found.layers) differences.push(`layers: dockerd ${expected.layers}, Berth ${found.layers}`)
  for (const path of [...new Set([...expected.tree.keys(), ...found.tree.keys()])].sort()) {
    const [wanted, got] = [expected.tree.get(path) ?? 'nothing', found.tree.get(path) ?? 'nothing']
    if (wanted !== got) differences.push(`${path}: dockerd ${wanted}, Berth ${got}`)
  }
  return differences
}

function normal(value: unknown): unknown {
  if (value === null || value === undefined || value === '') return undefined
  if (Array.isArray(value)) return value.length === 0 ? undefined : value
  if (typeof value === 'object') return Object.keys(value).length === 0 ? undefined : value
  return value
}
