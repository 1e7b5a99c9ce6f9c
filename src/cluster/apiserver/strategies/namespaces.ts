/** Namespaces: deletion empties them first (`spec.finalizers`), and the system's own stay. */
import { isJsonArray, isJsonObject } from '#schema/json.ts'
import { metaOf } from '../entry.ts'
import { forbidden } from '../refusals.ts'
import type { Strategy } from '../strategy.ts'

const undeletable = new Set(['default', 'kube-system', 'kube-public'])

export const namespaceStrategy: Strategy = {
  refuseDelete(object) {
    const { name } = metaOf(object)
    if (undeletable.has(name)) throw forbidden({ group: '', plural: 'namespaces', kind: 'Namespace' }, name, 'this namespace may not be deleted')
  },
  beginDeletion: (object) => ({ ...object, status: { ...(isJsonObject(object['status']) ? object['status'] : {}), phase: 'Terminating' } }),
  holdsDeletion: ({ spec }) => isJsonObject(spec) && isJsonArray(spec['finalizers']) && spec['finalizers'].length > 0,
}
