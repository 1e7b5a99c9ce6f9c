/**
 * The instructions of a Dockerfile, each parsed once into a typed value; nothing behind this file looks at text again
 * (variables are replaced later, when the stage's environment is known).
 * Reference: https://docs.docker.com/reference/dockerfile/
 */
import { parseDuration } from './duration.ts'
import { nearest, syntaxFault } from './fault.ts'
import { splitFlags } from './flags.ts'
import type { EscapeCharacter, Heredoc, SourceInstruction } from './lines.ts'
import { mountText, type MountText } from './mounts.ts'
import { rawWords } from './words.ts'

/** `exec`: an argument vector from a JSON array. `shell`: a line for the stage's SHELL. */
export type CommandForm = { readonly form: 'exec'; readonly argv: readonly string[] } | { readonly form: 'shell'; readonly line: string }

export interface Pair {
  readonly name: string
  readonly value: string
}

export interface HealthcheckSpec {
  /** Undefined: `HEALTHCHECK NONE`. */
  readonly command: CommandForm | undefined
  /** Nanoseconds; 0 where not given. */
  readonly intervalNs: number
  readonly timeoutNs: number
  readonly startPeriodNs: number
  readonly startIntervalNs: number
  readonly retries: number
}

export interface CopyInstruction {
  readonly kind: 'copy' | 'add'
  readonly sources: readonly string[]
  readonly destination: string
  /** Files given as here-documents, by their place among the sources. */
  readonly heredocs: readonly Heredoc[]
  readonly from?: string
  readonly chown?: string
  readonly chmod?: string
  readonly exclude: readonly string[]
  readonly checksum?: string
  /** The folders above a source are copied, too. */
  readonly parents: boolean
  /** The copy is a layer of its own, whatever lies below it. */
  readonly link: boolean
  /** ADD only: whether archives are unpacked; undefined: those that are not fetched. */
  readonly unpack?: boolean
  /** ADD only, of repositories. */
  readonly keepGitDir?: boolean
}

export interface RunInstruction {
  readonly kind: 'run'
  readonly command: CommandForm
  readonly heredocs: readonly Heredoc[]
  readonly mounts: readonly MountText[]
  readonly network: 'default' | 'none' | 'host'
  readonly security: 'sandbox' | 'insecure'
}

export interface FromInstruction {
  readonly kind: 'from'
  readonly image: string
  readonly platform?: string
  /** Lower case. */
  readonly name?: string
  /** Name and `AS` in the author's case. */
  readonly writtenName?: string
  readonly writtenAs?: string
}

export type InstructionBody =
  | FromInstruction
  | RunInstruction
  | CopyInstruction
  /** `isLegacy`: a name and a value without `=`. */
  | { readonly kind: 'env' | 'label'; readonly pairs: readonly Pair[]; readonly isLegacy: boolean }
  | { readonly kind: 'arg'; readonly args: readonly { readonly name: string; readonly value?: string }[] }
  | { readonly kind: 'workdir' | 'user' | 'stopsignal' | 'maintainer'; readonly value: string }
  | { readonly kind: 'cmd' | 'entrypoint'; readonly command: CommandForm }
  | { readonly kind: 'expose' | 'volume'; readonly values: readonly string[] }
  | { readonly kind: 'shell'; readonly argv: readonly string[] }
  | { readonly kind: 'healthcheck'; readonly check: HealthcheckSpec }
  | { readonly kind: 'onbuild'; readonly trigger: string }

/** `original`: as the author wrote it, continuation lines joined. */
export type Instruction = InstructionBody & Pick<SourceInstruction, 'file' | 'line' | 'original' | 'written' | 'lastLine' | 'comments'>

type Parser = (source: SourceInstruction, escape: EscapeCharacter) => InstructionBody

