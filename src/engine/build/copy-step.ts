/** COPY and ADD: the cache key of what they take, and the placing of it. */
import { posix } from 'node:path'
import { isFault } from '#base/fault.ts'
import { copyInputs, type CopySource, type PreparedCopy } from './copy-inputs.ts'
import { syntaxFault } from './dockerfile/fault.ts'
import type { CopyInstruction, Instruction } from './dockerfile/instructions.ts'
import type { PlaceFilesArgs } from './place-files.job.ts'
import { expandIn, withLayer, type StageState, type StepResult } from './stage-state.ts'
import type { StageTools, StepReport } from './stage-tools.ts'

type CopyAt = CopyInstruction & Instruction

export async function copyStep(state: StageState, instruction: CopyAt, tools: StageTools, report: StepReport): Promise<StageState> {
  const { shared, context, layers } = tools
  const expand = (word: string): string => expandIn(state, context, instruction, word)
  const sources = instruction.sources.map(expand)
  const written = expand(instruction.destination)
  const chown = instruction.chown === undefined ? undefined : expand(instruction.chown)
  const mode = parseMode(instruction, instruction.chmod === undefined ? undefined : expand(instruction.chmod))
  const isFolder = /(^|\/)\.?$/.test(written)
  if (!isFolder && sources.length + instruction.heredocs.length > 1) {
    throw syntaxFault(instruction, `When using ${instruction.kind.toUpperCase()} with more than one source file, the destination must be a directory and end with a /`)
  }
  const destination = posix.resolve('/', state.config.WorkingDir ?? '/', written)
  const keepOwners = instruction.from !== undefined && chown === undefined
  const copy = await copyInputs(copySource(instruction, tools), { instruction, sources, keepOwners, shared, expand })
  const identity = { destination, isFolder, chown: chown ?? '', mode: mode ?? -1, keepOwners, unpack: instruction.kind === 'add' && instruction.unpack, digest: copy.digest }
  const flags = instruction.from === undefined ? '' : `--from=${instruction.from} `
  const next = (result: StepResult): StageState => withLayer(state, result, `${instruction.kind.toUpperCase()} ${flags}${[...sources, ...instruction.heredocs.map(({ name }) => `<<${name}`), written].join(' ')}`)
  return next(await layers.cached(['copy', state.chainId ?? '', identity], {
    parent: state.chainId,
    next,
    act: (rootfs) => place(rootfs, copy, { destination, isFolder, owner: chown, mode, at: instruction, tools }),
    onCached: report.cached,
  }))
}

interface Placing {
  readonly destination: string
  readonly isFolder: boolean
  readonly owner: string | undefined
  readonly mode: number | undefined
  readonly at: Instruction
  readonly tools: StageTools
}

async function place(rootfs: string, copy: PreparedCopy, { destination, isFolder, owner, mode, at, tools }: Placing): Promise<void> {
  const { options, spool, signal } = tools.shared
  try {
    for (const { selection, keepOwners } of await copy.load()) {
      const args: PlaceFilesArgs = { fd: spool.fd, selection, destination, isFolder, keepOwners, ...(owner === undefined ? {} : { owner }), ...(mode === undefined ? {} : { mode }) }
      await options.confined.run(rootfs, placeFiles, args, { signal })
    }
  } catch (error) {
    if (isFault(error, 'invalidArgument') && error.details['line'] === undefined) throw syntaxFault(at, `${at.kind.toUpperCase()} failed: ${error.message}`)
    throw error
  }
}

const placeFiles = new URL('./place-files.job.ts', import.meta.url)

function copySource(instruction: CopyAt, { shared, sources }: StageTools): CopySource {
  const { from } = instruction
  if (from === undefined) return { kind: 'context', tree: shared.context }
  return { kind: 'root', name: from, chainId: () => sources.chainOf(from, instruction), view: (chainId) => sources.view(chainId) }
}

function parseMode(at: Instruction, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[0-7]{1,4}$/.test(text)) throw syntaxFault(at, `invalid chmod parameter: '${text}'; expected an octal mode between 0 and 07777, e.g. 755`)
  return Number.parseInt(text, 8)
}
