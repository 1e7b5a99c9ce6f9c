/**
 * All kinds that Berth serves, and the groups and versions that discovery lists them under. Adding a kind means one file
 * below this folder and one line here.
 */
import type { AnyKind } from '#schema/kind.ts'
import { Deployment } from './apps/v1/deployment.ts'
import { ReplicaSet } from './apps/v1/replica-set.ts'
import { Lease } from './coordination/v1/lease.ts'
import { Binding } from './core/v1/binding.ts'
import { ConfigMap } from './core/v1/config-map.ts'
import { Event } from './core/v1/event.ts'
import { Namespace } from './core/v1/namespace.ts'
import { Node } from './core/v1/node.ts'
import { Pod } from './core/v1/pod.ts'
import { Secret } from './core/v1/secret.ts'
import { ServiceAccount } from './core/v1/service-account.ts'
import { Service } from './core/v1/service.ts'
import { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from './rbac/v1/roles.ts'
import { EndpointSlice } from './discovery/v1/endpoint-slice.ts'
import { Event as EventsEvent } from './events/v1/event.ts'

/** Every kind with a resource of its own, in the order discovery lists them. (`Scale` is only spoken by subresources.) */
export const allKinds: readonly AnyKind[] = [
  Binding,
  ConfigMap,
  Event,
  Namespace,
  Node,
  Pod,
  Secret,
  ServiceAccount,
  Service,
  Deployment,
  ReplicaSet,
  EventsEvent,
  Lease,
  EndpointSlice,
  ClusterRole,
  ClusterRoleBinding,
  Role,
  RoleBinding,
]

/** API groups in upstream's order of priority: kubectl resolves `events` or `all` by it. '' is the core group, served under /api. */
export const groupOrder: readonly string[] = ['', 'apps', 'events.k8s.io', 'rbac.authorization.k8s.io', 'coordination.k8s.io', 'discovery.k8s.io']

/** The kind with this apiVersion (`v1`, `apps/v1`) and name (`Deployment`). */
export function kindNamed(apiVersion: string, name: string): AnyKind | undefined {
  return allKinds.find((kind) => kind.apiVersion === apiVersion && kind.kind === name)
}
