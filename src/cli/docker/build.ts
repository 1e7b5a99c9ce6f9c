/** `berth build`: packs the context (minus .dockerignore), sends it, and shows the steps as they run side by side. */
import { createWriteStream, existsSync, readFileSync, statSync } from 'node:fs'
import { join, relative, resolve, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { sleep } from '#base/clock.ts'
import { ExitError } from '../exit.ts'
import { objectAt, textAt } from '../json.ts'
import { print, type Terminal } from '../terminal.ts'
import { parseOutput, sinkOf, type BuildOutput } from './build-output.ts'
import { openBuildSession } from './build-session.ts'
import { traceEvents } from './build-trace.ts'
import { buildView, type BuildView } from './build-view.ts'
import { type DockerConnection, jsonLines } from './connection.ts'
import { packContext } from './context.ts'
import { pushImage } from './images.ts'
import { run } from './run.ts'

export interface BuildOptions {
  readonly tag: readonly string[]
  readonly file?: string
  readonly buildArg: readonly string[]
  readonly label: readonly string[]
  readonly target?: string
  readonly cache: boolean
  readonly quiet?: boolean
  readonly pull?: boolean
  readonly platform?: string
  readonly network?: string
  readonly secret: readonly string[]
  readonly buildContext: readonly string[]
  readonly cacheFrom: readonly string[]
  readonly cacheTo: readonly string[]
  readonly allow: readonly string[]
  readonly output?: string
  readonly provenance?: string
  readonly sbom?: string
  readonly annotation: readonly string[]
  readonly push?: boolean
  readonly check?: boolean
  readonly call?: string
  readonly shellOnFailure?: boolean
}

function pairs(entries: readonly string[], environment: NodeJS.ProcessEnv): Record<string, string> {
  const result: Record<string, string> = {}
  for (const entry of entries) {
    const equals = entry.indexOf('=')
    const value = equals < 0 ? environment[entry] : entry.slice(equals + 1)
    if (value !== undefined) result[equals < 0 ? entry : entry.slice(0, equals)] = value
  }
  return result
}

/** `id=key,src=FILE`, `id=key,env=NAME`. */
function secretsOf(entries: readonly string[]): ReadonlyMap<string, Buffer> {
  return new Map(
    entries.map((entry) => {
      const fields = new Map(entry.split(',').map((field) => [field.split('=', 1)[0] ?? '', field.slice(field.indexOf('=') + 1)]))
      const id = fields.get('id') ?? ''
      if (id === '') throw new ExitError(`--secret ${entry}: expected id=NAME[,src=FILE|,env=VARIABLE]`)
      const file = fields.get('src') ?? fields.get('source')
      const variable = fields.get('env') ?? id
      if (file !== undefined) return [id, readFileSync(file)]
      const value = process.env[variable]
      if (value === undefined) throw new ExitError(`--secret ${entry}: the variable ${variable} is not set`)
      return [id, Buffer.from(value)]
    }),
  )
}

interface Source {
  readonly query: Readonly<Record<string, string>>
  readonly stream?: ReturnType<typeof packContext>
}

/** A folder, packed as it is sent, or an address that the engine fetches. */
function sourceOf(context: string, options: BuildOptions): Source {
  if (/^(https?|git|ssh):\/\/|^git@|^github\.com\//.test(context) && !existsSync(context)) return { query: { remote: context, dockerfile: options.file ?? 'Dockerfile' } }
  const folder = resolve(context)
  if (!existsSync(folder) || !statSync(folder).isDirectory()) throw new ExitError(`unable to prepare context: path "${context}" not found`)
  const dockerfilePath = options.file === undefined ? join(folder, 'Dockerfile') : resolve(options.file)
  if (!existsSync(dockerfilePath)) throw new ExitError(`unable to read the Dockerfile: ${dockerfilePath} does not exist (name another with --file)`)
  const dockerfile = relative(folder, dockerfilePath)
  const outside = dockerfile.startsWith(`..${sep}`) || dockerfile === '..'
  const ignoreFile = [`${dockerfilePath}.dockerignore`, join(folder, '.dockerignore')].find(existsSync)
  const stream = packContext(folder, {
    ignore: ignoreFile === undefined ? '' : readFileSync(ignoreFile, 'utf8'),
    keep: outside ? ['.dockerignore'] : [dockerfile, `${dockerfile}.dockerignore`, '.dockerignore'],
    extra: outside ? [{ path: '.dockerfile.outside', content: readFileSync(dockerfilePath) }] : [],
  })
  return { query: { dockerfile: outside ? '.dockerfile.outside' : dockerfile }, stream }
}

function queryOf(options: BuildOptions, output: BuildOutput | undefined): URLSearchParams {
  const query = new URLSearchParams({ rm: '1', version: '2', buildargs: JSON.stringify(pairs(options.buildArg, process.env)), labels: JSON.stringify(pairs(options.label, {})) })
  const set = (name: string, value: string | undefined): void => {
    if (value !== undefined && value !== '') query.set(name, value)
  }
  set('nocache', options.cache ? undefined : '1')
  set('pull', options.pull === true ? '1' : undefined)
  set('target', options.target)
  const platforms = platformsOf(options)
  if (platforms.length > 1) query.set('platforms', JSON.stringify(platforms))
  else set('platform', platforms[0])
  const attested = attestationsOf(options)
  set('attest', attested.size === 0 ? undefined : JSON.stringify(Object.fromEntries(attested)))
  set('exporter', options.annotation.length === 0 ? undefined : JSON.stringify(Object.fromEntries(options.annotation.map(annotationOf))))
  set('networkmode', options.network)
  set('contexts', options.buildContext.length === 0 ? undefined : JSON.stringify(pairs(options.buildContext, {})))
  set('cachefrom', options.cacheFrom.length === 0 ? undefined : JSON.stringify(options.cacheFrom))
  set('cacheto', options.cacheTo.length === 0 ? undefined : JSON.stringify(options.cacheTo))
  set('entitlements', options.allow.length === 0 ? undefined : JSON.stringify(options.allow))
  set('call', options.check === true ? 'check' : options.call)
  set('keepfailed', options.shellOnFailure === true ? '1' : undefined)
  if (output?.type === 'tar' || output?.type === 'local') set('outputs', JSON.stringify([{ Type: 'tar', Attrs: {} }]))
  for (const tag of options.tag) query.append('t', tag)
  return query
}

function platformsOf({ platform }: BuildOptions): readonly string[] {
  return (platform ?? '').split(',').map((each) => each.trim()).filter((each) => each !== '')
}

/** What is to be attested, with how: as `attest:TYPE` says it to a frontend. */
function attestationsOf({ provenance, sbom }: BuildOptions): ReadonlyMap<string, string> {
  const asked: readonly (readonly [type: string, spec: string | undefined, plain: string])[] = [['provenance', provenance, 'mode=min'], ['sbom', sbom, '']]
  return new Map(asked.flatMap(([type, spec, plain]) => (spec === undefined || spec === 'false' || spec === '0' ? [] : [[type, spec === 'true' || spec === '1' ? plain : spec] as const])))
}

/** `index:key=value`, `manifest[linux/arm64]:key=value`, or `key=value` of every manifest: as BuildKit's exporters call it. */
function annotationOf(spec: string): readonly [name: string, value: string] {
  const match = /^(?:([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?:)?([^=\s]+)=(.*)$/s.exec(spec)
  if (match === null) throw new ExitError(`--annotation ${spec}: expected [TYPE[PLATFORM]:]KEY=VALUE`)
  const [, type, platform, key = '', value = ''] = match
  return [`annotation${type === undefined ? '' : `-${type}`}${platform === undefined ? '' : `[${platform}]`}.${key}`, value]
}

export async function build(engine: DockerConnection, terminal: Terminal, context: string, options: BuildOptions): Promise<number> {
  const parsed = options.output === undefined ? undefined : parseOutput(options.output)
  const push = options.push === true || parsed?.push === true
  if (push && options.tag.length === 0) throw new ExitError('--push needs a name: give one with --tag')
  const isIndex = platformsOf(options).length > 1 || attestationsOf(options).size > 0
  if (isIndex && parsed?.type === 'docker') throw new ExitError("docker's archives hold images of one platform without attestations: use --output type=oci")
  if (isIndex && parsed?.type === 'oci' && options.tag.length === 0) throw new ExitError('an archive of an index needs a name: give one with --tag')
  const sink = parsed?.type === 'tar' || parsed?.type === 'local' ? sinkOf(parsed, terminal) : undefined
  const secrets = secretsOf(options.secret)
  const source = sourceOf(context, options)
  const query = queryOf(options, parsed)
  for (const [name, value] of Object.entries(source.query)) query.set(name, value)
  using session = secrets.size === 0 && sink === undefined ? undefined : await openBuildSession(engine, { secrets, output: sink?.stream })
  if (session !== undefined) query.set('session', session.id)
  const stream = await engine.stream({ method: 'POST', path: `/build?${query.toString()}`, ...(source.stream === undefined ? {} : { stream: source.stream }), headers: { 'Content-Type': 'application/x-tar' } })
  const outcome = await follow(jsonLines(stream), options.quiet === true ? undefined : buildView(terminal), terminal)
  if (outcome.failure !== undefined) {
    if (options.shellOnFailure === true && outcome.failedRoot !== undefined) await openShell(engine, terminal, outcome.failedRoot, outcome.failure)
    throw new ExitError(outcome.failure)
  }
  if (outcome.answer !== undefined) {
    await print(terminal.stdout, outcome.answer.text === '' ? 'Check complete, no warnings found.\n' : outcome.answer.text)
    return outcome.answer.exitCode
  }
  await sink?.done
  if (parsed?.type === 'oci' || parsed?.type === 'docker') await saveImage(engine, terminal, parsed, options.tag[0] ?? outcome.imageId)
  if (push) for (const tag of options.tag) await pushImage(engine, terminal, tag, { files: [] })
  if (options.quiet === true) await print(terminal.stdout, `${outcome.imageId}\n`)
  return 0
}

interface Outcome {
  readonly imageId: string
  readonly failure: string | undefined
  readonly failedRoot: string | undefined
  readonly answer: { readonly text: string; readonly exitCode: number } | undefined
}

/** Shows what the engine tells until it has told all of it. */
async function follow(lines: AsyncIterable<unknown>, view: BuildView | undefined, terminal: Terminal): Promise<Outcome> {
  let [imageId, failure, failedRoot, answer]: [string, Outcome['failure'], Outcome['failedRoot'], Outcome['answer']] = ['', undefined, undefined, undefined]
  const over = new AbortController()
  const ticking = tickUntil(over.signal, view, terminal)
  try {
    for await (const line of lines) {
      failure = textAt(objectAt(line, 'errorDetail'), 'message') || textAt(line, 'error') || failure
      const id = textAt(line, 'id')
      if (id === 'moby.buildkit.trace' && view !== undefined) for (const event of traceEvents(Buffer.from(textAt(line, 'aux'), 'base64'))) await view.tell(event)
      if (id === 'moby.image.id') imageId = textAt(objectAt(line, 'aux'), 'ID')
      if (id === 'berth.failed.root') failedRoot = textAt(objectAt(line, 'aux'), 'ID')
      if (id === 'berth.answer') answer = { text: textAt(objectAt(line, 'aux'), 'Text'), exitCode: textAt(objectAt(line, 'aux'), 'ExitCode') === '0' ? 0 : 1 }
    }
  } finally {
    over.abort()
    await ticking
    await view?.close()
  }
  return { imageId, failure, failedRoot, answer }
}

const tickMs = 200

async function tickUntil(signal: AbortSignal, view: BuildView | undefined, terminal: Terminal): Promise<void> {
  if (view === undefined || terminal.stderr.isTTY !== true) return
  while (!signal.aborted) {
    try {
      await sleep(terminal.clock, tickMs, signal)
    } catch (error) {
      if (signal.aborted) return
      throw error
    }
    await view.tick()
  }
}

/** In what the failed command has left, with its variables, folder and user; the image goes with the shell. */
async function openShell(engine: DockerConnection, terminal: Terminal, imageId: string, failure: string): Promise<void> {
  await print(terminal.stderr, `${failure}\n\nA shell in the failed step's file system; leave it with exit:\n`)
  const interactive = terminal.stdin.isTTY === true
  try {
    await run(engine, terminal, imageId, [], { rm: true, interactive: true, tty: interactive, entrypoint: '/bin/sh', env: [], publish: [], volume: [], label: [], logOpt: [] })
  } finally {
    await engine.json({ method: 'DELETE', path: `/images/${encodeURIComponent(imageId)}`, query: { force: '1' } })
  }
}

/** One archive is both: docker's form and an OCI layout. */
async function saveImage(engine: DockerConnection, terminal: Terminal, { dest }: BuildOutput, name: string): Promise<void> {
  if (dest === '-' && terminal.stdout.isTTY === true) throw new ExitError('an archive is not written to a terminal: give --output dest=FILE or redirect it')
  const archive = await engine.stream({ method: 'GET', path: `/images/${encodeURIComponent(name)}/get` })
  if (dest !== '-') return pipeline(archive, createWriteStream(resolve(dest)))
  for await (const chunk of archive) await print(terminal.stdout, Buffer.from(chunk))
}
