/** COPY and ADD: the cache key of what they take, and the placing of it. */
import { posix } from 'node:path'
import { isFault } from '#base/fault.ts'
import type { FileToLink } from '../contract/snapshots.ts'
import { copyInputs, type CopySource, type PreparedCopy } from './copy-inputs.ts'
import { rulesOf } from './dialect.ts'
import { parseMode } from './dockerfile/chmod.ts'
import { syntaxFault } from './dockerfile/fault.ts'
import type { CopyInstruction, Instruction } from './dockerfile/instructions.ts'
import { expandIn, withLayer, type StageState, type StepResult } from './stage-state.ts'
import type { StageTools, StepReport } from './stage-tools.ts'
import type { Act } from './step-layers.ts'
import { FileTree } from './tree.ts'

type CopyAt = CopyInstruction & Instruction

export async function copyStep(state: StageState, instruction: CopyAt, tools: StageTools, report: StepReport): Promise<StageState> {
  const { shared, context, layers } = tools
  const expand = (word: string): string => expandIn(state, context, instruction, word)
  const optional = (word: string | undefined): string | undefined => (word === undefined ? undefined : expand(word))
  const sources = instruction.sources.map(expand)
  const written = expand(instruction.destination)
  const owner = optional(instruction.chown)
  const mode = checkedMode(instruction, optional(instruction.chmod))
  const isFolder = /(^|\/)\.?$/.test(written)
  if (!isFolder && sources.length + instruction.heredocs.length > 1) {
    throw syntaxFault(instruction, `When using ${instruction.kind.toUpperCase()} with more than one source file, the destination must be a directory and end with a /`)
  }
  const destination = posix.resolve('/', state.config.WorkingDir ?? '/', written)
  const keepOwners = owner === undefined && (instruction.from !== undefined || rulesOf(shared.request).contextsKeepOwners)
  const exclude = instruction.exclude.map(expand)
  const copy = await copyInputs(await copySource(instruction, sources, tools), { instruction, sources, exclude, checksum: optional(instruction.checksum), keepOwners, shared, vertex: report.vertex, note: tools.note, expand })
  const identity = { dialect: shared.request.dialect ?? 'classic', destination, isFolder, owner: owner ?? '', mode: mode ?? '', keepOwners, unpack: instruction.kind === 'add' ? (instruction.unpack ?? 'local') : false, digest: copy.digest }
  const flags = instruction.from === undefined ? '' : `--from=${instruction.from} `
  const next = (result: StepResult): StageState => withLayer(state, result, `${instruction.kind.toUpperCase()} ${flags}${[...sources, ...instruction.heredocs.map(({ name }) => `<<${name}`), written].join(' ')}`)
  const act: Act = (rootfs, link) => place(rootfs, copy, { destination, isFolder, owner, mode, at: instruction, tools, link })
  // As in BuildKit, a mode needs to see what is there: such a copy is no layer of its own.
  if (instruction.link && mode === undefined) {
    checkOwner(instruction, owner)
    return next(await layers.linked(['link', identity], { parent: state.chainId, next, act, onCached: report.cached }))
  }
  return next(await layers.cached(['copy', state.chainId ?? '', identity], { parent: state.chainId, next, act, onCached: report.cached }))
}

interface Placing {
  readonly destination: string
  readonly isFolder: boolean
  readonly owner: string | undefined
  readonly mode: string | undefined
  readonly at: Instruction
  readonly tools: StageTools
  readonly link: (file: FileToLink) => void
}

async function place(rootfs: string, copy: PreparedCopy, { destination, isFolder, owner, mode, at, tools, link }: Placing): Promise<void> {
  const { spool, signal } = tools.shared
  try {
    const { copiesKeepKinds, foldersAboveAreOwned } = rulesOf(tools.shared.request)
    const parts = await copy.load()
    for (const { selection, keepOwners, isUnpacked = false } of parts) {
      const args = {
        selection, destination, isFolder, keepOwners,
        // What is unpacked keeps its modes, and is laid down as layers are.
        ...(owner === undefined || keepOwners ? {} : { owner }), ...(mode === undefined || isUnpacked ? {} : { mode }),
        replaces: isUnpacked || !copiesKeepKinds, foldersAboveAreRoots: !foldersAboveAreOwned,
      }
      // What comes later may stand in the place of what was there before.
      for (const file of await spool.place(rootfs, args, { signal, mayLink: parts.length === 1 })) link(file)
    }
  } catch (error) {
    if (isFault(error, 'invalidArgument') && error.details['line'] === undefined) throw syntaxFault(at, `${at.kind.toUpperCase()} failed: ${error.message}`)
    throw error
  }
}

/** `paths`: what is taken of it. */
async function copySource(instruction: CopyAt, paths: readonly string[], { shared, sources }: StageTools): Promise<CopySource> {
  const { from } = instruction
  if (from === undefined) return { kind: 'tree', name: 'build context or excluded by .dockerignore', tree: paths.length === 0 ? new FileTree([]) : await shared.main.tree(paths) }
  const content = await sources.contentOf(from, instruction, paths)
  if (content.kind === 'tree') return { kind: 'tree', name: from, tree: content.tree }
  return { kind: 'root', name: from, chainId: content.chainId, view: (chainId) => sources.view(chainId) }
}

function checkedMode(at: Instruction, text: string | undefined): string | undefined {
  if (text !== undefined && parseMode(text) === undefined) throw syntaxFault(at, `invalid chmod parameter: '${text}'; expected an octal mode between 0 and 07777, e.g. 755, or a symbolic one, e.g. u=rwX,go=rX`)
  return text
}

/** A layer of its own knows nobody by name. */
function checkOwner(at: Instruction, owner: string | undefined): void {
  if (owner !== undefined && !/^\d+(:\d+)?$/.test(owner)) throw syntaxFault(at, `--link with --chown=${owner}: names need the image's /etc/passwd, which a linked layer does not see; expected numbers, e.g. 1000:1000`)
}
