/** Pod, core/v1: containers that share a network, run together on one node. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import { completePod } from './pod-defaults.ts'
import { podRules, podUpdateRules } from './pod-rules.ts'
import { podSpec } from './pod-spec.ts'
import { podStatus } from './pod-status.ts'

export const Pod = defineKind({
  group: '',
  version: 'v1',
  kind: 'Pod',
  plural: 'pods',
  shortNames: ['po'],
  categories: ['all'],
  namespaced: true,
  complete: completePod,
  generation: true,
  subresources: {
    status: true,
    others: {
      log: { group: '', version: 'v1', kind: 'Pod', verbs: ['get'] },
      exec: { group: '', version: 'v1', kind: 'PodExecOptions', verbs: ['create', 'get'] },
      attach: { group: '', version: 'v1', kind: 'PodAttachOptions', verbs: ['create', 'get'] },
      portforward: { group: '', version: 'v1', kind: 'PodPortForwardOptions', verbs: ['create', 'get'] },
      proxy: { group: '', version: 'v1', kind: 'PodProxyOptions', verbs: ['create', 'delete', 'get', 'patch', 'update'] },
      binding: { group: '', version: 'v1', kind: 'Binding', verbs: ['create'] },
      eviction: { group: 'policy', version: 'v1', kind: 'Eviction', verbs: ['create'] },
      ephemeralcontainers: { group: '', version: 'v1', kind: 'Pod', verbs: ['get', 'patch', 'update'] },
      resize: { group: '', version: 'v1', kind: 'Pod', verbs: ['get', 'patch', 'update'] },
    },
  },
  selectable: ['spec.nodeName', 'spec.restartPolicy', 'spec.schedulerName', 'spec.serviceAccountName', 'spec.hostNetwork', 'status.phase', 'status.podIP', 'status.nominatedNodeName'],
  validate: podRules,
  validateUpdate: podUpdateRules,
  doc: 'Containers that share a network address and volumes and run together on one node.',
  fields: {
    spec: podSpec.always().proto(2).doc('What the pod should be.'),
    status: podStatus.always().proto(3).doc('What the pod was last seen to be; set by the node.'),
  },
})
export interface Pod extends Stored<typeof Pod> {}
export interface SubmittedPod extends Submitted<typeof Pod> {}
