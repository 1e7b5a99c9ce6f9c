/** The namespaces that are always there ("Namespaces: Initial namespaces"). */
import { isFault } from '#base/fault.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import { Controller } from '../../client/controller.ts'
import type { Outcome } from '../../client/work-queue.ts'
import type { ControllerContext } from '../context.ts'

const systemNamespaces: readonly string[] = ['default', 'kube-system', 'kube-public', 'kube-node-lease']

export function systemNamespacesController({ client, informers, clock, log }: ControllerContext): Controller {
  const namespaces = informers.of(Namespace)
  const reconcile = async (name: string): Promise<Outcome> => {
    if (namespaces.getKey(name) !== undefined) return {}
    try {
      await client.create(Namespace, { metadata: { name } })
    } catch (error) {
      if (!isFault(error, 'alreadyExists')) throw error
    }
    return {}
  }
  const controller = new Controller({ name: 'system-namespaces', clock, log, reconcile })
  controller.watch(namespaces, ({ key, current }) => (current === undefined && systemNamespaces.includes(key) ? [key] : []))
  for (const name of systemNamespaces) controller.queue.add(name)
  return controller
}