const parsers: Readonly<Record<string, Parser>> = {
  FROM: parseFrom,
  RUN: parseRun,
  COPY: parseCopy,
  ADD: parseCopy,
  ENV: (source, escape) => ({ kind: 'env', ...parsePairs(source, escape, 'ENV') }),
  LABEL: (source, escape) => ({ kind: 'label', ...parsePairs(source, escape, 'LABEL') }),
  ARG: parseArg,
  WORKDIR: (source) => ({ kind: 'workdir', value: single(source, 'a folder, e.g. WORKDIR /app') }),
  USER: (source) => ({ kind: 'user', value: single(source, 'a user, e.g. USER app or USER 1000:1000') }),
  STOPSIGNAL: (source) => ({ kind: 'stopsignal', value: single(source, 'a signal, e.g. STOPSIGNAL SIGTERM') }),
  MAINTAINER: (source) => ({ kind: 'maintainer', value: single(source, 'a name') }),
  CMD: (source) => ({ kind: 'cmd', command: commandForm(source.args) }),
  ENTRYPOINT: (source) => ({ kind: 'entrypoint', command: commandForm(source.args) }),
  EXPOSE: parseExpose,
  VOLUME: parseVolume,
  SHELL: parseShell,
  HEALTHCHECK: parseHealthcheck,
  ONBUILD: parseOnbuild,
}

const instructionNames: readonly string[] = Object.keys(parsers)

export function parseInstruction(source: SourceInstruction, escape: EscapeCharacter): Instruction {
  const parser = Object.hasOwn(parsers, source.keyword) ? parsers[source.keyword] : undefined
  if (parser === undefined) {
    const meant = nearest(source.keyword, instructionNames)
    const expected = meant === undefined ? `expected one of ${instructionNames.join(', ')}` : `did you mean ${meant}?`
    throw syntaxFault(source, `unknown instruction: ${source.keyword}; ${expected}`)
  }
  const { file, line, original, written, lastLine, comments } = source
  return { ...parser(source, escape), file, line, original, written, lastLine, comments }
}

function single(source: SourceInstruction, expected: string): string {
  const value = source.args.trim()
  if (value === '') throw syntaxFault(source, `${source.keyword} has no argument; expected ${expected}`)
  return value
}

