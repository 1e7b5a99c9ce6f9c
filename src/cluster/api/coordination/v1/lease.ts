/** Lease, coordination.k8s.io/v1: node heartbeats and leader election. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { int32, microTime, object, string } from '#schema/vocabulary.ts'

export const leaseSpec = object(
  'coordination.v1.LeaseSpec',
  {
    holderIdentity: string().optional().proto(1).doc('Who holds it.'),
    leaseDurationSeconds: int32(1).optional().proto(2).doc('Seconds after the last renewal until others may take it.'),
    acquireTime: microTime().optional().proto(3).doc('When it was taken.'),
    renewTime: microTime().optional().proto(4).doc('When it was last renewed.'),
    leaseTransitions: int32(0).optional().proto(5).doc('How often it changed hands.'),
    strategy: string().optional().proto(6).doc('How leaders are chosen together.'),
    preferredHolder: string().optional().proto(7).doc('Who should take it next.'),
  },
  { doc: 'Who holds the lease, and until when.' },
)
export interface LeaseSpec extends Out<typeof leaseSpec> {}

export const Lease = defineKind({
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  plural: 'leases',
  namespaced: true,
  doc: 'A claim that must be renewed: heartbeats of nodes, leadership of controllers.',
  fields: {
    spec: leaseSpec.always().proto(2).doc('Who holds it, and until when.'),
  },
})
export interface Lease extends Stored<typeof Lease> {}
export interface SubmittedLease extends Submitted<typeof Lease> {}
