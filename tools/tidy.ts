/**
 * Style as a test. Each rule pairs what is banned with what to write instead; the import rules are the house's floor
 * plan (docs/ARCHITECTURE.md). Exits 1 when a rule is broken, and when it looked at no file at all.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'

const repository = resolve(import.meta.dirname, '..')

interface Source {
  /** Path from the repository root, e.g. `src/base/clock.ts`. */
  readonly path: string
  readonly text: string
  /** `text` without comments, line numbers kept. */
  readonly code: string
}

interface Ban {
  readonly pattern: RegExp
  readonly instead: string
  /** Paths (prefixes) where the pattern is at home. */
  readonly except: readonly string[]
  readonly within?: readonly string[]
  /** Tests may: they start the clients that judge us. */
  readonly outsideTests?: boolean
}

const tests = /\.(test|suite)\.ts$/

const bans: readonly Ban[] = [
  { pattern: /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(/, instead: 'take a Clock (#base/clock.ts)', except: ['src/base/clock.ts'], within: ['src/'] },
  { pattern: /\bset(Timeout|Interval|Immediate)\(/, instead: 'take a Clock and call after() or sleep()', except: ['src/base/clock.ts', 'src/sim/'], within: ['src/'] },
  { pattern: /\bMath\.random\(/, instead: 'take a Random (#base/random.ts)', except: [] },
  { pattern: /['"]node:child_process['"]/, instead: 'ask the linux room (#linux/contract) to run it', except: ['src/linux/', 'tools/', 'bench/', 'conformance/'], outsideTests: true },
  { pattern: /['"]koffi['"]/, instead: 'ask the linux room (#linux/contract)', except: ['src/linux/'] },
  { pattern: /^import (?!type)[^\n]* from 'node:http'$/m, instead: 'import from #base/http-module.ts: the module loads undici and HTTP/2, some 10 MB of memory', except: [], within: ['src/'], outsideTests: true },
  { pattern: /\bas any\b|:\s*any\b|<any>/, instead: 'parse the input, then name its type', except: [] },
  { pattern: /@ts-(ignore|expect-error|nocheck)/, instead: 'mend the type', except: [] },
  { pattern: /catch\s*(\([^)]*\))?\s*\{\s*\}/, instead: 'handle the error or say why it does not matter', except: [] },
  { pattern: /\.catch\(\(\)\s*=>\s*(\{\s*\}|undefined|null)\)/, instead: 'handle the error or say why it does not matter', except: [] },
  { pattern: /\b(it|test|describe)\.only\(/, instead: 'run one file with npm test -- PATH', except: [] },
  { pattern: /\bshell:\s*true/, instead: 'pass an argument vector, never a shell string', except: [] },
]

/** Which rooms a room may import values from. Types may be imported from anywhere. */
const floorPlan: Readonly<Record<string, readonly string[]>> = {
  base: [],
  schema: ['base'],
  linux: ['base'],
  oci: ['base', 'linux/contract'],
  registry: ['base', 'oci', 'linux/contract'],
  engine: ['base', 'oci', 'linux/contract'],
  cluster: ['base', 'schema', 'linux/contract'],
  sim: ['base', 'schema', 'cluster', 'linux/contract'],
  cli: ['base', 'schema', 'oci'],
  apps: ['base', 'schema', 'linux', 'oci', 'registry', 'engine', 'cluster', 'sim', 'cli'],
}

const forbiddenFolders = /(^|\/)(utils?|common|helpers?)(\/|$)/

function stripComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|(^|[\s;{}(,])\/\/[^\n]*/g, (match, lead: string | undefined) =>
    match.startsWith('/*') ? match.replace(/[^\n]/g, ' ') : (lead ?? ''),
  )
}

function readSources(): Source[] {
  const sources: Source[] = []
  const visit = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) visit(path)
      else if (entry.name.endsWith('.ts')) {
        const text = readFileSync(path, 'utf8')
        sources.push({ path: relative(repository, path), text, code: stripComments(text) })
      }
    }
  }
  for (const folder of ['src', 'tools', 'bench', 'conformance']) {
    if (existsSync(join(repository, folder))) visit(join(repository, folder))
  }
  return sources
}

function lineOf(code: string, index: number): number {
  return code.slice(0, index).split('\n').length
}

function brokenBans(source: Source): string[] {
  if (source.path === 'tools/tidy.ts') return []
  const found: string[] = []
  for (const ban of bans) {
    if (ban.within !== undefined && !ban.within.some((prefix) => source.path.startsWith(prefix))) continue
    if (ban.except.some((prefix) => source.path.startsWith(prefix))) continue
    if (ban.outsideTests === true && tests.test(source.path)) continue
    const match = ban.pattern.exec(source.code)
    if (match !== null) found.push(`${source.path}:${lineOf(source.code, match.index)}: '${match[0].trim()}' is banned: ${ban.instead}`)
  }
  return found
}

interface Import {
  readonly specifier: string
  readonly typeOnly: boolean
  readonly line: number
}

function importsOf(source: Source): Import[] {
  const found: Import[] = []
  const pattern = /(?:^|\n)\s*(import|export)\s+(type\s+)?(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)|new URL\(\s*['"](\.[^'"]+\.ts)['"]/g
  for (const match of source.code.matchAll(pattern)) {
    const specifier = match[3] ?? match[4] ?? match[5]
    if (specifier !== undefined) found.push({ specifier, typeOnly: match[2] !== undefined, line: lineOf(source.code, match.index) + 1 })
  }
  return found
}

/** `src/cluster/store/x.ts` → `cluster/store/x.ts`; undefined for what is no room of ours. */
function roomPath(source: Source, specifier: string): string | undefined {
  if (specifier.startsWith('#')) return specifier.slice(1)
  if (!specifier.startsWith('.')) return undefined
  const path = relative(repository, resolve(repository, source.path, '..', specifier))
  return path.startsWith('src/') ? path.slice(4) : undefined
}

function brokenImports(source: Source): string[] {
  const own = /^src\/([^/]+)\//.exec(source.path)?.[1]
  if (own === undefined) return []
  const allowed = floorPlan[own]
  if (allowed === undefined) return [`${source.path}: src/${own} is no room of the floor plan (tools/tidy.ts)`]
  const found: string[] = []
  for (const { specifier, typeOnly, line } of importsOf(source)) {
    const at = `${source.path}:${line}`
    const target = roomPath(source, specifier)
    if (target === undefined) continue
    const room = target.split('/')[0] ?? ''
    if (!existsSync(join(repository, 'src', target))) found.push(`${at}: '${specifier}' names no file`)
    if (specifier.startsWith('#') && room === own) found.push(`${at}: '${specifier}' stays in its room: use a relative path`)
    if (specifier.startsWith('.') && room !== own) found.push(`${at}: '${specifier}' leaves its room: use #${target}`)
    if (room === own || typeOnly) continue
    const isTest = tests.test(source.path)
    if (isTest && (room === 'sim' || room === 'linux')) continue
    if (!allowed.some((prefix) => target === prefix || target.startsWith(`${prefix}/`))) {
      found.push(`${at}: ${own} may not import values from ${room} (allowed: ${allowed.join(', ') || 'none'})`)
    }
  }
  return found
}

/** Files that no other file names: neither tests, suites, tools nor executables. */
function deadFiles(sources: readonly Source[]): string[] {
  const reached = new Set<string>()
  for (const source of sources) {
    for (const { specifier } of importsOf(source)) {
      const target = roomPath(source, specifier)
      if (target !== undefined && `src/${target}` !== source.path) reached.add(`src/${target}`)
    }
  }
  return sources
    .filter(({ path }) => path.startsWith('src/') && !tests.test(path) && !/^src\/apps\/[^/]+\.ts$/.test(path) && !reached.has(path))
    .map(({ path }) => `${path}: no file imports it: delete it, or wire it`)
}

function brokenShape(source: Source): string[] {
  const found: string[] = []
  if (forbiddenFolders.test(source.path)) found.push(`${source.path}: name the folder after what is in it, not utils, common or helpers`)
  const lines = source.text.split('\n')
  if (source.path.startsWith('src/') && lines.length > 700) found.push(`${source.path}: ${lines.length} lines: split it by meaning (at most 700)`)
  if (source.path.startsWith('src/') && !/^(#!.*\n)?\s*(\/\*\*|\/\/)/.test(source.text)) found.push(`${source.path}: open with a comment: what it is, why it stands here, where it is specified`)
  return found
}

const sources = readSources()
const broken = sources.flatMap((source) => [...brokenBans(source), ...brokenImports(source), ...brokenShape(source)])
broken.push(...deadFiles(sources))
if (sources.length === 0) broken.push('tidy looked at no file: run it inside the repository')
for (const line of broken) console.error(line)
console.log(`tidy: ${sources.length} files, ${broken.length} broken rules`)
process.exitCode = broken.length > 0 ? 1 : 0
