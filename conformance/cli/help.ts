/** The commands and flags that a docker CLI's help names, and which of them a run has used. */
import { spawn } from 'node:child_process'

export interface Command {
  /** `container ls`; empty for docker itself. */
  readonly path: string
  /** The name under which aliases (`ps`, `container ls`) are one. */
  readonly canonical: string
  readonly flags: ReadonlyMap<string, { readonly takesValue: boolean }>
  /** `a` → `all`. */
  readonly shorthands: ReadonlyMap<string, string>
  readonly subcommands: readonly string[]
}

export type CommandTree = ReadonlyMap<string, Command>

function helpText(client: string, path: readonly string[]): Promise<string> {
  return new Promise((fulfil, reject) => {
    // Without a daemon the help hides nothing.
    const child = spawn(client, [...path, '--help'], { env: { PATH: '/usr/bin:/bin', HOME: '/nonexistent', DOCKER_HOST: 'unix:///nonexistent.sock' }, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    child.stdout.on('data', (chunk) => (text += String(chunk)))
    child.on('error', reject)
    child.on('close', () => fulfil(text))
  })
}

/** Asks for the help of every command, from `docker --help` downwards, but not below `skipped`. */
export async function readCommandTree(client: string, skipped: (path: string) => boolean): Promise<CommandTree> {
  const tree = new Map<string, Command>()
  let level: string[] = ['']
  while (level.length > 0) {
    const commands = await Promise.all(level.map(async (path) => parseHelp(path, await helpText(client, path.split(' ').filter((word) => word !== '')))))
    for (const command of commands) tree.set(command.path, command)
    level = commands.flatMap(({ path, subcommands }) => subcommands.map((name) => `${path} ${name}`.trim())).filter((path) => !skipped(path))
  }
  return tree
}

function parseHelp(path: string, text: string): Command {
  const flags = new Map<string, { takesValue: boolean }>()
  const shorthands = new Map<string, string>()
  const subcommands: string[] = []
  // `docker images` and `docker image ls` show the same usage line, each its own.
  let section = ''
  for (const line of text.split('\n')) {
    const heading = /^([A-Z][A-Za-z ]*):\s*$/.exec(line)?.[1]
    if (heading !== undefined) section = heading
    else if (section.endsWith('Commands')) {
      const name = /^ {2}([a-z][a-z0-9-]*)\*?\s/.exec(line)?.[1]
      if (name !== undefined) subcommands.push(name)
    } else if (section.endsWith('Options')) {
      const [, shorthand, name, value] = /^\s{2,6}(?:-(\w), )?--([a-z0-9.-]+)(?: (\S+))?(?:\s{2,}.*)?$/.exec(line) ?? []
      if (name === undefined) continue
      flags.set(name, { takesValue: value !== undefined })
      if (shorthand !== undefined) shorthands.set(shorthand, name)
    }
  }
  return { path, canonical: canonicalPath(path), flags, shorthands, subcommands }
}

/** Docker's old flat commands and the ones below `container`, `image`, `system` and `builder` are the same code. */
function canonicalPath(path: string): string {
  const moved: Readonly<Record<string, string>> = { ps: 'container ls', rmi: 'image rm', images: 'image ls', info: 'system info', events: 'system events', build: 'image build', 'builder build': 'image build' }
  const known = moved[path]
  if (known !== undefined) return known
  if (['attach', 'commit', 'cp', 'create', 'diff', 'exec', 'export', 'kill', 'logs', 'pause', 'port', 'rename', 'restart', 'rm', 'run', 'start', 'stats', 'stop', 'top', 'unpause', 'update', 'wait'].includes(path)) return `container ${path}`
  if (['history', 'import', 'load', 'pull', 'push', 'save', 'tag'].includes(path)) return `image ${path}`
  return path
}

export interface Usage {
  /** Command paths as they were spelled. */
  readonly commands: Set<string>
  /** `CANONICAL --flag`. */
  readonly flags: Set<string>
}

/** Commands after whose first argument everything belongs to the container. */
const stopsAtArgument = new Set(['container run', 'container create', 'container exec', 'container top'])

export function useCall(tree: CommandTree, argv: readonly string[], usage: Usage): void {
  let command = tree.get('')
  let index = 0
  while (command !== undefined && index < argv.length) {
    const word = argv[index] ?? ''
    index += 1
    if (word === '--') break
    if (word.startsWith('--')) index += useFlag(command, word.slice(2), usage)
    else if (word.startsWith('-') && word.length > 1) index += useShorthands(command, word.slice(1), usage)
    else {
      const below = tree.get(`${command.path} ${word}`.trim())
      if (below !== undefined && command.subcommands.includes(word)) command = below
      else if (stopsAtArgument.has(command.canonical)) break
    }
  }
  if (command !== undefined) usage.commands.add(command.path)
}

/** How many further words the flag takes. */
function useFlag(command: Command, text: string, usage: Usage): number {
  const [name = '', value] = text.split(/=(.*)/s)
  const flag = command.flags.get(name)
  if (flag === undefined) return 0
  usage.flags.add(`${command.canonical} --${name}`)
  return flag.takesValue && value === undefined ? 1 : 0
}

function useShorthands(command: Command, letters: string, usage: Usage): number {
  for (const [index, letter] of letters.split('').entries()) {
    const name = command.shorthands.get(letter)
    if (name === undefined) return 0
    usage.flags.add(`${command.canonical} --${name}`)
    if (command.flags.get(name)?.takesValue === true) return index === letters.length - 1 ? 1 : 0
  }
  return 0
}

/** Commands and flags of the help that no call used. Commands that only group others need no call. */
export function unused(tree: CommandTree, usage: Usage): string[] {
  const found: string[] = []
  const told = new Set<string>()
  for (const { path, canonical, flags, subcommands } of tree.values()) {
    if (path !== '' && subcommands.length === 0 && !usage.commands.has(path)) found.push(path)
    for (const name of flags.keys()) {
      const flag = `${canonical} --${name}`
      if (!usage.flags.has(flag) && !told.has(flag)) found.push(flag.trim())
      told.add(flag)
    }
  }
  return found
}
