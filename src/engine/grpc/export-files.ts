/** The exporters `local` and `tar`: a result's files, into a folder or an archive of the client's (moby/buildkit `exporter/local`, `exporter/tar`). */
import { Fault } from '#base/fault.ts'
import { filesOfAll, tarOfAll } from '../build/platform-files.ts'
import type { BuiltRoot } from '../http/backend.ts'
import type { Session } from '../session/client-session.ts'
import type { Exporter } from './exporters.ts'
import type { Job } from './job.ts'
import { isTrue } from './options.ts'
import type { FrontendResult } from './result.ts'

export async function exportFiles(job: Job, result: FrontendResult, exporter: Exporter): Promise<void> {
  const session = await job.session(undefined)
  const isSeveral = result.platforms.length > 0
  await result.handOver((built) =>
    job.vertices.during(`exporting to client ${exporter.type === 'local' ? 'directory' : 'tarball'}`, async (vertex) => {
      if (exporter.type === 'local') await sendFolder(job, { built, isSeveral, session }, exporter)
      else await session.sendArchive(isSeveral ? tarOfAll(built) : await onlyOf(built).tar(), job.signal, { exporter: exporter.index })
      vertex.progress(exporter.type === 'local' ? 'copying files' : 'sending tarball', '', { isDone: true })
    }),
  )
}

interface Sending {
  readonly built: readonly BuiltRoot[]
  readonly isSeveral: boolean
  readonly session: Session
}

async function sendFolder(job: Job, { built, isSeveral, session }: Sending, { attributes, index }: Exporter): Promise<void> {
  const split = isTrue(attributes, 'platform-split', isSeveral)
  const files = isSeveral || split ? await filesOfAll(built, { split }) : await onlyOf(built).files()
  await session.sendFiles(files, job.signal, { exporter: index, replace: attributes.get('mode') === 'delete' })
}

function onlyOf([built]: readonly BuiltRoot[]): BuiltRoot {
  if (built === undefined) throw new Fault('internal', 'nothing was built')
  return built
}
