/**
 * Rules of pods and pod templates that span fields, and what may change in a stored pod (Kubernetes documentation,
 * "Pods: update and replacement").
 */
import type { FaultCause } from '#base/fault.ts'
import { duplicate, forbidden, invalid, required } from '#schema/cause.ts'
import { sameJson } from '#schema/json.ts'
import type { UpdateRuleContext } from '#schema/kind.ts'
import { annotationViolations, labelViolations } from '#schema/violations.ts'
import { formatProblem } from '#schema/text-formats.ts'
import type { Affinity, NodeSelector, PodAffinityTerm, Toleration } from './affinity.ts'
import { containerRules, resourceRules } from './container-rules.ts'
import type { Container, EphemeralContainer } from './container.ts'
import type { PodSpec } from './pod-spec.ts'
import type { PodTemplateSpec } from './pod-template.ts'
import { volumeRules } from './volume-rules.ts'

interface PodLike {
  readonly spec: PodSpec
}

export function podRules({ spec }: PodLike): readonly FaultCause[] {
  return podSpecRules(spec, 'spec')
}

/** For workloads: the template's labels and its spec. */
export function podTemplateRules(template: PodTemplateSpec, path: string): readonly FaultCause[] {
  const { labels, annotations } = template.metadata
  return [...labelViolations(labels, `${path}.metadata.labels`), ...annotationViolations(annotations, `${path}.metadata.annotations`), ...podSpecRules(template.spec, `${path}.spec`)]
}

export function podSpecRules(spec: PodSpec, path: string): readonly FaultCause[] {
  const volumeNames = new Set((spec.volumes ?? []).map(({ name }) => name))
  const hostNetwork = spec.hostNetwork === true
  const causes: FaultCause[] = [...volumeRules(spec.volumes ?? [], `${path}.volumes`), ...nameRules(spec, path)]
  spec.containers.forEach((container, index) => {
    causes.push(...containerRules(container, `${path}.containers[${index}]`, { volumeNames, hostNetwork, runsToCompletion: false }))
  })
  spec.initContainers?.forEach((container, index) => {
    const around = { volumeNames, hostNetwork, runsToCompletion: container.restartPolicy !== 'Always' }
    causes.push(...containerRules(container, `${path}.initContainers[${index}]`, around))
  })
  if (spec.terminationGracePeriodSeconds < 0) causes.push(invalid(`${path}.terminationGracePeriodSeconds`, spec.terminationGracePeriodSeconds, 'must be greater than or equal to 0'))
  causes.push(...hostPortRules(spec.containers, path), ...labelViolations(spec.nodeSelector, `${path}.nodeSelector`))
  spec.tolerations?.forEach((toleration, index) => causes.push(...tolerationRules(toleration, `${path}.tolerations[${index}]`)))
  if (spec.affinity !== undefined) causes.push(...affinityRules(spec.affinity, `${path}.affinity`))
  if (spec.dnsPolicy === 'None' && (spec.dnsConfig?.nameservers ?? []).length === 0) {
    causes.push(required(`${path}.dnsConfig.nameservers`, 'must provide at least one DNS nameserver when `dnsPolicy` is None'))
  }
  if (spec.resources !== undefined) causes.push(...resourceRules(spec.resources, `${path}.resources`))
  return causes
}

type Named = Pick<Container | EphemeralContainer, 'name'>

/** Names are unique among all containers of a pod. */
function nameRules(spec: PodSpec, path: string): FaultCause[] {
  const seen = new Set<string>()
  const check = (list: readonly Named[] | undefined, at: string): FaultCause[] =>
    (list ?? []).flatMap(({ name }, index) => {
      const repeated = seen.has(name)
      seen.add(name)
      return repeated ? [duplicate(`${at}[${index}].name`, name)] : []
    })
  return [
    ...check(spec.containers, `${path}.containers`),
    ...check(spec.initContainers, `${path}.initContainers`),
    ...check(spec.ephemeralContainers, `${path}.ephemeralContainers`),
  ]
}

function hostPortRules(containers: readonly Container[], path: string): FaultCause[] {
  const taken = new Set<string>()
  return containers.flatMap((container, index) =>
    (container.ports ?? []).flatMap((port, portIndex) => {
      if (port.hostPort === undefined) return []
      const key = `${port.protocol}/${port.hostIP ?? ''}/${port.hostPort}`
      const repeated = taken.has(key)
      taken.add(key)
      return repeated ? [duplicate(`${path}.containers[${index}].ports[${portIndex}].hostPort`, key)] : []
    }),
  )
}

function tolerationRules(toleration: Toleration, path: string): FaultCause[] {
  const { key, operator = 'Equal', value, effect, tolerationSeconds } = toleration
  const causes: FaultCause[] = []
  if (key !== undefined && formatProblem('labelKey', key) !== undefined) causes.push(invalid(`${path}.key`, key, formatProblem('labelKey', key) ?? ''))
  if (key === undefined && operator !== 'Exists') causes.push(invalid(`${path}.operator`, operator, 'operator must be Exists when `key` is empty, which means "match all values and all keys"'))
  if (operator === 'Exists' && value !== undefined) causes.push(invalid(`${path}.operator`, value, 'value must be empty when `operator` is \'Exists\''))
  if (tolerationSeconds !== undefined && effect !== 'NoExecute') causes.push(invalid(`${path}.effect`, effect ?? '', "effect must be 'NoExecute' when `tolerationSeconds` is set"))
  return causes
}

