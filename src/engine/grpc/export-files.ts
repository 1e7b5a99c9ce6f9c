/** The exporters `local` and `tar`: a result's files, into a folder or an archive of the client's (moby/buildkit `exporter/local`, `exporter/tar`). */
import { posix } from 'node:path'
import { Fault } from '#base/fault.ts'
import { filesOfAll, folderOf, tarOfAll, type ExtraFile, type PlatformFolders } from '../build/platform-files.ts'
import { fromBytePath, sha256Of } from '../build/tree.ts'
import type { BuiltRoot } from '../http/backend.ts'
import { statementOf } from '../exports/attestations.ts'
import type { Exporter } from './exporters.ts'
import type { Job } from './job.ts'
import { isTrue } from '../exports/options.ts'
import { attestationsOf, isAttested, type AttestedBuild } from '../exports/attested-build.ts'
import type { FrontendResult } from './result.ts'

export async function exportFiles(job: Job, result: FrontendResult, { exporter, attested }: { readonly exporter: Exporter; readonly attested: AttestedBuild }): Promise<void> {
  const { type, attributes, index } = exporter
  const session = await job.session(undefined)
  const isSeveral = result.platforms.length > 0
  // An archive of several platforms always has folders for them.
  const split = type === 'tar' ? isSeveral : isTrue(attributes, 'platform-split', isSeveral)
  const folders: PlatformFolders = { split, extra: (root, entries) => attestationFiles(attested, { root, entries, prefix: attributes.get('attestation-prefix') ?? '', isNamedApart: isSeveral && !split }) }
  const isPlain = !split && !isSeveral && !isAttested(attested, 'file')
  await result.handOver((built) =>
    job.vertices.during(`exporting to client ${type === 'local' ? 'directory' : 'tarball'}`, async (vertex) => {
      if (type === 'local') await session.sendFiles(isPlain ? await onlyOf(built).files() : await filesOfAll(built, folders), job.signal, { exporter: index, replace: attributes.get('mode') === 'delete' })
      else await session.sendArchive(isPlain ? await onlyOf(built).tar() : tarOfAll(built, folders), job.signal, { exporter: index })
      vertex.progress(type === 'local' ? 'copying files' : 'sending tarball', '', { isDone: true })
    }),
  )
}

function onlyOf([built]: readonly BuiltRoot[]): BuiltRoot {
  if (built === undefined) throw new Fault('internal', 'nothing was built')
  return built
}

interface Attested {
  readonly root: BuiltRoot
  readonly entries: Parameters<PlatformFolders['extra']>[1]
  readonly prefix: string
  /** The platform is part of the file's name. */
  readonly isNamedApart: boolean
}

/** Attestations whose subjects are the files themselves. */
function attestationFiles(attested: AttestedBuild, { root, entries, prefix, isNamedApart }: Attested): readonly ExtraFile[] {
  const subjects = entries.filter(({ type }) => type === 'file').map((entry) => ({ name: fromBytePath(entry.path), digest: { sha256: sha256Of(entry) } }))
  return attestationsOf(attested, root, 'file').map((each) => {
    const { name, ext } = posix.parse(each.fileName)
    return { name: `${prefix}${name}${isNamedApart ? `.${folderOf(root)}` : ''}${ext}`, content: Buffer.from(JSON.stringify(statementOf(each, subjects), undefined, 2)) }
  })
}
