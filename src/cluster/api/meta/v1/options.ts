/** Options that come as bodies, meta/v1: DeleteOptions. (List, get, create and patch options come as query parameters.) */
import type { In, Out } from '#schema/vocabulary.ts'
import { bool, int64, listOf, object, oneOf, string } from '#schema/vocabulary.ts'

export const preconditions = object(
  'meta.v1.Preconditions',
  {
    uid: string().optional().proto(1).doc('The object must have this UID.'),
    resourceVersion: string().optional().proto(2).doc('The object must have this version.'),
  },
  { doc: 'What must hold for the request to be carried out.' },
)

export const deleteOptions = object(
  'meta.v1.DeleteOptions',
  {
    kind: string().omitEmpty().doc('DeleteOptions'),
    apiVersion: string().omitEmpty().doc('v1 or the version of the kind.'),
    gracePeriodSeconds: int64().optional().proto(1).doc('Seconds before the object is removed; 0 removes it at once.'),
    preconditions: preconditions.optional().proto(2).doc('What must hold, else 409.'),
    orphanDependents: bool().optional().proto(3).doc('Deprecated: use propagationPolicy.'),
    propagationPolicy: oneOf('Orphan', 'Background', 'Foreground').optional().proto(4).doc('What becomes of the dependents.'),
    dryRun: listOf(string()).omitEmpty().proto(5).doc('All: do everything but store it.'),
    ignoreStoreReadErrorWithClusterBreakingPotential: bool().optional().proto(6).doc('Delete even what cannot be read from the store.'),
  },
  { doc: 'How to delete.' },
)
export interface DeleteOptions extends Out<typeof deleteOptions> {}
export interface SubmittedDeleteOptions extends In<typeof deleteOptions> {}
