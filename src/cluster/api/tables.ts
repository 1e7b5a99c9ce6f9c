/** The table of each kind, for the API server's Table answers. Apart from `index.ts`, so that clients need not load it. */
import type { AnyKind, KindDefinition } from '#schema/kind.ts'
import type { AnyTable, KindTable } from '#schema/table.ts'
import { ageColumn, count, defineTable, nameColumn, plainTable } from '#schema/table.ts'
import { Deployment } from './apps/v1/deployment.ts'
import { ReplicaSet } from './apps/v1/replica-set.ts'
import { deploymentTable, replicaSetTable } from './apps/v1/workload.table.ts'
import { Scale } from './autoscaling/v1/scale.ts'
import { Lease } from './coordination/v1/lease.ts'
import { leaseTable } from './coordination/v1/lease.table.ts'
import { ConfigMap } from './core/v1/config-map.ts'
import { configMapTable, namespaceTable, secretTable, serviceAccountTable } from './core/v1/config.table.ts'
import { Event } from './core/v1/event.ts'
import { eventTable, eventsEventTable } from './core/v1/event.table.ts'
import { Namespace } from './core/v1/namespace.ts'
import { Node } from './core/v1/node.ts'
import { nodeTable } from './core/v1/node.table.ts'
import { Pod } from './core/v1/pod.ts'
import { podTable } from './core/v1/pod.table.ts'
import { Secret } from './core/v1/secret.ts'
import { ServiceAccount } from './core/v1/service-account.ts'
import { Service } from './core/v1/service.ts'
import { serviceTable } from './core/v1/service.table.ts'
import { EndpointSlice } from './discovery/v1/endpoint-slice.ts'
import { endpointSliceTable } from './discovery/v1/endpoint-slice.table.ts'
import { clusterRoleBindingTable, clusterRoleTable, roleBindingTable, roleTable } from './rbac/v1/roles.table.ts'
import { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from './rbac/v1/roles.ts'
import { Event as EventsEvent } from './events/v1/event.ts'

const scaleTable = defineTable(Scale, [
  nameColumn,
  count('Desired', 'Replicas wanted.', ({ spec }) => spec.replicas),
  count('Available', 'Replicas there.', ({ status }) => status.replicas),
  ageColumn,
])

/** Pairs a kind with the table of its own stored type. */
function entry<I, O>(kind: KindDefinition<I, O>, table: KindTable<O>): readonly [object, AnyTable] {
  // A table is only ever given objects of the kind it is registered under.
  return [kind, table as AnyTable]
}

const tables = new Map<object, AnyTable>([
  entry(ConfigMap, configMapTable),
  entry(Deployment, deploymentTable),
  entry(EndpointSlice, endpointSliceTable),
  entry(Event, eventTable),
  entry(EventsEvent, eventsEventTable),
  entry(Lease, leaseTable),
  entry(Namespace, namespaceTable),
  entry(Node, nodeTable),
  entry(Pod, podTable),
  entry(Role, roleTable),
  entry(RoleBinding, roleBindingTable),
  entry(ClusterRole, clusterRoleTable),
  entry(ClusterRoleBinding, clusterRoleBindingTable),
  entry(ReplicaSet, replicaSetTable),
  entry(Scale, scaleTable),
  entry(Secret, secretTable),
  entry(Service, serviceTable),
  entry(ServiceAccount, serviceAccountTable),
])

/** Name and creation time where a kind has no columns of its own. */
export function tableOf(kind: AnyKind): AnyTable {
  return tables.get(kind) ?? plainTable
}
