/**
 * What a Dockerfile answers without being built: its warnings (`--check`), what a target takes (`--call=outline`), its targets
 * (`--call=targets`), as BuildKit's subrequests write them (`frontend/subrequests`).
 */
import type { BuildAnswer, BuildWarning } from '../../contract/builds.ts'
import type { Place } from './fault.ts'
import type { Instruction } from './instructions.ts'
import { parseMount } from './mounts.ts'
import type { Stage, StagePlan } from './stages.ts'

interface Location {
  readonly ranges: readonly { readonly start: { readonly line: number }; readonly end: { readonly line: number } }[]
}

function locationOf(first: number, last = first): Location {
  return { ranges: [{ start: { line: first }, end: { line: last } }] }
}

export interface CheckedFile {
  readonly file: string
  readonly text: string
  readonly warnings: readonly BuildWarning[]
  /** Why it could not be read to its end. */
  readonly error?: { readonly message: string; readonly line: number | undefined }
}

export function checkAnswer({ file, text, warnings, error }: CheckedFile): BuildAnswer {
  const json = {
    warnings: warnings.map(({ rule, description, url, detail, at }) => ({
      ruleName: rule,
      ...(description === '' ? {} : { description }),
      ...(url === '' ? {} : { url }),
      ...(detail === '' ? {} : { detail }),
      location: { ...(at === undefined ? { ranges: [] } : locationOf(at.firstLine, at.lastLine)) },
    })),
    sources: [{ filename: file, language: 'Dockerfile', data: Buffer.from(text).toString('base64') }],
    ...(error === undefined ? {} : { buildError: { message: error.message, location: error.line === undefined ? { ranges: [] } : locationOf(error.line) } }),
  }
  const shown = warnings.map(({ rule, url, detail, at }) => `\nWARNING: ${rule}${url === '' ? '' : ` - ${url}`}\n${detail}\n${at === undefined ? '' : excerpt(file, text, [at.firstLine, at.lastLine])}`)
  return { json, text: shown.join(''), exitCode: warnings.length > 0 || error !== undefined ? 1 : 0 }
}

/** Some lines of the file, with those in question marked. */
export function excerpt(file: string, text: string, [first, last]: readonly [number, number]): string {
  const lines = text.split(/\r?\n/)
  if (first < 1 || first > lines.length) return ''
  const end = Math.min(last, lines.length)
  const around = first === end ? 4 : 2
  const [from, to] = [Math.max(1, first - Math.floor(around / 2)), Math.min(lines.length, end + Math.ceil(around / 2))]
  const shown = lines.slice(from - 1, to).map((line, index) => ` ${String(from + index).padStart(3)} | ${from + index >= first && from + index <= end ? '>>>' : '   '} ${line}\n`)
  return `${file}:${first}\n--------------------\n${shown.join('')}--------------------\n`
}

export function targetsAnswer(plan: StagePlan, text: string): BuildAnswer {
  const targets = plan.stages.map((stage) => ({
    ...(stage.name === undefined ? {} : { name: stage.name }),
    ...(stage.index === plan.stages.length - 1 ? { default: true } : {}),
    ...described(stage),
    base: stage.from.image,
    ...(stage.from.platform === undefined ? {} : { platform: stage.from.platform }),
    location: locationOf(stage.line, stage.from.lastLine),
  }))
  const rows = targets.map(({ name = '', default: isDefault = false, description = '' }) => [name === '' ? (isDefault ? '(default)' : '') : `${name}${isDefault ? ' (default)' : ''}`, description])
  return { json: { targets, sources: [Buffer.from(text).toString('base64')] }, text: columns([['TARGET', 'DESCRIPTION'], ...rows], 1), exitCode: 0 }
}

/** `# NAME what it is`, above it. */
function description(comments: readonly string[], name: string): string | undefined {
  return comments.find((comment) => comment.startsWith(`${name} `))?.slice(name.length + 1)
}

function described({ name, from }: Stage): { readonly description?: string } {
  const found = name === undefined ? undefined : description(from.comments, name)
  return found === undefined ? {} : { description: found }
}

