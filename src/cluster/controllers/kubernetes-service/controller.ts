/**
 * `kubernetes.default.svc`: the Service by which pods reach the API server, and its EndpointSlice, which names the
 * addresses that really listen (loopback never does for a pod).
 */
import { sameJson } from '#schema/json.ts'
import { Service } from '../../api/core/v1/service.ts'
import { EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import { Controller } from '../../client/controller.ts'
import type { Outcome } from '../../client/work-queue.ts'
import type { ControllerContext } from '../context.ts'

export interface KubernetesServiceOptions {
  /** The first address of the service range, e.g. 10.43.0.1. */
  readonly serviceIp: string
  /** Where the API server listens, reachable from pods and nodes. IPv4. */
  readonly advertiseAddresses: readonly string[]
  readonly port: number
}

const ref = { namespace: 'default', name: 'kubernetes' }
const key = 'default/kubernetes'

export function kubernetesServiceController({ client, informers, clock, log }: ControllerContext, options: KubernetesServiceOptions): Controller {
  const namespaces = informers.of(Namespace)
  const services = informers.of(Service)
  const slices = informers.of(EndpointSlice)
  const endpoints = [{ addresses: options.advertiseAddresses, conditions: { ready: true } }]
  const ports = [{ name: 'https', protocol: 'TCP', port: options.port }] as const

  const reconcileSlice = async (): Promise<void> => {
    const slice = slices.get(ref)
    const labels = { 'kubernetes.io/service-name': ref.name }
    if (slice === undefined) {
      await client.create(EndpointSlice, { metadata: { ...ref, labels }, addressType: 'IPv4', endpoints, ports })
      return
    }
    const same = sameJson(slice.endpoints.flatMap(({ addresses }) => addresses), options.advertiseAddresses) && slice.ports[0]?.port === options.port
    if (!same) await client.update(EndpointSlice, { ...slice, endpoints, ports })
  }

  const reconcile = async (): Promise<Outcome> => {
    if (namespaces.get({ name: ref.namespace }) === undefined) return {}
    if (services.get(ref) === undefined) {
      await client.create(Service, {
        metadata: { ...ref, labels: { component: 'apiserver', provider: 'kubernetes' } },
        spec: { type: 'ClusterIP', clusterIP: options.serviceIp, ports: [{ name: 'https', protocol: 'TCP', port: 443, targetPort: options.port }] },
      })
    }
    await reconcileSlice()
    return {}
  }

  const controller = new Controller({ name: 'kubernetes-service', clock, log, reconcile, concurrency: 1 })
  controller.watch(namespaces, (change) => (change.key === ref.namespace ? [key] : []))
  controller.watch(services, (change) => (change.key === key ? [key] : []))
  controller.watch(slices, (change) => (change.key === key ? [key] : []))
  return controller
}
