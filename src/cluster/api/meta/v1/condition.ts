/** Condition, meta/v1: one observation of an object's state. */
import type { Out } from '#schema/vocabulary.ts'
import { int64, object, oneOf, string, time } from '#schema/vocabulary.ts'

export const condition = object(
  'meta.v1.Condition',
  {
    type: string().proto(1).doc('What is observed.'),
    status: oneOf('True', 'False', 'Unknown').proto(2).doc('Whether it holds.'),
    observedGeneration: int64().omitEmpty().proto(3).doc('Generation that was observed.'),
    lastTransitionTime: time().proto(4).doc('When the status last changed.'),
    reason: string().proto(5).doc('Why, in one CamelCase word.'),
    message: string().proto(6).doc('Why, for people.'),
  },
  { doc: 'One observation of the state.' },
)
export interface Condition extends Out<typeof condition> {}