export function outlineAnswer(plan: StagePlan, text: string, buildArgs: ReadonlyMap<string, string | null>): BuildAnswer {
  const reachable = plan.needed
  const args = argumentsOf(plan, reachable, buildArgs)
  const loans = reachable.flatMap(({ instructions }) => instructions.flatMap(loansOf))
  const unique = (type: 'secret' | 'ssh'): { readonly name: string; readonly required?: true; readonly location: Location }[] => {
    const found = new Map<string, { readonly name: string; readonly required?: true; readonly location: Location }>()
    for (const { mount, at } of loans) if (mount.type === type && !found.has(mount.id)) found.set(mount.id, { name: mount.id, ...(mount.required ? { required: true } : {}), location: locationOf(at.line) })
    return [...found.values()]
  }
  const [secrets, ssh] = [unique('secret'), unique('ssh')]
  const { name } = plan.target
  const about = described(plan.target)
  const json = {
    ...(name === undefined ? {} : { name }),
    ...about,
    ...(args.length === 0 ? {} : { args }),
    ...(secrets.length === 0 ? {} : { secrets }),
    ...(ssh.length === 0 ? {} : { ssh }),
    sources: [Buffer.from(text).toString('base64')],
  }
  const tables = [
    name === undefined && about.description === undefined ? '' : columns([['TARGET:', name ?? '(default)'], ...(about.description === undefined ? [] : [['DESCRIPTION:', about.description]])], 1),
    args.length === 0 ? '' : columns([['BUILD ARG', 'VALUE', 'DESCRIPTION'], ...args.map((arg) => [arg.name, arg.value ?? '', arg.description ?? ''])], 3),
    secrets.length === 0 ? '' : columns([['SECRET', 'REQUIRED'], ...secrets.map((each) => [each.name, each.required === true ? 'true' : ''])], 3),
    ssh.length === 0 ? '' : columns([['SSH', 'REQUIRED'], ...ssh.map((each) => [each.name, each.required === true ? 'true' : ''])], 3),
  ]
  return { json, text: tables.filter((table) => table !== '').map((table) => `${table}\n`).join(''), exitCode: 0 }
}

interface OutlineArgument {
  readonly name: string
  readonly description?: string
  readonly value?: string
  readonly location: Location
}

/** ARGs of the stages that the target needs, and those before FROM that they name. */
function argumentsOf(plan: StagePlan, stages: readonly Stage[], buildArgs: ReadonlyMap<string, string | null>): readonly OutlineArgument[] {
  const declared = [...plan.preamble, ...stages.flatMap(({ instructions }) => instructions)]
  const named = new Set(stages.flatMap(({ from, instructions }) => [from.image, from.platform ?? '', ...instructions.flatMap((each) => (each.kind === 'arg' ? each.args.map(({ name }) => `$${name}`) : []))]).flatMap((word) => [...word.matchAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)/g)].map(([, name = '']) => name)))
  const found = new Map<string, OutlineArgument>()
  for (const instruction of declared) {
    if (instruction.kind !== 'arg') continue
    const isGlobal = plan.preamble.includes(instruction)
    for (const { name, value } of instruction.args) {
      if (found.has(name) || (isGlobal && !named.has(name)) || (!isGlobal && value === undefined && plan.globalArgs.has(name))) continue
      const given = buildArgs.get(name) ?? value
      const about = description(instruction.comments, name)
      found.set(name, { name, ...(about === undefined ? {} : { description: about }), ...(given === undefined || given === '' ? {} : { value: given }), location: locationOf(instruction.line, instruction.lastLine) })
    }
  }
  return [...found.values()]
}

function loansOf(instruction: Instruction): readonly { readonly mount: { readonly type: 'secret' | 'ssh'; readonly id: string; readonly required: boolean }; readonly at: Place }[] {
  if (instruction.kind !== 'run') return []
  return instruction.mounts.flatMap(({ text }, index) => {
    const mount = parseMount(text, instruction, { index, expand: (word) => word })
    return mount.type === 'secret' || mount.type === 'ssh' ? [{ mount, at: instruction }] : []
  })
}

/** As text/tabwriter sets them: each column as wide as its widest cell and the padding; the last is not padded. */
function columns(rows: readonly (readonly string[])[], padding: number): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)) + padding)
  return rows.map((row) => `${row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('')}\n`).join('')
}

/** The stages that a check looks at: what the target needs, or all where none is named. */
export function checkedStages(plan: StagePlan, target: string): readonly Stage[] {
  return target === '' ? plan.stages : plan.needed
}
