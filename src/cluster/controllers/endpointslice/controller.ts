/**
 * EndpointSlices of Services with a selector: which pods answer, on which ports, and whether they are ready. Services
 * without a selector, and ExternalName ones, are left to whoever made them.
 */
import { sameJson } from '#schema/json.ts'
import { isFault } from '#base/fault.ts'
import { Node } from '../../api/core/v1/node.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { Service } from '../../api/core/v1/service.ts'
import type { SubmittedEndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import { EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import { Controller } from '../../client/controller.ts'
import type { Outcome } from '../../client/work-queue.ts'
import { WriteFence } from '../../client/write-fence.ts'
import type { ControllerContext } from '../context.ts'
import { controllerReference } from '../ownership.ts'
import type { AddressType } from './endpoints.ts'
import { endpointGroups } from './endpoints.ts'
import { planSlices } from './slices.ts'

const serviceNameLabel = 'kubernetes.io/service-name'
const managedByLabel = 'endpointslice.kubernetes.io/managed-by'
const headlessLabel = 'service.kubernetes.io/headless'
const managedBy = 'endpointslice-controller.k8s.io'
const zoneLabel = 'topology.kubernetes.io/zone'
const fenceRecheckMs = 1000

const labelIndex = 'label'
const serviceIndex = 'service'
const namespaceIndex = 'namespace'

export function endpointSliceController(context: ControllerContext): Controller {
  const { client, informers, clock, log } = context
  const services = informers.of(Service)
  const pods = informers.of(Pod)
  const slices = informers.of(EndpointSlice)
  const nodes = informers.of(Node)
  const fence = new WriteFence()
  services.addIndex(namespaceIndex, ({ metadata }) => [metadata.namespace])
  pods.addIndex(labelIndex, ({ metadata }) => Object.entries(metadata.labels ?? {}).map(([name, value]) => `${metadata.namespace}/${name}=${value}`))
  slices.addIndex(serviceIndex, ({ metadata }) =>
    metadata.labels?.[managedByLabel] === managedBy ? [`${metadata.namespace}/${metadata.labels[serviceNameLabel] ?? ''}`] : [],
  )

  const selectedPods = (service: Service): readonly Pod[] => {
    const [first, ...rest] = Object.entries(service.spec.selector ?? {})
    if (first === undefined) return []
    const candidates = pods.byIndex(labelIndex, `${service.metadata.namespace}/${first[0]}=${first[1]}`)
    return candidates.filter(({ metadata }) => rest.every(([name, value]) => metadata.labels?.[name] === value))
  }

  const reconcile = async (key: string): Promise<Outcome> => {
    const service = services.getKey(key)
    if (service === undefined) {
      fence.forget(key)
      return {}
    }
    if (service.metadata.deletionTimestamp !== undefined || !hasOwnEndpoints(service)) return {}
    if (fence.isBehind(key, slices.resourceVersion)) return { requeueAfterMs: fenceRecheckMs }
    const existing = slices.byIndex(serviceIndex, key)
    const types: readonly AddressType[] = service.spec.ipFamilies?.length ? service.spec.ipFamilies : ['IPv4']
    for (const type of types) await reconcileType(key, service, type, existing.filter(({ addressType }) => addressType === type))
    for (const slice of existing) if (!types.some((type) => type === slice.addressType)) await remove(slice)
    return {}
  }

  const reconcileType = async (key: string, service: Service, type: AddressType, existing: readonly EndpointSlice[]): Promise<void> => {
    const zoneOf = (name: string): string | undefined => nodes.get({ name })?.metadata.labels?.[zoneLabel]
    const groups = endpointGroups(service, selectedPods(service), type, zoneOf)
    // A service without endpoints keeps one empty slice, so that consumers can tell "none" from "not looked at yet".
    const plan = planSlices(groups.length === 0 ? [{ ports: [], endpoints: [] }] : groups, existing)
    const placeholder = groups.length === 0
    const labels = labelsOf(service)
    const kept = placeholder ? existing.find(({ ports, endpoints }) => ports.length === 0 && endpoints.length === 0) : undefined
    for (const { ports, endpoints } of plan.create) fence.wrote(key, await client.create(EndpointSlice, newSlice(service, type, { ports, endpoints })))
    if (placeholder && kept === undefined) fence.wrote(key, await client.create(EndpointSlice, newSlice(service, type, { ports: [], endpoints: [] })))
    const updates = new Map(plan.update.map(({ slice, endpoints }) => [slice, endpoints]))
    for (const slice of existing) {
      const endpoints = updates.get(slice)
      if (plan.remove.includes(slice) && slice !== kept) await remove(slice)
      else if (endpoints !== undefined || !sameJson(slice.metadata.labels, labels)) {
        fence.wrote(key, await client.update(EndpointSlice, { ...slice, metadata: { ...slice.metadata, labels }, endpoints: endpoints ?? slice.endpoints }))
      }
    }
  }

  const remove = async ({ metadata: { namespace, name, uid } }: EndpointSlice): Promise<void> => {
    try {
      await client.delete(EndpointSlice, { namespace, name }, { preconditions: { uid } })
    } catch (error) {
      if (!isFault(error, 'notFound') && !isFault(error, 'conflict')) throw error
    }
  }

  const controller = new Controller({ name: 'endpointslice', clock, log, reconcile })
  controller.reads(nodes)
  controller.watch(services, ({ key }) => [key])
  controller.watch(pods, function* ({ previous, current }) {
    const namespace = (current ?? previous)?.metadata.namespace ?? ''
    const labels = [previous, current].flatMap((pod) => (pod === undefined ? [] : [pod.metadata.labels ?? {}]))
    for (const { metadata, spec } of services.byIndex(namespaceIndex, namespace)) {
      const wanted = Object.entries(spec.selector ?? {})
      if (wanted.length > 0 && labels.some((own) => wanted.every(([name, value]) => own[name] === value))) yield `${metadata.namespace}/${metadata.name}`
    }
  })
  controller.watch(slices, ({ previous, current }) => {
    const names = [previous, current].flatMap((slice) => {
      const labels = slice?.metadata.labels
      return slice === undefined || labels?.[managedByLabel] !== managedBy ? [] : [`${slice.metadata.namespace}/${labels[serviceNameLabel] ?? ''}`]
    })
    return new Set(names)
  })
  return controller
}

function hasOwnEndpoints({ spec }: Service): boolean {
  return spec.type !== 'ExternalName' && Object.keys(spec.selector ?? {}).length > 0
}

/** The Service's own labels, and those by which slices are found. */
function labelsOf({ metadata, spec }: Service): Record<string, string> {
  const own = Object.entries(metadata.labels ?? {}).filter(([name]) => ![serviceNameLabel, managedByLabel, headlessLabel].includes(name))
  return {
    ...Object.fromEntries(own),
    [serviceNameLabel]: metadata.name,
    [managedByLabel]: managedBy,
    ...(spec.clusterIP === 'None' ? { [headlessLabel]: '' } : {}),
  }
}

function newSlice(service: Service, addressType: AddressType, content: Pick<SubmittedEndpointSlice, 'ports' | 'endpoints'>): SubmittedEndpointSlice {
  return {
    metadata: {
      generateName: `${service.metadata.name}-`,
      namespace: service.metadata.namespace,
      labels: labelsOf(service),
      ownerReferences: [controllerReference(Service, service)],
    },
    addressType,
    ...content,
  }
}
