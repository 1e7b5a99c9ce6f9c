/** ListMeta, meta/v1: what every list carries. */
import type { Out } from '#schema/vocabulary.ts'
import { int64, object, string } from '#schema/vocabulary.ts'

export const shardInfo = object('meta.v1.ShardInfo', { selector: string().proto(1).doc('Selector of the shard.') }, { doc: 'Which shard a list covers.' })

export const listMeta = object(
  'meta.v1.ListMeta',
  {
    selfLink: string().omitEmpty().proto(1).doc('No longer set.'),
    resourceVersion: string().omitEmpty().proto(2).doc('Version of the store that the list shows; watch from here.'),
    continue: string().omitEmpty().proto(3).doc('Token for the next page.'),
    remainingItemCount: int64().optional().proto(4).doc('How many items follow this page; not given with selectors.'),
    shardInfo: shardInfo.optional().proto(5).doc('Set when the list covers one shard.'),
  },
  { doc: 'What every list carries.' },
)
export interface ListMeta extends Out<typeof listMeta> {}
