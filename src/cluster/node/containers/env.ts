/**
 * A container's environment: services, envFrom, env with its sources, and `$(NAME)` expansion (Kubernetes, "Define
 * Environment Variables for a Container", "Define Dependent Environment Variables", "Service environment variables"). Pure:
 * the objects it refers to are looked up by the caller's functions.
 */
import { Fault } from '#base/fault.ts'
import type { ConfigMap } from '../../api/core/v1/config-map.ts'
import type { Container, EphemeralContainer } from '../../api/core/v1/container.ts'
import type { EnvFromSource, EnvVarSource } from '../../api/core/v1/env.ts'
import type { Secret } from '../../api/core/v1/secret.ts'
import type { Service } from '../../api/core/v1/service.ts'
import type { PodFacts } from './field-ref.ts'
import { fieldValue, resourceValue } from './field-ref.ts'

export interface EnvSources extends PodFacts {
  configMap(name: string): ConfigMap | undefined
  secret(name: string): Secret | undefined
  /** Services of the pod's namespace, and `kubernetes` of the default one. */
  readonly services: readonly Service[]
}

/** A missing object or key that is not optional is `notFound`; the container then waits with CreateContainerConfigError. */
export function environmentOf(container: Container | EphemeralContainer, sources: EnvSources): { name: string; value: string }[] {
  const services = serviceVariables(sources)
  const result = new Map<string, string>()
  for (const source of container.envFrom ?? []) for (const [name, value] of fromSource(source, sources)) result.set(name, value)
  for (const variable of container.env ?? []) {
    if (variable.valueFrom === undefined) {
      result.set(variable.name, expand(variable.value ?? '', (name) => result.get(name) ?? services.get(name)))
      continue
    }
    const value = fromReference(variable.valueFrom, container.name, sources)
    if (value !== undefined) result.set(variable.name, value)
  }
  for (const [name, value] of services) if (!result.has(name)) result.set(name, value)
  return [...result].map(([name, value]) => ({ name, value }))
}

/** `$(NAME)` is replaced where NAME is known, `$$` stands for `$`, everything else stays as written. */
export function expand(text: string, lookUp: (name: string) => string | undefined): string {
  return text.replace(/\$(\$|\(([^()]*)\))/g, (whole, inner: string, name: string | undefined) => (inner === '$' ? '$' : (lookUp(name ?? '') ?? whole)))
}

function* fromSource(source: EnvFromSource, sources: EnvSources): Generator<[string, string]> {
  const { prefix = '', configMapRef, secretRef } = source
  const { namespace } = sources.pod.metadata
  if (configMapRef !== undefined) {
    const found = sources.configMap(configMapRef.name ?? '')
    if (found === undefined && configMapRef.optional !== true) throw new Fault('notFound', `configmap "${configMapRef.name}" not found in namespace ${namespace}`)
    for (const [key, value] of Object.entries(found?.data ?? {})) yield [prefix + key, value]
  }
  if (secretRef !== undefined) {
    const found = sources.secret(secretRef.name ?? '')
    if (found === undefined && secretRef.optional !== true) throw new Fault('notFound', `secret "${secretRef.name}" not found in namespace ${namespace}`)
    for (const [key, value] of Object.entries(found?.data ?? {})) yield [prefix + key, Buffer.from(value, 'base64').toString('utf8')]
  }
}

function fromReference(from: EnvVarSource, containerName: string, sources: EnvSources): string | undefined {
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = from
  const { namespace } = sources.pod.metadata
  if (fieldRef !== undefined) return fieldValue(fieldRef.fieldPath, sources)
  if (resourceFieldRef !== undefined) return resourceValue(resourceFieldRef, containerName, sources)
  if (configMapKeyRef !== undefined) {
    const found = sources.configMap(configMapKeyRef.name ?? '')
    const value = found?.data?.[configMapKeyRef.key]
    if (value !== undefined || configMapKeyRef.optional === true) return value
    if (found === undefined) throw new Fault('notFound', `configmap "${configMapKeyRef.name}" not found`)
    throw new Fault('notFound', `couldn't find key ${configMapKeyRef.key} in ConfigMap ${namespace}/${configMapKeyRef.name}`)
  }
  if (secretKeyRef !== undefined) {
    const found = sources.secret(secretKeyRef.name ?? '')
    const value = found?.data?.[secretKeyRef.key]
    if (value !== undefined) return Buffer.from(value, 'base64').toString('utf8')
    if (secretKeyRef.optional === true) return undefined
    if (found === undefined) throw new Fault('notFound', `secret "${secretKeyRef.name}" not found`)
    throw new Fault('notFound', `couldn't find key ${secretKeyRef.key} in Secret ${namespace}/${secretKeyRef.name}`)
  }
  throw new Fault('invalidArgument', 'an environment variable names a source of a kind that this node does not know')
}

/** `NAME_SERVICE_HOST` and its companions, for services that have an address. */
function serviceVariables({ services, pod }: EnvSources): Map<string, string> {
  const variables = new Map<string, string>()
  for (const { metadata, spec } of services) {
    const isMaster = metadata.namespace === 'default' && metadata.name === 'kubernetes'
    if (!isMaster && (pod.spec.enableServiceLinks === false || metadata.namespace !== pod.metadata.namespace)) continue
    const [first] = spec.ports ?? []
    if (spec.clusterIP === undefined || spec.clusterIP === '' || spec.clusterIP === 'None' || first === undefined) continue
    const host = spec.clusterIP
    const name = metadata.name.toUpperCase().replaceAll('-', '_')
    variables.set(`${name}_SERVICE_HOST`, host)
    variables.set(`${name}_SERVICE_PORT`, String(first.port))
    for (const port of spec.ports ?? []) if (port.name !== undefined && port.name !== '') variables.set(`${name}_SERVICE_PORT_${port.name.toUpperCase().replaceAll('-', '_')}`, String(port.port))
    variables.set(`${name}_PORT`, `${first.protocol.toLowerCase()}://${host}:${first.port}`)
    for (const { port, protocol } of spec.ports ?? []) {
      const prefix = `${name}_PORT_${port}_${protocol}`
      variables.set(prefix, `${protocol.toLowerCase()}://${host}:${port}`)
      variables.set(`${prefix}_PROTO`, protocol.toLowerCase())
      variables.set(`${prefix}_PORT`, String(port))
      variables.set(`${prefix}_ADDR`, host)
    }
  }
  return variables
}

/** Names of the ConfigMaps and Secrets that a container's environment reads. */
export function environmentReferences(container: Container | EphemeralContainer): { kind: 'ConfigMap' | 'Secret'; name: string }[] {
  const found: { kind: 'ConfigMap' | 'Secret'; name: string }[] = []
  const add = (kind: 'ConfigMap' | 'Secret', name: string | undefined): void => {
    if (name !== undefined && name !== '') found.push({ kind, name })
  }
  for (const { configMapRef, secretRef } of container.envFrom ?? []) {
    add('ConfigMap', configMapRef?.name)
    add('Secret', secretRef?.name)
  }
  for (const { valueFrom } of container.env ?? []) {
    add('ConfigMap', valueFrom?.configMapKeyRef?.name)
    add('Secret', valueFrom?.secretKeyRef?.name)
  }
  return found
}
