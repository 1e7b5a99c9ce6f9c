/** PLACEHOLDER by engine while oci finishes: composition of the images room. */
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import type { BlobLeases, BlobRoots } from '#oci/blobs/collect.ts'
import type { Blobs } from '#oci/blobs/contract.ts'
import type { Images } from '../contract/images.ts'
import type { SnapshotCommitter, SnapshotReader } from '../contract/snapshots.ts'
import type { LayerUnpacker } from '../snapshots/overlay-snapshots.ts'
import { ImageRecords } from './image-records.ts'
import { ImageStore } from './image-store.ts'
import { importRoot } from './import-root.ts'
import { loadArchive } from './load.ts'
import { saveArchive } from './save.ts'

export async function openImages(options: { readonly root: string; readonly blobs: Blobs; readonly leases: BlobLeases; readonly snapshots: SnapshotReader & Pick<SnapshotCommitter, 'collect'> & LayerUnpacker; readonly otherRoots: readonly BlobRoots[]; readonly insecureRegistries: readonly string[]; readonly clock: Clock; readonly random: Random; readonly logger: Logger }): Promise<Images> {
  const records = await ImageRecords.open(options)
  const store = new ImageStore({ ...options, records, graceMs: 600_000 })
  const refuse = async (): Promise<never> => {
    throw new Fault('unimplemented', 'transfers are not wired yet')
  }
  return {
    resolve: (name) => store.resolve(name),
    list: (o) => store.list(o),
    tag: (id, name) => store.tag(id, name),
    remove: (name, o) => store.remove(name, o),
    prune: (o) => store.prune(o),
    put: (config, o) => store.put(config, o),
    pull: refuse,
    push: refuse,
    authenticate: refuse,
    load: (archive, o) => loadArchive(store, archive, o),
    save: (names, o) => saveArchive(store, names, o),
    importRoot: (archive, o) => importRoot(store, archive, o),
  }
}
