/**
 * buildx's docker driver against dockerd and Berth, side by side: the builds of `buildx/cases.ts`, and what comes of them: exit codes, what
 * clients are told (`--progress plain`, without numbers, times and order), configuration and contents of images. BUILDX names the binary.
 *
 *     BUILDX=/path/to/docker-buildx npm run conformance -- buildx
 *
 * `BUILDX_ONLY` is a pattern of case names. Writes `conformance/results/buildx.json`.
 */
import { mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync, lstatSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { runProgram } from '../tools/instance.ts'
import { buildxCases, type BuildxCase } from './buildx/cases.ts'
import { steadyProgress } from './buildx/steady.ts'
import { runSideBySide, type SuiteCase } from './engines/side-by-side.ts'
import { standInImages } from './engines/stand-in-images.ts'

const client = '/usr/local/bin/docker'

export async function run(): Promise<void> {
  const buildx = process.env['BUILDX']
  if (buildx === undefined) {
    console.log('buildx: skipped, BUILDX names no binary')
    return
  }
  const version = spawnSync(buildx, ['version'], { encoding: 'utf8' }).stdout.trim()
  const pattern = new RegExp(process.env['BUILDX_ONLY'] ?? '')
  await runSideBySide({
    driver: 'buildx',
    suite: 'our builds, told to buildx',
    commit: version,
    images: () => standInImages([{ names: ['busybox:latest'], command: ['sh'], release: 'busybox' }]),
    dockerdIsRight: true,
    reason: () => undefined,
    differs: (name) => buildxCases.find((each) => each.name === name)?.differs ?? {},
    cases: async (_engine, folder) => {
      mkdirSync(join(folder, 'config/cli-plugins'), { recursive: true })
      symlinkSync(buildx, join(folder, 'config/cli-plugins/docker-buildx'))
      const cases: SuiteCase[] = []
      for (const each of buildxCases) if (pattern.test(each.name)) cases.push(await tell(each, folder))
      return cases
    },
  })
}

async function tell(each: BuildxCase, folder: string): Promise<SuiteCase> {
  const context = join(folder, each.name.replaceAll(' ', '-'))
  const out = join(folder, 'out', each.name.replaceAll(' ', '-'))
  mkdirSync(out, { recursive: true })
  mkdirSync(context)
  for (const [path, content] of Object.entries(each.files)) {
    mkdirSync(dirname(join(context, path)), { recursive: true })
    writeFileSync(join(context, path), content)
  }
  const docker = async (args: readonly string[], input?: string): Promise<{ readonly exitCode: number; readonly output: string }> =>
    runProgram(['sh', '-c', 'cd "$0" && exec timeout 90 "$@"', context, client, ...args], { ...process.env, DOCKER_CONFIG: join(folder, 'config'), BUILDX_CONFIG: join(folder, 'buildx'), HOME: folder, ...each.env }, input)
  const lines: string[] = []
  const say = async (args: readonly string[], input?: string): Promise<void> => {
    const { exitCode, output } = await docker(args.map((word) => word.replaceAll('{out}', out)), input)
    lines.push(`$ docker ${args.join(' ')}: ${exitCode}`, ...steadyProgress(output, [folder]))
  }
  for (const args of each.prepare ?? []) await say(args)
  for (const args of each.commands) await say(['buildx', ...args], each.stdin)
  lines.push(...(await imageFacts(docker)))
  if (each.run !== undefined) await say(['run', '--rm', '--network', 'none', '--entrypoint', '/bin/sh', 'case', '-c', each.run])
  for (const path of each.cat ?? []) lines.push(`${path}: ${fileFacts(join(out, path))}`)
  await docker(['image', 'rm', '-f', 'case', 'case:two', 'case:y', 'localhost:5000/case:three'])
  return { name: each.name, verdict: 'passed', detail: lines.join('\n') }
}

/** One line per fact of the case's image; none where there is none. */
async function imageFacts(docker: (args: readonly string[]) => Promise<{ readonly exitCode: number; readonly output: string }>): Promise<readonly string[]> {
  const { exitCode, output } = await docker(['image', 'inspect', '--format', '{{json .RepoTags}}\n{{json .Config}}\n{{json .RootFS.Layers}}\n{{.Os}}/{{.Architecture}}', 'case'])
  if (exitCode !== 0) return ['no image']
  const [tags = '[]', config = '{}', layers = '[]', ...rest] = output.trim().split('\n')
  const names: string[] = JSON.parse(tags)
  const settings: Readonly<Record<string, unknown>> = JSON.parse(config)
  const diffIds: string[] = JSON.parse(layers)
  const history = await docker(['history', '--no-trunc', '--format', '{{.CreatedBy}}', 'case'])
  return [`names ${names.toSorted().join(' ')}`, ...Object.entries(settings).filter(([name, value]) => isSaid(name, value)).map(([name, value]) => `${name} ${JSON.stringify(value)}`).toSorted(), `${diffIds.filter((id) => id !== emptyLayer).length} layers`, ...rest, ...history.output.trim().split('\n').map((line) => `history ${steadyHistory(line)}`)]
}

/** A tar of nothing: what 20.10 keeps of a command that changed no file, and later ones, too, leave out of their history. */
const emptyLayer = 'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef'

/** Who built it, how lists and checks are written, and that a copy's origin is told, is the engine's own affair. */
function steadyHistory(line: string): string {
  return line.replace(/ # buildkit$/, '').replace(/^(HEALTHCHECK) .*/, '$1').replace(/^(COPY|ADD) --from=\S+ /, '$1 ').replaceAll('","', '" "').trimEnd()
}

/** Fields that engines of different versions write for "nothing", or not at all: `/` is the folder without a word, too, and nobody but Windows escapes arguments. */
function isSaid(name: string, value: unknown): boolean {
  if (name === 'ArgsEscaped' || (name === 'WorkingDir' && value === '/')) return false
  return value !== null && value !== undefined && value !== '' && value !== false && JSON.stringify(value) !== '[]' && JSON.stringify(value) !== '{}'
}

function fileFacts(path: string): string {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return 'is not there'
  if (stat.isSymbolicLink()) return `-> ${readlinkSync(path)}`
  const text = readFileSync(path)
  // A tar is told by its names.
  if (text.toString('latin1', 257, 262) === 'ustar') return spawnSync('tar', ['-tf', path], { encoding: 'utf8' }).stdout.trim().split('\n').map((name) => name.replace(/^\.?\//, '')).join(' ')
  return text.toString().replace(/[0-9a-f]{64}/g, 'ID')
}