/** The strings of a JSON array, or undefined when the text is no such array (then it is meant for a shell). */
function jsonStrings(text: string): readonly string[] | undefined {
  if (!text.trimStart().startsWith('[')) return undefined
  try {
    const value: unknown = JSON.parse(text)
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return undefined
}

function commandForm(text: string): CommandForm {
  const argv = jsonStrings(text)
  return argv === undefined ? { form: 'shell', line: text } : { form: 'exec', argv }
}

function parseFrom(source: SourceInstruction, escape: EscapeCharacter): InstructionBody {
  const { flags, rest } = splitFlags(source, escape, ['platform'])
  const words = rawWords(rest, escape) ?? []
  const [image, as, name, ...more] = words
  const expected = 'expected FROM [--platform=P] IMAGE [AS NAME]'
  if (image === undefined) throw syntaxFault(source, `FROM has no image; ${expected}`)
  if (as === undefined) return { kind: 'from', image, platform: flags.one('platform') }
  if (as.toUpperCase() !== 'AS' || name === undefined || more.length > 0) throw syntaxFault(source, `FROM ${rest} has too many or wrong words; ${expected}`)
  if (!/^[a-zA-Z][a-zA-Z0-9_.-]*$/.test(name)) {
    throw syntaxFault(source, `invalid name for build stage: '${name}'; expected a letter followed by letters, digits, '_', '.' or '-'`)
  }
  return { kind: 'from', image, name: name.toLowerCase(), writtenName: name, writtenAs: as, platform: flags.one('platform') }
}

function parseRun(source: SourceInstruction, escape: EscapeCharacter): InstructionBody {
  const { flags, rest } = splitFlags(source, escape, ['mount', 'network', 'security', 'device'])
  if (rest === '') throw syntaxFault(source, 'RUN has no command; expected RUN command or RUN ["executable", "argument", …]')
  const network = flags.one('network') ?? 'default'
  if (network !== 'default' && network !== 'none' && network !== 'host') {
    throw syntaxFault(source, `RUN --network=${network} is unknown; expected default, none or host`)
  }
  const security = flags.one('security') ?? 'sandbox'
  if (security !== 'sandbox' && security !== 'insecure') throw syntaxFault(source, `RUN --security=${security} is unknown; expected sandbox or insecure`)
  for (const device of flags.all('device')) refuseDevice(device, source)
  const mounts = flags.all('mount').map((value, index) => mountText(value, source, index))
  return { kind: 'run', command: commandForm(rest), heredocs: source.heredocs, mounts, network, security }
}

/** No device is ever there, so that only those are refused without which the command is not to run. */
function refuseDevice(text: string, source: SourceInstruction): void {
  if (/(^|,)required(=true)?(,|$)/.test(text)) throw syntaxFault(source, `RUN --device=${text}: this engine offers no CDI devices to builds; run without the device, or drop 'required'`)
}

const copyFlags = ['from', 'chown', 'chmod', 'link', 'exclude', 'parents']
const addFlags = ['chown', 'chmod', 'link', 'exclude', 'checksum', 'keep-git-dir', 'unpack']

function parseCopy(source: SourceInstruction, escape: EscapeCharacter): InstructionBody {
  const isCopy = source.keyword === 'COPY'
  const { flags, rest } = splitFlags(source, escape, isCopy ? copyFlags : addFlags)
  const words = jsonStrings(rest) ?? rawWords(rest, escape)
  if (words === undefined) throw syntaxFault(source, `${source.keyword} has a quote that does not end`)
  const destination = words.at(-1)
  if (destination === undefined || words.length < 2) {
    throw syntaxFault(source, `${source.keyword} requires at least two arguments; expected ${source.keyword} SOURCE … DESTINATION`)
  }
  const heredocWords = new Set(source.heredocs.map(({ name }) => name))
  const sources = words.slice(0, -1).filter((word) => !(/^\d*<</.test(word) && heredocWords.has(word.replace(/^\d*<<-?/, '').replace(/['"]/g, ''))))
  return {
    kind: isCopy ? 'copy' : 'add',
    sources,
    destination,
    heredocs: source.heredocs,
    from: flags.one('from'),
    chown: flags.one('chown'),
    chmod: flags.one('chmod'),
    exclude: flags.all('exclude'),
    checksum: flags.one('checksum'),
    parents: flags.enabled('parents'),
    link: flags.enabled('link'),
    ...(flags.has('unpack') ? { unpack: flags.enabled('unpack') } : {}),
    ...(flags.has('keep-git-dir') ? { keepGitDir: flags.enabled('keep-git-dir') } : {}),
  }
}

/** `a=b c="d e"`, or the old form `name the rest of the line`. Quotes stay: they are removed when variables are replaced. */
function parsePairs(source: SourceInstruction, escape: EscapeCharacter, keyword: string): { readonly pairs: readonly Pair[]; readonly isLegacy: boolean } {
  const words = rawWords(source.args, escape)
  if (words === undefined) throw syntaxFault(source, `${keyword} has a quote that does not end`)
  const first = words[0]
  if (first === undefined) throw syntaxFault(source, `${keyword} has no argument; expected ${keyword} NAME=VALUE …`)
  if (!first.includes('=')) {
    const value = source.args.trim().slice(first.length).trim()
    if (value === '') throw syntaxFault(source, `${keyword} ${first} has no value; expected ${keyword} ${first}=VALUE`)
    return { pairs: [{ name: first, value }], isLegacy: true }
  }
  const pairs = words.map((word) => {
    const equals = word.indexOf('=')
    if (equals < 0) throw syntaxFault(source, `can't find = in '${word}'; expected ${keyword} NAME=VALUE, with quotes around white space`)
    if (equals === 0) throw syntaxFault(source, `${keyword} names can not be blank: '${word}'; expected NAME=VALUE`)
    return { name: word.slice(0, equals), value: word.slice(equals + 1) }
  })
  return { pairs, isLegacy: false }
}

function parseArg(source: SourceInstruction, escape: EscapeCharacter): InstructionBody {
  const words = rawWords(source.args, escape)
  if (words === undefined || words.length === 0) throw syntaxFault(source, 'ARG has no argument; expected ARG NAME or ARG NAME=DEFAULT')
  const args = words.map((word) => {
    const equals = word.indexOf('=')
    const name = equals < 0 ? word : word.slice(0, equals)
    if (name === '') throw syntaxFault(source, `ARG names can not be blank: '${word}'; expected NAME or NAME=DEFAULT`)
    return equals < 0 ? { name } : { name, value: word.slice(equals + 1) }
  })
  return { kind: 'arg', args }
}

function parseExpose(source: SourceInstruction, escape: EscapeCharacter): InstructionBody {
  const values = rawWords(source.args, escape) ?? []
  if (values.length === 0) throw syntaxFault(source, 'EXPOSE has no argument; expected EXPOSE PORT[/tcp|/udp] …')
  return { kind: 'expose', values }
}

function parseVolume(source: SourceInstruction, escape: EscapeCharacter): InstructionBody {
  const values = jsonStrings(source.args) ?? rawWords(source.args, escape) ?? []
  if (values.length === 0 || values.some((value) => value === '')) throw syntaxFault(source, 'VOLUME has an empty argument; expected VOLUME /path … or VOLUME ["/path", …]')
  return { kind: 'volume', values }
}

function parseShell(source: SourceInstruction): InstructionBody {
  const argv = jsonStrings(source.args)
  if (argv === undefined || argv.length === 0) throw syntaxFault(source, `SHELL ${source.args} is no JSON array of strings; expected e.g. SHELL ["/bin/bash", "-c"]`)
  return { kind: 'shell', argv }
}

const healthFlags = ['interval', 'timeout', 'start-period', 'start-interval', 'retries']

function parseHealthcheck(source: SourceInstruction, escape: EscapeCharacter): InstructionBody {
  const { flags, rest } = splitFlags(source, escape, healthFlags)
  const match = /^(\S+)\s*([\s\S]*)$/.exec(rest)
  const type = (match?.[1] ?? '').toUpperCase()
  const command = match?.[2] ?? ''
  const expected = 'expected HEALTHCHECK [--interval=D …] CMD command, or HEALTHCHECK NONE'
  if (type === 'NONE') {
    if (command !== '') throw syntaxFault(source, `HEALTHCHECK NONE takes no arguments; ${expected}`)
    return { kind: 'healthcheck', check: { command: undefined, intervalNs: 0, timeoutNs: 0, startPeriodNs: 0, startIntervalNs: 0, retries: 0 } }
  }
  if (type !== 'CMD') throw syntaxFault(source, `unknown type '${type}' in HEALTHCHECK; ${expected}`)
  if (command === '') throw syntaxFault(source, `HEALTHCHECK CMD has no command; ${expected}`)
  const durationNs = (name: string): number => {
    const text = flags.one(name)
    if (text === undefined) return 0
    const ns = parseDuration(text)
    if (ns === undefined || (ns !== 0 && ns < 1_000_000)) throw syntaxFault(source, `HEALTHCHECK --${name}=${text} is no duration of at least 1ms; expected e.g. 30s or 1m30s`)
    return ns
  }
  const retries = flags.one('retries') ?? '0'
  if (!/^\d{1,6}$/.test(retries)) throw syntaxFault(source, `HEALTHCHECK --retries=${retries} is no count; expected a number such as 3`)
  const check: HealthcheckSpec = {
    command: commandForm(command),
    intervalNs: durationNs('interval'),
    timeoutNs: durationNs('timeout'),
    startPeriodNs: durationNs('start-period'),
    startIntervalNs: durationNs('start-interval'),
    retries: Number(retries),
  }
  return { kind: 'healthcheck', check }
}

function parseOnbuild(source: SourceInstruction, escape: EscapeCharacter): InstructionBody {
  const keyword = (/^\S+/.exec(source.args)?.[0] ?? '').toUpperCase()
  if (keyword === '') throw syntaxFault(source, 'ONBUILD has no instruction; expected ONBUILD INSTRUCTION arguments')
  if (keyword === 'ONBUILD' || keyword === 'FROM' || keyword === 'MAINTAINER') throw syntaxFault(source, `${keyword} isn't allowed as an ONBUILD trigger`)
  // Parsed for its faults only: what it means is decided where it is triggered.
  const args = source.args.replace(/^\S+\s*/, '')
  parseInstruction({ ...source, keyword, args }, escape)
  const documents = source.heredocs.map((heredoc) => `\n${heredoc.source}`).join('')
  return { kind: 'onbuild', trigger: `${source.args}${documents}` }
}

