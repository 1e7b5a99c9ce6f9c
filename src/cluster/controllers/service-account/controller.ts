/**
 * What every namespace gets: the `default` ServiceAccount that pods run as, and the ConfigMap `kube-root-ca.crt` by which
 * they know the API server ("Service Accounts" in the Kubernetes documentation).
 */
import { isFault } from '#base/fault.ts'
import { ConfigMap } from '../../api/core/v1/config-map.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import { ServiceAccount } from '../../api/core/v1/service-account.ts'
import { Controller } from '../../client/controller.ts'
import type { Outcome } from '../../client/work-queue.ts'
import type { ControllerContext } from '../context.ts'

const accountName = 'default'
const rootCaName = 'kube-root-ca.crt'
const description = 'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.'

/** `caBundle`: PEM certificates that sign the API server's. */
export function serviceAccountController(context: ControllerContext, { caBundle }: { readonly caBundle: string }): Controller {
  const { client, informers, clock, log } = context
  const namespaces = informers.of(Namespace)
  const accounts = informers.of(ServiceAccount)
  const configMaps = informers.of(ConfigMap)

  /** The cache may lag behind our own write, or behind a write whose answer was lost: what is there already is fine. */
  const unlessThere = async (creating: Promise<unknown>): Promise<void> => {
    try {
      await creating
    } catch (error) {
      if (!isFault(error, 'alreadyExists')) throw error
    }
  }

  const ensureRootCa = async (namespace: string): Promise<void> => {
    const data = { 'ca.crt': caBundle }
    const found = configMaps.get({ namespace, name: rootCaName })
    const annotations = { 'kubernetes.io/description': description }
    if (found === undefined) await unlessThere(client.create(ConfigMap, { metadata: { namespace, name: rootCaName, annotations }, data }))
    else if (found.data?.['ca.crt'] !== caBundle) await client.update(ConfigMap, { ...found, data })
  }

  const reconcile = async (namespace: string): Promise<Outcome> => {
    const found = namespaces.getKey(namespace)
    if (found === undefined || found.metadata.deletionTimestamp !== undefined) return {}
    try {
      if (accounts.get({ namespace, name: accountName }) === undefined) await unlessThere(client.create(ServiceAccount, { metadata: { namespace, name: accountName } }))
      await ensureRootCa(namespace)
    } catch (error) {
      // The namespace began to go away meanwhile; should it be a newer one of that name, its creation brings us back.
      if (isFault(error, 'permissionDenied') && /being terminated/.test(error.message)) return {}
      throw error
    }
    return {}
  }

  const controller = new Controller({ name: 'serviceaccount', clock, log, reconcile })
  controller.watch(namespaces, ({ key }) => [key])
  controller.watch(accounts, ({ previous, current }) => (current === undefined && previous?.metadata.name === accountName ? [previous.metadata.namespace] : []))
  controller.watch(configMaps, ({ previous, current }) => {
    const object = current ?? previous
    return object?.metadata.name === rootCaName && current?.data?.['ca.crt'] !== caBundle ? [object.metadata.namespace] : []
  })
  return controller
}
