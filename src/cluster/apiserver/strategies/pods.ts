/**
 * Pods: service account and its token volume, default tolerations, priority, and graceful deletion, which the kubelet ends.
 * https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/ (ServiceAccount, DefaultTolerationSeconds,
 * Priority); https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
 */
import { nameSuffix, type Random } from '#base/random.ts'
import type { JsonObject } from '#schema/json.ts'
import type { Container } from '../../api/core/v1/container.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { PodSpec } from '../../api/core/v1/pod-spec.ts'
import type { Toleration } from '../../api/core/v1/affinity.ts'
import type { ServiceAccount } from '../../api/core/v1/service-account.ts'
import type { Volume } from '../../api/core/v1/volume.ts'
import { asJson, asKind } from '../entry.ts'
import { forbidden } from '../refusals.ts'
import type { AdmissionRequest, DeletionRequest, Strategy } from '../strategy.ts'
import { inertPodFields } from './inert.ts'

const pods = { group: '', plural: 'pods', kind: 'Pod' } as const

/** Marks pods that a kubelet reports from its static manifests; they get no token. */
const mirrorAnnotation = 'kubernetes.io/config.mirror'
const tokenMountPath = '/var/run/secrets/kubernetes.io/serviceaccount'
const tokenSeconds = 3607

function mountsToken(spec: PodSpec, account: ServiceAccount): boolean {
  return spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true
}

function tokenVolume(name: string): Volume {
  const volume = {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: tokenSeconds, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        { downwardAPI: { items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }] } },
      ],
    },
  }
  return volume
}

function withTokenMount<C extends Pick<Container, 'volumeMounts'>>(container: C, volume: string): C {
  const mounts = container.volumeMounts ?? []
  if (mounts.some(({ mountPath }) => mountPath === tokenMountPath)) return container
  return { ...container, volumeMounts: [...mounts, { name: volume, readOnly: true, mountPath: tokenMountPath }] }
}

function withToken(spec: PodSpec, random: Random): PodSpec {
  const present = spec.volumes?.find(({ name }) => name.startsWith('kube-api-access-'))
  const all = [...(spec.initContainers ?? []), ...spec.containers]
  if (present === undefined && all.every(({ volumeMounts }) => volumeMounts?.some(({ mountPath }) => mountPath === tokenMountPath) === true)) return spec
  const name = present?.name ?? `kube-api-access-${nameSuffix(random)}`
  return {
    ...spec,
    volumes: present === undefined ? [...(spec.volumes ?? []), tokenVolume(name)] : spec.volumes,
    containers: spec.containers.map((container) => withTokenMount(container, name)),
    initContainers: spec.initContainers?.map((container) => withTokenMount(container, name)),
  }
}

function withServiceAccount(pod: Pod, request: AdmissionRequest): Pod {
  if (pod.metadata.annotations?.[mirrorAnnotation] !== undefined) return pod
  const name = pod.spec.serviceAccountName === undefined || pod.spec.serviceAccountName === '' ? 'default' : pod.spec.serviceAccountName
  const found = request.surroundings.object({ group: '', plural: 'serviceaccounts' }, { namespace: request.namespace, name })
  if (found === undefined) {
    throw forbidden(pods, pod.metadata.name, `error looking up service account ${request.namespace}/${name}: serviceaccount "${name}" not found`)
  }
  const account = asKind<ServiceAccount>(found)
  const secrets = pod.spec.imagePullSecrets ?? []
  const spec: PodSpec = {
    ...pod.spec,
    serviceAccountName: name,
    serviceAccount: name,
    imagePullSecrets: secrets.length === 0 ? account.imagePullSecrets : secrets,
  }
  return { ...pod, spec: mountsToken(spec, account) ? withToken(spec, request.surroundings.random) : spec }
}

const unreachableSeconds = 300

/** A pod stays bound for five minutes to a node that is not ready or not reachable, unless it says otherwise. */
function withTolerations(spec: PodSpec): PodSpec {
  const given = spec.tolerations ?? []
  const missing = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'].filter((key) => !given.some((toleration) => tolerates(toleration, key)))
  if (missing.length === 0) return spec
  const added = missing.map((key): Toleration => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: unreachableSeconds }))
  return { ...spec, tolerations: [...given, ...added] }
}

function tolerates(toleration: Toleration, taintKey: string): boolean {
  const keyMatches = toleration.key === undefined || toleration.key === '' || toleration.key === taintKey
  return keyMatches && (toleration.effect === undefined || toleration.effect === 'NoExecute')
}

/** The two classes that exist everywhere; others are PriorityClass objects. */
const systemPriorities: Readonly<Record<string, number>> = { 'system-node-critical': 2_000_001_000, 'system-cluster-critical': 2_000_000_000 }

function withPriority(pod: Pod, request: AdmissionRequest): PodSpec {
  const { spec } = pod
  const className = spec.priorityClassName ?? ''
  if (className === '') return { ...spec, priority: spec.priority ?? 0, preemptionPolicy: spec.preemptionPolicy ?? 'PreemptLowerPriority' }
  const found = request.surroundings.object({ group: 'scheduling.k8s.io', plural: 'priorityclasses' }, { namespace: '', name: className })
  const value = systemPriorities[className] ?? (typeof found?.['value'] === 'number' ? found['value'] : undefined)
  if (value === undefined) throw forbidden(pods, pod.metadata.name, `no PriorityClass with name ${className} was found`)
  return { ...spec, priority: value, preemptionPolicy: spec.preemptionPolicy ?? 'PreemptLowerPriority' }
}

/** Guaranteed: every container limits cpu and memory and requests as much; BestEffort: none asks for anything. */
function qosClass({ containers, initContainers }: PodSpec): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const all = [...(initContainers ?? []), ...containers]
  const asks = all.some(({ resources }) => ['cpu', 'memory'].some((name) => resources?.limits?.[name] !== undefined || resources?.requests?.[name] !== undefined))
  if (!asks) return 'BestEffort'
  const guaranteed = all.every(({ resources }) =>
    ['cpu', 'memory'].every((name) => {
      const limit = resources?.limits?.[name]
      return limit !== undefined && (resources?.requests?.[name] ?? limit) === limit
    }),
  )
  return guaranteed ? 'Guaranteed' : 'Burstable'
}

function admitNewPod(pod: Pod, request: AdmissionRequest): Pod {
  const accounted = withServiceAccount(pod, request)
  const ranked = { ...accounted, spec: withPriority(accounted, request) }
  const spec = withTolerations(ranked.spec)
  return { ...ranked, spec, status: { ...ranked.status, phase: 'Pending', qosClass: qosClass(spec) } }
}

function graceSeconds(pod: Pod, request: DeletionRequest): number {
  const asked = request.gracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 30
  // Nobody runs it yet, or nothing runs any more: nothing to wait for.
  const idle = (pod.spec.nodeName ?? '') === '' || pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed'
  return idle ? 0 : Math.max(0, asked)
}

export const podStrategy: Strategy = {
  statusWritesMetadata: true,
  answersDeleted: true,
  admit: (object: JsonObject, request: AdmissionRequest) =>
    request.operation === 'create' && request.subresource === '' ? asJson(admitNewPod(asKind<Pod>(object), request)) : object,
  warnings: ({ spec }) => inertPodFields(spec, 'spec'),
  deletionGraceSeconds: (object, request) => graceSeconds(asKind<Pod>(object), request),
}