function affinityRules(affinity: Affinity, path: string): FaultCause[] {
  const { nodeAffinity, podAffinity, podAntiAffinity } = affinity
  const causes: FaultCause[] = []
  const needed = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
  if (needed !== undefined) causes.push(...nodeSelectorRules(needed, `${path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`))
  for (const [name, side] of [['podAffinity', podAffinity], ['podAntiAffinity', podAntiAffinity]] as const) {
    side?.requiredDuringSchedulingIgnoredDuringExecution?.forEach((term, index) => {
      causes.push(...termRules(term, `${path}.${name}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`))
    })
    side?.preferredDuringSchedulingIgnoredDuringExecution?.forEach(({ podAffinityTerm }, index) => {
      causes.push(...termRules(podAffinityTerm, `${path}.${name}.preferredDuringSchedulingIgnoredDuringExecution[${index}].podAffinityTerm`))
    })
  }
  return causes
}

function nodeSelectorRules(selector: NodeSelector, path: string): FaultCause[] {
  return selector.nodeSelectorTerms.flatMap((term, index) =>
    (term.matchExpressions ?? []).flatMap(({ operator, values = [] }, position) => {
      const at = `${path}.nodeSelectorTerms[${index}].matchExpressions[${position}].values`
      if ((operator === 'In' || operator === 'NotIn') && values.length === 0) return [required(at, 'must be specified when `operator` is \'In\' or \'NotIn\'')]
      if ((operator === 'Exists' || operator === 'DoesNotExist') && values.length > 0) return [forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")]
      if ((operator === 'Gt' || operator === 'Lt') && values.length !== 1) return [required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'")]
      return []
    }),
  )
}

function termRules(term: PodAffinityTerm, path: string): FaultCause[] {
  const problem = formatProblem('labelKey', term.topologyKey)
  return problem === undefined ? [] : [invalid(`${path}.topologyKey`, term.topologyKey, problem)]
}

const allowedChanges =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)'

/** What each writer may change: users a few fields of the spec, the scheduler the node (through binding), `ephemeralcontainers` and `resize` their own. */
export function podUpdateRules(next: PodLike, previous: PodLike, { subresource }: UpdateRuleContext): readonly FaultCause[] {
  if (subresource === 'status' || subresource === 'binding') return []
  if (subresource === 'ephemeralcontainers') return ephemeralRules(next.spec, previous.spec)
  if (subresource === 'resize') return sameJson(withoutResources(next.spec), withoutResources(previous.spec)) ? [] : [forbidden('spec', 'only cpu and memory resources are mutable')]
  const causes: FaultCause[] = []
  if (!keepsTolerations(next.spec, previous.spec)) causes.push(forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds'))
  const [before, after] = [previous.spec.activeDeadlineSeconds, next.spec.activeDeadlineSeconds]
  if (before !== undefined && (after === undefined || after > before)) causes.push(invalid('spec.activeDeadlineSeconds', after ?? null, `must be less than or equal to previous value`))
  if (gatesAdded(next.spec, previous.spec)) causes.push(forbidden('spec.schedulingGates', 'only deletion is allowed, but found new scheduling gate'))
  if (!sameJson(frozenPart(next.spec), frozenPart(previous.spec))) causes.push(forbidden('spec', allowedChanges))
  return causes
}

/** The spec without what a user may change. */
function frozenPart(spec: PodSpec): object {
  const withoutImage = ({ image: _image, ...rest }: Container): object => rest
  const grace = spec.terminationGracePeriodSeconds < 0 ? 1 : spec.terminationGracePeriodSeconds
  return {
    ...spec,
    containers: spec.containers.map(withoutImage),
    initContainers: spec.initContainers?.map(withoutImage),
    tolerations: undefined,
    activeDeadlineSeconds: undefined,
    schedulingGates: undefined,
    terminationGracePeriodSeconds: grace,
  }
}

function withoutResources(spec: PodSpec): object {
  const strip = ({ resources: _resources, resizePolicy: _policy, ...rest }: Container): object => rest
  return { ...spec, containers: spec.containers.map(strip), initContainers: spec.initContainers?.map(strip), resources: undefined }
}

function keepsTolerations(next: PodSpec, previous: PodSpec): boolean {
  const plain = ({ tolerationSeconds: _seconds, ...rest }: Toleration): object => rest
  return (previous.tolerations ?? []).every((old) => (next.tolerations ?? []).some((toleration) => sameJson(plain(old), plain(toleration))))
}

function gatesAdded(next: PodSpec, previous: PodSpec): boolean {
  const before = new Set((previous.schedulingGates ?? []).map(({ name }) => name))
  return (next.schedulingGates ?? []).some(({ name }) => !before.has(name))
}

function ephemeralRules(next: PodSpec, previous: PodSpec): readonly FaultCause[] {
  const kept = (previous.ephemeralContainers ?? []).every((old) => (next.ephemeralContainers ?? []).some((container) => sameJson(container, old)))
  const missingImage = (next.ephemeralContainers ?? []).flatMap(({ image }, index) => (image === undefined ? [required(`spec.ephemeralContainers[${index}].image`)] : []))
  return [...(kept ? [] : [forbidden('spec.ephemeralContainers', 'existing ephemeral containers may not be removed or changed')]), ...nameRules(next, 'spec'), ...missingImage]
}
