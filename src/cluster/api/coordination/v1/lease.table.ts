/** Columns of `kubectl get leases`. */
import { ageColumn, defineTable, nameColumn, text } from '#schema/table.ts'
import { Lease } from './lease.ts'

export const leaseTable = defineTable(Lease, [nameColumn, text('Holder', 'Who holds the lease.', ({ spec }) => spec.holderIdentity ?? ''), ageColumn])
