/** Sources of ADD that are fetched: files over HTTP, repositories (docs.docker.com/reference/dockerfile, "ADD"). */
import { Fault } from '#base/fault.ts'
import type { CopyRequest } from './copy-inputs.ts'
import { syntaxFault } from './dockerfile/fault.ts'
import type { Instruction } from './dockerfile/instructions.ts'
import { parseGitReference } from './remote/git-reference.ts'
import type { RemoteContent } from './remote/remote-sources.ts'

/** `unpack`: an archive's contents are meant. Undefined: the source is none that is fetched. */
export async function remoteInputs(source: string, request: CopyRequest): Promise<(RemoteContent & { readonly unpack: boolean }) | undefined> {
  const { instruction, checksum, vertex, shared, note } = request
  const repository = parsed(source, instruction)
  if (repository === undefined && !/^https?:\/\//i.test(source)) return undefined
  if (instruction.kind === 'copy') throw syntaxFault(instruction, `COPY ${source}: ${repository === undefined ? "source can't be a URL for COPY" : "source can't be a git ref for COPY"}; use ADD`)
  try {
    if (repository === undefined) {
      if (checksum !== undefined && !/^sha(256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})$/.test(checksum)) throw new Fault('invalidArgument', `--checksum=${checksum} is no digest; expected e.g. sha256:… with 64 hex digits`)
      const file = await shared.remote.url(source, { vertex, ...(checksum === undefined ? {} : { checksum }) })
      note({ kind: 'url', url: source, sha256: file.identity, isContext: false })
      return { ...file, unpack: instruction.unpack === true }
    }
    if (checksum !== undefined && repository.checksum !== undefined && checksum !== repository.checksum) throw new Fault('invalidArgument', `checksum mismatch "${checksum}" != "${repository.checksum}"`)
    if (instruction.keepGitDir !== undefined && repository.keepGitDir !== undefined && instruction.keepGitDir !== repository.keepGitDir) throw new Fault('invalidArgument', 'inconsistent keep-git-dir configuration')
    const pinned = { ...repository, checksum: checksum ?? repository.checksum }
    const tree = await shared.remote.git(pinned, { keepGitDir: instruction.keepGitDir ?? repository.keepGitDir ?? false, vertex })
    note({ kind: 'git', url: source, commit: tree.identity, isContext: false })
    return { ...tree, unpack: false }
  } catch (error) {
    throw located(error, instruction)
  }
}

function parsed(source: string, at: Instruction): ReturnType<typeof parseGitReference> {
  try {
    return parseGitReference(source, { isContext: false })
  } catch (error) {
    throw located(error, at)
  }
}

function located(error: unknown, at: Instruction): unknown {
  if (!(error instanceof Fault) || error.code === 'canceled') return error
  return new Fault(error.code, `${at.file}:${at.line}: ADD failed: ${error.message}`, { cause: error, details: { ...error.details, file: at.file, line: at.line } })
}
