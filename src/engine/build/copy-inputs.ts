/**
 * What a COPY or ADD takes: a digest for the cache key, and the files themselves only when the cache has no answer. The digest of
 * files in another stage or image is remembered by its layers, so that a cached build mounts nothing.
 */
import { createHash } from 'node:crypto'
import { isFault, type Fault } from '#base/fault.ts'
import type { ChainId } from '../contract/images.ts'
import type { BuildShared } from './build-shared.ts'
import { cacheKey } from './cache.ts'
import { compressionOf, expand, looksLikeTar } from './decompress.ts'
import { syntaxFault } from './dockerfile/fault.ts'
import type { CopyInstruction, Instruction } from './dockerfile/instructions.ts'
import { contentDigest, emptyFolder, fromBytePath, patternExpression, toBytePath, type FileTree, type Selected, type TreeEntry } from './tree.ts'

export type CopySource =
  | { readonly kind: 'context'; readonly tree: FileTree }
  | { readonly kind: 'root'; readonly name: string; readonly chainId: () => Promise<ChainId | undefined>; readonly view: (chainId: ChainId) => Promise<string> }

/** Files that are placed in one go. */
export interface CopyGroup {
  readonly selection: readonly Selected[]
  readonly keepOwners: boolean
}

export interface PreparedCopy {
  readonly digest: string
  load(): Promise<readonly CopyGroup[]>
}

export interface CopyRequest {
  readonly instruction: CopyInstruction & Instruction
  /** With variables replaced. */
  readonly sources: readonly string[]
  readonly keepOwners: boolean
  readonly shared: BuildShared
  readonly expand: (word: string) => string
}

export async function copyInputs(source: CopySource, request: CopyRequest): Promise<PreparedCopy> {
  for (const each of request.sources) checkSource(each, request.instruction)
  const inline = await inlineFiles(request)
  const inlineDigest = inline.length === 0 ? '' : contentDigest(inline, { withOwners: false })
  const groupOf = async (selected: readonly Selected[]): Promise<readonly CopyGroup[]> => {
    const groups = request.instruction.kind === 'add' && request.instruction.unpack ? await unpackArchives(selected, request) : [{ selection: selected, keepOwners: request.keepOwners }]
    return [...groups, { selection: inline, keepOwners: false }].filter(({ selection }) => selection.length > 0)
  }
  if (source.kind === 'context') {
    const selected = request.sources.flatMap((each) => found(each, source.tree.select(each), request, 'build context or excluded by .dockerignore'))
    return { digest: contentDigest(selected, { withOwners: false }) + inlineDigest, load: () => groupOf(selected) }
  }
  return rootInputs(source, request, inlineDigest, groupOf)
}

async function rootInputs(source: Extract<CopySource, { kind: 'root' }>, request: CopyRequest, inlineDigest: string, groupOf: (selected: readonly Selected[]) => Promise<readonly CopyGroup[]>): Promise<PreparedCopy> {
  const { shared, sources, instruction, keepOwners } = request
  const chainId = await source.chainId()
  let selected: Promise<readonly Selected[]> | undefined
  const select = (): Promise<readonly Selected[]> =>
    (selected ??= (async () => {
      const selections = chainId === undefined ? sources.map(() => []) : await shared.spool.addFromRoot(await source.view(chainId), sources, shared.signal)
      return sources.flatMap((each, index) => found(each, selections[index] ?? [], request, source.name))
    })())
  const memo = cacheKey('content', chainId ?? '', sources, instruction.exclude, keepOwners)
  const known = shared.cache.get(memo, 'content')?.digest
  const digest = known ?? contentDigest(await select(), { withOwners: keepOwners })
  if (known === undefined) await shared.cache.put(memo, { kind: 'content', digest })
  return { digest: digest + inlineDigest, load: async () => groupOf(await select()) }
}

