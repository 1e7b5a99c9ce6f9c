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
      const known = (await mounts.list()).find((mount) => mount.id === id)
      if (known === undefined) throw new Fault('notFound', `no build has used a cache mount of id ${id}`)
      return (await snapshots.readArchive('', '/.', { signal, tree: { root: known.path } })).tar
    },
    async import(id, tar, signal) {
      await snapshots.writeArchive('', '/', tar, { signal, tree: { root: await mounts.folderOf(id) } })
    },
  }
}
