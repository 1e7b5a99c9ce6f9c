/**
 * Fields that are stored and answered but that nothing acts on yet: whoever sets one hears of it in a Warning header. A row goes when
 * the behaviour comes.
 */
import { isJsonArray, isJsonObject, type Json, type JsonObject } from '#schema/json.ts'

/** Paths below a pod's spec; `[]` stands for each item of a list. */
const inertInPods: readonly string[] = [
  'affinity.podAffinity',
  'affinity.podAntiAffinity',
  'topologySpreadConstraints',
  'runtimeClassName',
  'resourceClaims',
  'setHostnameAsFQDN',
  'securityContext.seLinuxOptions',
  'securityContext.appArmorProfile',
  'containers[].resizePolicy',
  'containers[].volumeDevices',
  'containers[].securityContext.seLinuxOptions',
  'containers[].securityContext.appArmorProfile',
]

/** Volume sources that a node can mount; others keep the pod from starting. */
const mountable = new Set(['name', 'emptyDir', 'configMap', 'secret', 'downwardAPI', 'projected', 'hostPath'])

function isSet(value: Json | undefined): boolean {
  if (value === undefined || value === null || value === false || value === '') return false
  return isJsonArray(value) ? value.length > 0 : true
}

/** Where a path is set, with the indexes of the list items it goes through. */
function found(value: Json | undefined, steps: readonly string[], at: string): string[] {
  const [step, ...rest] = steps
  if (step === undefined) return isSet(value) ? [at] : []
  if (!isJsonObject(value)) return []
  const name = step.replace('[]', '')
  const inner = value[name]
  const place = `${at}.${name}`
  if (!step.endsWith('[]')) return found(inner, rest, place)
  return (isJsonArray(inner) ? inner : []).flatMap((item, index) => found(item, rest, `${place}[${index}]`))
}

function volumeWarnings(spec: JsonObject, at: string): string[] {
  const volumes = isJsonArray(spec['volumes']) ? spec['volumes'] : []
  return volumes.flatMap((volume, index) => {
    const kinds = isJsonObject(volume) ? Object.keys(volume).filter((key) => !mountable.has(key)) : []
    return kinds.map((kind) => `${at}.volumes[${index}].${kind}: this version cannot mount such volumes: the pod will not start`)
  })
}

/** `spec` is a pod's; `at` says where it stands, e.g. `spec.template.spec`. */
export function inertPodFields(spec: Json | undefined, at: string): readonly string[] {
  if (!isJsonObject(spec)) return []
  const fields = inertInPods.flatMap((path) => found(spec, path.split('.'), at))
  return [...fields.map((field) => `${field}: stored, but without effect in this version`), ...volumeWarnings(spec, at)]
}

/** The same for what makes pods of a template. */
export function inertTemplateFields({ spec }: JsonObject): readonly string[] {
  const template = isJsonObject(spec) ? spec['template'] : undefined
  return inertPodFields(isJsonObject(template) ? template['spec'] : undefined, 'spec.template.spec')
}

export function inertServiceFields({ spec }: JsonObject): readonly string[] {
  if (!isJsonObject(spec)) return []
  const warnings = spec['type'] === 'LoadBalancer' ? ['spec.type: no load balancer is provided in this version: the service is reachable at its node ports'] : []
  return [...warnings, ...['trafficDistribution'].filter((field) => isSet(spec[field])).map((field) => `spec.${field}: stored, but without effect in this version`)]
}
