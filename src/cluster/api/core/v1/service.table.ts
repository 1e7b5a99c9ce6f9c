/** Columns of `kubectl get services`. */
import { formatLabelSelector, requirementsOfLabels } from '#schema/selector.ts'
import { ageColumn, defineTable, nameColumn, text, wide } from '#schema/table.ts'
import { Service } from './service.ts'

const orNone = (parts: readonly string[]): string => (parts.length === 0 ? '<none>' : parts.join(','))

function externalAddresses({ spec, status }: Service): string {
  const external = spec.externalIPs ?? []
  switch (spec.type) {
    case 'ExternalName':
      return spec.externalName ?? '<none>'
    case 'LoadBalancer': {
      const balanced = (status.loadBalancer.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? '')
      const all = [...balanced, ...external]
      return all.length === 0 ? '<pending>' : all.join(',')
    }
    case 'ClusterIP':
    case 'NodePort':
      return orNone(external)
  }
}

function ports({ spec }: Service): string {
  return orNone((spec.ports ?? []).map(({ port, nodePort, protocol }) => `${port}${nodePort === undefined ? '' : `:${nodePort}`}/${protocol}`))
}

export const serviceTable = defineTable(Service, [
  nameColumn,
  text('Type', 'How the service is exposed.', ({ spec }) => spec.type),
  text('Cluster-IP', 'Address inside the cluster.', ({ spec }) => spec.clusterIPs?.[0] ?? spec.clusterIP ?? '<none>'),
  text('External-IP', 'Addresses outside the cluster.', externalAddresses),
  text('Port(s)', 'Ports, with node ports where there are some.', ports),
  ageColumn,
  wide('Selector', 'Labels of the pods behind the service.', ({ spec }) => orNone([formatLabelSelector(requirementsOfLabels(spec.selector ?? {}))].filter((words) => words !== ''))),
])
