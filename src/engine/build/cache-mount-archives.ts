/** Cache mounts taken elsewhere and back: `RUN --mount=type=cache` begins with what another machine had in it. */
import type { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import type { SnapshotArchives } from '../contract/snapshots.ts'
import type { BuildCacheMounts } from '../http/backend.ts'
import type { CacheMounts } from './cache-mounts.ts'

export function cacheMountArchives(mounts: CacheMounts, snapshots: Pick<SnapshotArchives, 'readArchive' | 'writeArchive'>): BuildCacheMounts {
  return {
    list: () => mounts.list(),
    async export(id, signal): Promise<Readable> {
      if (!(await mounts.list()).some((mount) => mount.id === id)) throw new Fault('notFound', `no build has used a cache mount of id ${id}`)
      const { path, release } = await mounts.hold(id, 'an export')
      try {
        return (await snapshots.readArchive('', '/.', { signal, tree: { root: path } })).tar.once('close', release)
      } catch (error) {
        release()
        throw error
      }
    },
    async import(id, tar, signal) {
      const { path, release } = await mounts.hold(id, 'an import')
      try {
        await snapshots.writeArchive('', '/', tar, { signal, tree: { root: path } })
      } finally {
        release()
      }
    },
  }
}
