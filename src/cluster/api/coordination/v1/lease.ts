/** Lease, coordination.k8s.io/v1: node heartbeats and leader election. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { int32, microTime, object, string } from '#schema/vocabulary.ts'

export const leaseSpec = object(
  'coordination.v1.LeaseSpec',
  {
    holderIdentity: string().optional().proto(1),
    leaseDurationSeconds: int32(1).optional().proto(2),
    acquireTime: microTime().optional().proto(3),
    renewTime: microTime().optional().proto(4),
    leaseTransitions: int32(0).optional().proto(5),
    strategy: string().optional().proto(6),
    preferredHolder: string().optional().proto(7),
  },
)
export interface LeaseSpec extends Out<typeof leaseSpec> {}

export const Lease = defineKind({
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  plural: 'leases',
  namespaced: true,
  fields: {
    spec: leaseSpec.always().proto(2),
  },
})
export interface Lease extends Stored<typeof Lease> {}
export interface SubmittedLease extends Submitted<typeof Lease> {}
