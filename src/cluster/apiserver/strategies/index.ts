/** Which kinds have a strategy of their own. */
import type { AnyKind } from '#schema/kind.ts'
import { plainStrategy, type Strategy } from '../strategy.ts'
import { namespaceStrategy } from './namespaces.ts'
import { podStrategy } from './pods.ts'
import { serviceStrategy, type ServiceRanges } from './services.ts'

export function strategies(ranges: ServiceRanges): (kind: AnyKind) => Strategy {
  const table: Readonly<Record<string, Strategy>> = {
    'namespaces.': namespaceStrategy,
    'pods.': podStrategy,
    'services.': serviceStrategy(ranges),
    'secrets.': { sealed: true },
    'serviceaccounts.': { answersDeleted: true },
    'nodes.': { statusWritesMetadata: true },
  }
  return ({ plural, group }) => table[`${plural}.${group}`] ?? plainStrategy
}
