/** `berth build`: packs the context (minus .dockerignore), sends it, and shows the steps as they go. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join, relative, resolve, sep } from 'node:path'
import { ExitError } from '../exit.ts'
import { objectAt, textAt } from '../json.ts'
import { print, type Terminal } from '../terminal.ts'
import { type DockerConnection, jsonLines } from './connection.ts'
import { packContext } from './context.ts'

export interface BuildOptions {
  readonly tag: readonly string[]
  readonly file?: string
  readonly buildArg: readonly string[]
  readonly label: readonly string[]
  readonly target?: string
  readonly cache: boolean
  readonly quiet?: boolean
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

export async function build(engine: DockerConnection, terminal: Terminal, folder: string, options: BuildOptions): Promise<void> {
  const context = resolve(folder)
  if (!existsSync(context) || !statSync(context).isDirectory()) throw new ExitError(`unable to prepare context: path "${folder}" not found`)
  const dockerfilePath = options.file === undefined ? join(context, 'Dockerfile') : resolve(options.file)
  if (!existsSync(dockerfilePath)) throw new ExitError(`unable to read the Dockerfile: ${dockerfilePath} does not exist (name another with --file)`)
  const dockerfile = relative(context, dockerfilePath)
  const outside = dockerfile.startsWith(`..${sep}`) || dockerfile === '..'
  const query = new Map<string, string>([['dockerfile', outside ? '.dockerfile.outside' : dockerfile], ['rm', '1']])
  if (!options.cache) query.set('nocache', '1')
  if (options.target !== undefined) query.set('target', options.target)
  query.set('buildargs', JSON.stringify(pairs(options.buildArg, process.env)))
  query.set('labels', JSON.stringify(pairs(options.label, {})))
  const tags = options.tag.map((tag) => `t=${encodeURIComponent(tag)}`)
  const ignoreFile = [`${dockerfilePath}.dockerignore`, join(context, '.dockerignore')].find(existsSync)
  const stream = await engine.stream({
    method: 'POST',
    path: `/build?${[...tags, new URLSearchParams([...query]).toString()].join('&')}`,
    stream: packContext(context, {
      ignore: ignoreFile === undefined ? '' : readFileSync(ignoreFile, 'utf8'),
      keep: outside ? ['.dockerignore'] : [dockerfile, '.dockerignore'],
      extra: outside ? [{ path: '.dockerfile.outside', content: readFileSync(dockerfilePath) }] : [],
    }),
    headers: { 'Content-Type': 'application/x-tar' },
  })
  let id = ''
  for await (const line of jsonLines(stream)) {
    const failure = textAt(objectAt(line, 'errorDetail'), 'message') || textAt(line, 'error')
    if (failure !== '') throw new ExitError(failure)
    id = textAt(objectAt(line, 'aux'), 'ID') || id
    if (options.quiet !== true) await print(terminal.stdout, textAt(line, 'stream'))
  }
  if (options.quiet === true) await print(terminal.stdout, `${id}\n`)
}
