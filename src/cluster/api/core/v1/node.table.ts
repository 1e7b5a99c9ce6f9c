/** Columns of `kubectl get nodes`. */
import { ageColumn, defineTable, nameColumn, text, wide } from '#schema/table.ts'
import { Node } from './node.ts'

const rolePrefix = 'node-role.kubernetes.io/'

function state({ spec, status }: Node): string {
  const ready = (status.conditions ?? []).find(({ type }) => type === 'Ready')
  const word = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'
  return spec.unschedulable === true ? `${word},SchedulingDisabled` : word
}

function roles({ metadata: { labels = {} } }: Node): string {
  const prefixed = Object.keys(labels).filter((key) => key.startsWith(rolePrefix) && key.length > rolePrefix.length).map((key) => key.slice(rolePrefix.length))
  const single = labels['kubernetes.io/role'] ?? ''
  const all = [...new Set(single === '' ? prefixed : [...prefixed, single])].sort()
  return all.length === 0 ? '<none>' : all.join(',')
}

const address = ({ status }: Node, type: string): string => (status.addresses ?? []).find((candidate) => candidate.type === type)?.address ?? '<none>'
const known = (value: string | undefined): string => (value === undefined || value === '' ? '<unknown>' : value)

export const nodeTable = defineTable(Node, [
  nameColumn,
  text('Status', 'Whether the node is ready, and whether pods may be scheduled to it.', state),
  text('Roles', 'Roles from the node\'s labels.', roles),
  ageColumn,
  text('Version', 'Version of the kubelet.', ({ status }) => status.nodeInfo.kubeletVersion),
  wide('Internal-IP', 'Address inside the cluster.', (node) => address(node, 'InternalIP')),
  wide('External-IP', 'Address outside the cluster.', (node) => address(node, 'ExternalIP')),
  wide('OS-Image', 'Operating system.', ({ status }) => known(status.nodeInfo.osImage)),
  wide('Kernel-Version', 'Kernel release.', ({ status }) => known(status.nodeInfo.kernelVersion)),
  wide('Container-Runtime', 'Container runtime and its version.', ({ status }) => known(status.nodeInfo.containerRuntimeVersion)),
])
