/** Which kinds have a strategy of their own. */
import type { AnyKind } from '#schema/kind.ts'
import { rbacStrategies, type EscalationPorts } from '../rbac/escalation.ts'
import { plainStrategy, type Strategy } from '../strategy.ts'
import { inertTemplateFields } from './inert.ts'
import { namespaceStrategy } from './namespaces.ts'
import { podStrategy } from './pods.ts'
import { serviceStrategy, type ServiceRanges } from './services.ts'

/** `escalation`: what guards roles and bindings, once there is an authorizer; without one, everybody may write them. */
export function strategies(ranges: ServiceRanges, escalation: () => EscalationPorts | undefined): (kind: AnyKind) => Strategy {
  const table: Readonly<Record<string, Strategy>> = {
    'namespaces.': namespaceStrategy,
    'pods.': podStrategy,
    'services.': serviceStrategy(ranges),
    'secrets.': { sealed: true },
    'serviceaccounts.': { answersDeleted: true },
    'deployments.apps': { warnings: inertTemplateFields },
    'replicasets.apps': { warnings: inertTemplateFields },
    'nodes.': { statusWritesMetadata: true },
    ...rbacStrategies(escalation),
  }
  return ({ plural, group }) => table[`${plural}.${group}`] ?? plainStrategy
}