function checkSource(source: string, at: Instruction): void {
  if (/^(https?|ftp):\/\//i.test(source)) throw syntaxFault(at, `${at.kind.toUpperCase()} ${source}: fetching from the network is not supported yet; use RUN with a download program, or put the file into the context`)
  if (/^git@|\.git(#|$)/.test(source) && at.kind === 'add' && /[:/]/.test(source)) throw syntaxFault(at, `ADD ${source}: repositories are not supported yet; put the files into the context`)
  let depth = 0
  for (const part of source.split('/')) {
    if (part === '..') depth -= 1
    else if (part !== '' && part !== '.') depth += 1
    if (depth < 0) throw syntaxFault(at, `${at.kind.toUpperCase()} failed: forbidden path outside the build context: ${source}; expected a path inside it`)
  }
}

/** What a source matched, without what `--exclude` names; a plain name or pattern that matches nothing is refused. */
function found(source: string, selected: readonly Selected[], { instruction }: CopyRequest, where: string): readonly Selected[] {
  if (selected.length === 0) throw syntaxFault(instruction, `${instruction.kind.toUpperCase()} failed: file not found in ${where}: stat ${source}: file does not exist`)
  if (instruction.exclude.length === 0) return selected
  const patterns = instruction.exclude.map((pattern) => patternExpression(toBytePath(pattern)))
  const excluded = (path: string): boolean => patterns.some((pattern) => path.split('/').some((_part, index, parts) => pattern.test(parts.slice(0, index + 1).join('/'))))
  return selected
    .filter(({ name, entries }) => entries[0]?.type === 'directory' || !excluded(name))
    .map(({ name, entries }) => ({ name, entries: entries.filter(({ path }) => path === '' || !excluded(path)) }))
}

/** Here-documents are files of mode 644. */
async function inlineFiles({ instruction, shared, expand: expandText }: CopyRequest): Promise<readonly Selected[]> {
  return Promise.all(
    instruction.heredocs.map(async ({ name, body, expand: replaces }) => {
      const content = Buffer.from(replaces ? expandBody(body, expandText) : body)
      const offset = await shared.spool.addBytes(content)
      const entry: TreeEntry = { ...emptyFolder, type: 'file', mode: 0o644, modifiedNs: shared.options.clock.nowNs(), offset, sizeBytes: content.length, sha256: createHash('sha256').update(content).digest('hex') }
      return { name: toBytePath(name), entries: [entry] }
    }),
  )
}

/** Variables are replaced in a here-document, but quotes are ordinary characters there. */
function expandBody(body: string, expandText: (word: string) => string): string {
  return expandText(body.replace(/["']/g, '\\$&'))
}

/** ADD unpacks archives that it finds among its sources; each becomes a folder whose contents are placed with their owners. */
async function unpackArchives(selected: readonly Selected[], request: CopyRequest): Promise<readonly CopyGroup[]> {
  const groups: CopyGroup[] = []
  for (const each of selected) {
    const root = each.entries[0]
    const tree = root?.type === 'file' && root.sizeBytes > 0 ? await readArchive(root, each.name, request) : undefined
    if (tree === undefined) groups.push({ selection: [each], keepOwners: request.keepOwners })
    else groups.push({ selection: [{ name: each.name, entries: [...tree.walk('')] }], keepOwners: request.instruction.chown === undefined })
  }
  return groups
}

async function readArchive(entry: TreeEntry, name: string, { shared, instruction }: CopyRequest): Promise<FileTree | undefined> {
  const { spool, options, signal } = shared
  const what = `the archive ${fromBytePath(name)}`
  const head = await spool.firstBytes(entry, 512)
  const compression = compressionOf(head)
  if (compression === 'none' && !looksLikeTar(head)) return undefined
  try {
    if (compression !== 'none' && !looksLikeTar(await firstBlock(await expand(spool.content(entry), compression, what, options.processes)))) return undefined
    return await spool.addArchive(await expand(spool.content(entry), compression, what, options.processes), signal)
  } catch (error) {
    if (isFault(error, 'invalidArgument')) throw syntaxFault(instruction, `ADD failed: ${name}: ${(error satisfies Fault).message}`)
    throw error
  }
}

async function firstBlock(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream) {
    chunks.push(chunk)
    length += chunk.length
    if (length >= 512) break
  }
  return Buffer.concat(chunks)
}
